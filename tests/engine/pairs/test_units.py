"""Which sides of weights are hidden units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from rmtaudit.engine.pairs import opened, refs_of
from rmtaudit.engine.pairs.units import Exclusion, Side, Units, plan_units


def planned(
    shapes: Mapping[str, tuple[int, ...]], config: dict[str, Any] | None = None, *, ordered: bool = True
) -> dict[str, Any]:
    state = {name: torch.zeros(shape) for name, shape in shapes.items()}
    refs, _ = refs_of(opened(state), config=config)
    plan = plan_units(refs, config, ordered=ordered)
    return {
        name: (units.side, units.count, units.block) if isinstance(units, Units) else units
        for name, units in plan.items()
    }


def test_inputs_and_classes_are_left_out_and_equal_lengths_are_relabelled_together() -> None:
    plan = planned(
        {"fc1.weight": (48, 64), "fc1.bias": (48,), "fc2.weight": (48, 48), "fc3.weight": (10, 48)}
    )
    assert plan == {
        "fc1.weight": (Side.ROWS, 48, 48),
        "fc1.bias": Exclusion.NO_WEIGHT,
        "fc2.weight": (Side.BOTH, 48, 48),
        "fc3.weight": (Side.COLUMNS, 48, 48),
    }


def test_each_weight_belongs_to_the_longer_of_its_hidden_sides() -> None:
    plan = planned(
        {"fc1.weight": (32, 64), "fc2.weight": (48, 32), "fc3.weight": (24, 48), "fc4.weight": (10, 24)}
    )
    assert [plan[f"fc{index}.weight"] for index in (1, 2, 3, 4)] == [
        (Side.ROWS, 32, 32),
        (Side.ROWS, 48, 48),
        (Side.COLUMNS, 48, 48),
        (Side.COLUMNS, 24, 24),
    ]


def test_an_autoencoder_keeps_its_outputs_in_place() -> None:
    shapes = {"a.weight": (32, 100), "b.weight": (8, 32), "c.weight": (32, 8), "d.weight": (100, 32)}
    plan = planned(shapes)
    assert plan["a.weight"] == (Side.ROWS, 32, 32)
    assert plan["d.weight"] == (Side.COLUMNS, 32, 32)
    # In a file sorted by name nothing tells inputs from hidden units.
    names = {"decoder.0": "c", "decoder.1": "d", "encoder.0": "a", "encoder.1": "b"}
    plan = planned({name: shapes[f"{old}.weight"] for name, old in names.items()}, ordered=False)
    assert set(plan.values()) == {Exclusion.AMBIGUOUS}


def test_a_square_weight_with_a_side_as_long_as_the_input_is_left_out() -> None:
    plan = planned({"fc1.weight": (64, 64), "fc2.weight": (64, 64), "fc3.weight": (10, 64)})
    assert plan["fc1.weight"] == (Side.ROWS, 64, 64)
    assert plan["fc2.weight"] == Exclusion.AMBIGUOUS


@pytest.mark.parametrize("config", [{}, {"num_attention_heads": 4, "hidden_size": 64}])
def test_values_are_relabelled_within_heads_and_queries_not_at_all(config: dict[str, Any]) -> None:
    block = 16 if config else 4
    layer = "model.layers.0.self_attn"
    plan = planned(
        {
            "model.embed_tokens.weight": (500, 64),
            f"{layer}.q_proj.weight": (64, 64),
            f"{layer}.k_proj.weight": (64, 64),
            f"{layer}.v_proj.weight": (64, 64),
            f"{layer}.o_proj.weight": (64, 64),
            "model.layers.0.mlp.gate_proj.weight": (160, 64),
            "model.layers.0.mlp.up_proj.weight": (160, 64),
            "model.layers.0.mlp.down_proj.weight": (64, 160),
            "lm_head.weight": (500, 64),
        },
        config,
    )
    assert plan == {
        "model.embed_tokens.weight": (Side.COLUMNS, 64, 64),
        f"{layer}.q_proj.weight": (Side.COLUMNS, 64, 64),
        f"{layer}.k_proj.weight": (Side.COLUMNS, 64, 64),
        f"{layer}.v_proj.weight": (Side.ROWS, 64, block),
        f"{layer}.o_proj.weight": (Side.COLUMNS, 64, block),
        "model.layers.0.mlp.gate_proj.weight": (Side.ROWS, 160, 160),
        "model.layers.0.mlp.up_proj.weight": (Side.ROWS, 160, 160),
        "model.layers.0.mlp.down_proj.weight": (Side.COLUMNS, 160, 160),
        "lm_head.weight": (Side.COLUMNS, 64, 64),
    }


def test_values_that_heads_share_leave_the_output_projection_to_the_stream() -> None:
    layer = "model.layers.0.self_attn"
    config = {"num_attention_heads": 8, "num_key_value_heads": 2, "hidden_size": 64}
    plan = planned(
        {
            "model.embed_tokens.weight": (500, 64),
            f"{layer}.q_proj.weight": (64, 64),
            f"{layer}.v_proj.weight": (16, 64),
            f"{layer}.o_proj.weight": (64, 64),
            "model.layers.0.mlp.up_proj.weight": (160, 64),
            "model.layers.0.mlp.down_proj.weight": (64, 160),
        },
        config,
    )
    assert plan[f"{layer}.v_proj.weight"] == (Side.ROWS, 16, 8)
    assert plan[f"{layer}.o_proj.weight"] == (Side.ROWS, 64, 64)


def test_recurrent_states_are_relabelled_on_both_sides_gate_by_gate() -> None:
    plan = planned({"rnn.weight_ih_l0": (80, 12), "rnn.weight_hh_l0": (80, 20), "out.weight": (5, 20)})
    assert plan["rnn.weight_ih_l0#i"] == (Side.ROWS, 20, 20)
    assert plan["rnn.weight_hh_l0#o"] == (Side.BOTH, 20, 20)
    assert plan["out.weight"] == (Side.COLUMNS, 20, 20)


def test_channels_of_convolutions() -> None:
    plan = planned(
        {
            "conv1.weight": (16, 3, 3, 3),
            "depthwise_conv.weight": (16, 1, 3, 3),
            "grouped_conv.weight": (16, 8, 3, 3),
            "conv2.weight": (32, 16, 1, 1),
            "conv3.weight": (32, 32, 3, 3),
            "fc.weight": (10, 32 * 4),
        }
    )
    assert plan["conv1.weight"] == (Side.ROWS, 16, 16)
    assert plan["depthwise_conv.weight"] == (Side.ROWS, 16, 16)
    assert plan["grouped_conv.weight"] == Exclusion.GROUPED
    assert plan["conv2.weight"] == (Side.ROWS, 32, 32)
    assert plan["conv3.weight"] == (Side.BOTH, 32, 32)
    assert plan["fc.weight"] == Exclusion.TIED


def test_tables_of_positions_and_few_units_are_left_out() -> None:
    plan = planned({"wpe.weight": (64, 24), "a.weight": (5, 30), "b.weight": (3, 5)})
    assert plan["wpe.weight"] == Exclusion.POSITIONS
    assert plan["a.weight"] == Exclusion.FEW_UNITS
