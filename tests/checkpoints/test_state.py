"""Wrappers, optimizer state, histories: from what programs save to the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.memory import StateDictCheckpoint

W = torch.ones(2, 3)
SD = {"layer.weight": W, "layer.bias": torch.zeros(2)}
NAMES = ["layer.weight", "layer.bias"]


def names(state: Any, tmp_path: Path) -> tuple[list[str], tuple[str, ...]]:
    """Return the names and warnings that a file of ``state`` gives; memory must agree."""
    torch.save(state, tmp_path / "m.pt")
    with open_checkpoint(tmp_path / "m.pt") as checkpoint:
        found = [spec.name for spec in checkpoint.tensors]
        if isinstance(state, dict):
            memory = StateDictCheckpoint(state)
            assert [spec.name for spec in memory.tensors] == found
            assert memory.warnings == checkpoint.warnings
        return found, checkpoint.warnings


@pytest.mark.parametrize(
    "state",
    [
        SD,
        {"state_dict": SD},
        {"model": SD, "epoch": 3, "args": {"lr": 0.1}},
        {"module": {"state_dict": SD}},
        {"params": {"layer": {"weight": W, "bias": W[:, 0]}}},
        {f"module.{name}": value for name, value in SD.items()},
        {"net": {f"module._orig_mod.{name}": value for name, value in SD.items()}},
    ],
)
def test_wrappers_come_off(tmp_path: Path, state: Any) -> None:
    assert names(state, tmp_path) == (NAMES, ())


def test_a_prefix_that_only_some_have_stays(tmp_path: Path) -> None:
    state = {"module.a": W, "b": W}
    assert names(state, tmp_path) == (["module.a", "b"], ())


def test_a_part_called_model_is_no_wrapper(tmp_path: Path) -> None:
    found, warnings = names({"model": {"w": W}, "head": {"w": W}}, tmp_path)
    assert found == ["model.w", "head.w"]
    assert warnings == ()


def test_state_dict_is_a_wrapper_whatever_lies_beside_it(tmp_path: Path) -> None:
    found, warnings = names({"hyper_parameters": {"prior": W}, "state_dict": SD}, tmp_path)
    assert found == NAMES
    assert warnings == ("'state_dict' was read; other tensors were ignored: 'hyper_parameters' (1)",)


@pytest.mark.parametrize("order", [("model", "ema"), ("ema", "model")])
def test_of_two_wrappers_the_average_comes_second(tmp_path: Path, order: tuple[str, str]) -> None:
    found, warnings = names({key: {f"{key}.w": W} for key in order}, tmp_path)
    assert found == ["model.w"]
    assert warnings == ("'model' was read; other tensors were ignored: 'ema' (1)",)


def optimizer_state() -> dict[str, Any]:
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


@pytest.mark.parametrize(
    "key", ["optimizer", "optim", "optimizer_state_dict", "optimizer_states", "opt_d", "adam"]
)
def test_optimizer_state_is_never_taken_for_weights(tmp_path: Path, key: str) -> None:
    value = [optimizer_state()] if key == "optimizer_states" else optimizer_state()
    for state in ({"model": SD, key: value}, {key: value, "part": {"w": W}}):
        found, warnings = names(state, tmp_path)
        assert found == (NAMES if "model" in state else ["part.w"])
        assert warnings == (f"6 tensors of optimizer or trainer state were ignored ({key})",)


def test_an_optimizer_alone_holds_no_weights(tmp_path: Path) -> None:
    found, warnings = names(optimizer_state(), tmp_path)
    assert found == []
    assert warnings == (
        "6 tensors of optimizer or trainer state were ignored (optimizer)",
        "no weights were found in this file",
    )


def test_moments_and_random_state_beside_weights(tmp_path: Path) -> None:
    state = {
        "w": W,
        "exp_avg": W,
        "layer.momentum_buffer": W,
        "rng_state": torch.zeros(9),
        "lr_scheduler": {"x": W},
    }
    found, warnings = names(state, tmp_path)
    assert found == ["w"]
    assert warnings[0].startswith("4 tensors of optimizer or trainer state were ignored (exp_avg")


@pytest.mark.parametrize(
    "name", ["optimal.weight", "schedule_embed.weight", "transport.optimise", "moments.weight"]
)
def test_names_that_only_look_like_it_are_weights(tmp_path: Path, name: str) -> None:
    assert names({name: W}, tmp_path) == ([name], ())


def test_of_a_history_the_last_is_taken(tmp_path: Path) -> None:
    history = [{"w": torch.full((2, 2), float(i))} for i in range(3)]
    torch.save(history, tmp_path / "m.pt")
    with open_checkpoint(tmp_path / "m.pt") as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["w"]
        assert checkpoint.read("w")[0, 0] == 2
        assert checkpoint.warnings == (
            "a list of 3 dictionaries with the same tensors; the last one was read",
        )


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (W, ["tensor"]),
        ([W, W], ["0", "1"]),
        ([{"a": W}, {"b": W}], ["0.a", "1.b"]),
        ({1: W, ("a", 2): W, None: W}, ["1", "a_2", "None"]),
        ({"a": {"b": [W, {"c": W}]}}, ["a.b.0", "a.b.1.c"]),
        (torch.nn.ParameterList([W]).state_dict(), ["0"]),
    ],
)
def test_other_shapes_of_state(tmp_path: Path, state: Any, expected: list[str]) -> None:
    assert names(state, tmp_path)[0] == expected


def test_names_that_collide_are_told_apart(tmp_path: Path) -> None:
    found, warnings = names({"a.b": W, "a": {"b": W}}, tmp_path)
    assert found == ["a.b", "a.b~2"]
    assert "1 tensors have a name that was already in use ('a.b')" in warnings[0]


def test_a_container_reached_twice_is_walked_once(tmp_path: Path) -> None:
    shared = {"w": W}
    assert names({"a": shared, "b": shared}, tmp_path)[0] == ["a.w"]
