"""Which tensors belong to a quantised weight, and what happens to those of an unknown scheme."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import rmtaudit
from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.memory import StateDictCheckpoint
from rmtaudit.checkpoints.schemes import decoded
from rmtaudit.checkpoints.schemes.codes import e8m0, from_words, spread
from rmtaudit.matrices.plan import plan_layers

FP8 = torch.float8_e4m3fn


def ints(*shape: int, dtype: torch.dtype = torch.int8, seed: int = 0) -> torch.Tensor:
    info = torch.iinfo(dtype)
    generator = torch.Generator().manual_seed(seed)
    low, high = max(info.min, -(2**31)), min(info.max, 2**31 - 1)
    return torch.randint(low, high, shape, generator=generator, dtype=torch.int64).to(dtype)


def floats(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) + 0.5


def opened(state: dict[str, torch.Tensor], **config: Any) -> Checkpoint:
    checkpoint = StateDictCheckpoint(state)
    checkpoint.config = config
    return decoded(checkpoint)


def analysed(checkpoint: Checkpoint) -> set[str]:
    return {layer.name for layer in plan_layers(checkpoint.tensors).layers}


def test_a_checkpoint_without_codes_is_returned_as_it_is() -> None:
    state = {"a.weight": floats(8, 8), "a.bias": floats(8), "ids": torch.arange(16).reshape(4, 4)}
    checkpoint = StateDictCheckpoint(state)
    assert decoded(checkpoint) is checkpoint


UNKNOWN = {
    "AQLM": {"codes": ints(16, 8, 2), "codebooks": floats(2, 256, 1, 8), "scales": floats(16, 1, 1, 1)},
    "Marlin": {
        "B": ints(4, 32, dtype=torch.int32), "s": floats(4, 16), "workspace": ints(64, dtype=torch.int32)
    },
    "SVDQuant": {
        "qweight": ints(16, 16), "wscales": floats(4, 16), "smooth_factor": floats(32),
        "lora_down": floats(32, 4), "lora_up": floats(16, 4),
    },
    "VPTQ": {"indices": ints(1, 16, 4, dtype=torch.int32), "centroids.weight": floats(1, 512)},
    "EXL2": {"q_weight": ints(16, 16, dtype=torch.int32), "q_scale": ints(2, 2, dtype=torch.int32)},
    "HIGGS": {"weight": ints(16, 8, dtype=torch.uint8), "scales": floats(4, 16), "tables": floats(16, 2)},
    "unknown: weight, oddity, thing": {"weight": ints(16, 8), "oddity": floats(8, 4), "thing": floats(4, 4)},
    "unknown: weight, pre_quant_scale, weight_scale": {
        "weight": floats(16, 8).to(FP8), "weight_scale": floats(1), "pre_quant_scale": floats(8),
    },
}  # fmt: skip


@pytest.mark.parametrize("scheme", UNKNOWN)
def test_the_whole_module_of_another_scheme_is_skipped(scheme: str) -> None:
    module = {f"l.q_proj.{label}": value for label, value in UNKNOWN[scheme].items()}
    checkpoint = opened(
        {**module, "l.q_proj.bias": floats(16), "l.norm.weight": floats(8), "other": floats(8, 4)}
    )
    assert analysed(checkpoint) == {"other"}
    (codes,) = (spec for spec in checkpoint.tensors if spec.unreadable)
    assert codes.unreadable == f"quantised ({scheme})"
    (warning,) = checkpoint.warnings
    assert scheme in warning


@given(
    labels=st.lists(
        st.from_regex(r"[a-z]{1,6}(_[a-z]{1,6})?", fullmatch=True), min_size=1, max_size=5, unique=True
    ),
    dtype=st.sampled_from([torch.int8, torch.uint8, torch.int16, torch.int32]),
)
def test_nothing_beside_codes_is_ever_a_layer(labels: list[str], dtype: torch.dtype) -> None:
    module = {f"m.0.proj.{label}": floats(6, 5, seed=place) for place, label in enumerate(labels)}
    module["m.0.proj.weight"] = ints(8, 8, dtype=dtype)
    checkpoint = opened({**module, "m.1.proj.weight": floats(8, 8)})
    assert analysed(checkpoint) == {"m.1.proj.weight"}


def test_adapters_beside_a_quantised_layer_are_looked_at() -> None:
    state = {
        "q.base_layer.weight": ints(16, 8), "q.base_layer.weight_scale": floats(16, 1),
        "q.lora_A.default.weight": floats(2, 8), "q.lora_B.default.weight": floats(16, 2),
    }  # fmt: skip
    assert analysed(opened(state)) == {"q.base_layer.weight", "q"}


def test_masks_and_indices_are_no_codes() -> None:
    state = {
        "h.0.attn.bias": torch.ones(1, 1, 8, 8, dtype=torch.uint8), "h.0.attn.c_attn.weight": floats(8, 24),
        "b.relative_position_index": ints(9, 9, dtype=torch.int32),
        "b.relative_position_bias_table": floats(25, 4),
    }  # fmt: skip
    layers = plan_layers(opened(state).tensors).layers
    assert {layer.tensor for layer in layers} == {"h.0.attn.c_attn.weight", "b.relative_position_bias_table"}


def test_eight_bit_floats_without_a_scale_are_weights() -> None:
    checkpoint = opened({"a.weight": floats(8, 8).to(FP8), "a.bias": floats(8)})
    assert analysed(checkpoint) == {"a.weight"}
    assert checkpoint.tensors[0].dtype == "float8_e4m3fn"


def test_eight_bit_floats_of_a_quantised_model_need_a_scale() -> None:
    checkpoint = opened({"a.weight": floats(8, 8).to(FP8)}, quantization_config={"quant_method": "fp8"})
    assert not analysed(checkpoint)
    assert checkpoint.tensors[0].unreadable == "quantised (unknown: weight)"


def test_schemes_are_told_apart_tensor_by_tensor() -> None:
    """A file of Unsloth's: 8-bit floats in one layer, NVFP4 in the next, numbers in the third."""
    state = {
        "a.weight": floats(16, 32).to(FP8), "a.weight_scale": floats(16, 1),
        "b.weight_packed": ints(16, 16, dtype=torch.uint8), "b.weight_scale": floats(16, 2).to(FP8),
        "b.weight_global_scale": floats(1), "c.weight": floats(16, 32),
    }  # fmt: skip
    schemes = {spec.name: spec.encoding.scheme for spec in opened(state).tensors if spec.encoding}
    assert schemes == {"a.weight": "fp8, a scale a row", "b.weight": "NVFP4 (compressed-tensors)"}
    assert analysed(opened(state)) == {"a.weight", "b.weight", "c.weight"}


def test_several_weights_under_one_parent() -> None:
    state = {
        "experts.gate_up_proj": floats(2, 8, 6).to(FP8), "experts.gate_up_proj_scale": floats(2, 8, 1),
        "experts.down_proj": floats(2, 6, 4).to(FP8), "experts.down_proj_scale": floats(2, 6, 1, seed=3),
        "experts.down_proj_bias": floats(2, 6),
    }  # fmt: skip
    checkpoint = opened(state)
    assert {spec.name for spec in checkpoint.tensors if spec.encoding} == {
        "experts.gate_up_proj", "experts.down_proj",
    }  # fmt: skip
    expected = state["experts.down_proj"].float() * state["experts.down_proj_scale"]
    assert torch.equal(checkpoint.read("experts.down_proj"), expected)
    assert torch.equal(checkpoint.read_band("experts.down_proj", 1, 2), expected[1:])


@pytest.mark.parametrize("sides", [(), (1,), (16,), (16, 1), (16, 4)])
def test_integers_times_a_scale(sides: tuple[int, ...]) -> None:
    codes, scale = ints(16, 8), floats(*sides)
    checkpoint = opened({"a.weight": codes, "a.weight_scale": scale})
    wide = scale.repeat_interleave(2, 1) if sides == (16, 4) else scale.reshape(-1, 1)
    assert torch.equal(checkpoint.read("a.weight"), codes.float() * wide)


def test_a_scale_for_each_input_is_not_guessed_at() -> None:
    checkpoint = opened({"a.weight": ints(16, 8), "a.weight_scale": floats(8)})
    assert not analysed(checkpoint)


@given(bits=st.sampled_from([2, 3, 4, 5, 6, 7, 8]), count=st.integers(1, 70), dense=st.booleans())
def test_codes_come_out_of_words_as_they_went_in(bits: int, count: int, dense: bool) -> None:
    codes = torch.randint(0, 1 << bits, (3, count), generator=torch.Generator().manual_seed(count))
    words = []
    for row in codes.tolist():
        each = 32 // bits
        groups = [row] if dense else [row[start : start + each] for start in range(0, count, each)]
        stream = [sum(code << bits * place for place, code in enumerate(group)) for group in groups]
        size = -(-count * bits // 32) if dense else 1
        words.append([number >> 32 * place & 0xFFFFFFFF for number in stream for place in range(size)])
    packed = torch.tensor(words).to(torch.int32)
    assert torch.equal(from_words(packed, bits, count, dense=dense).long(), codes)


def test_a_width_that_two_numbers_of_bits_explain_is_not_decoded() -> None:
    """Three words hold 12 codes of 7 or 8 bits."""
    state = {
        "a.weight_packed": ints(4, 3, dtype=torch.int32), "a.weight_scale": floats(4, 1),
        "a.weight_shape": torch.tensor([4, 12]),
    }  # fmt: skip
    assert not analysed(opened(state))
    groups = {"group_0": {"weights": {"num_bits": 8}}}
    assert analysed(opened(state, quantization_config={"config_groups": groups})) == {"a.weight"}


@pytest.mark.parametrize(("stored", "version"), [(0x77777777, 1), (-0x77777778, 2), (0x12345678, None)])
def test_the_version_of_gptq_is_told_by_symmetric_zero_points_alone(stored: int, version: int | None) -> None:
    state = {
        "a.qweight": ints(4, 16, dtype=torch.int32), "a.scales": floats(2, 16),
        "a.qzeros": torch.full((2, 2), stored, dtype=torch.int32),
    }  # fmt: skip
    checkpoint = opened(state)
    schemes = [spec.encoding.scheme for spec in checkpoint.tensors if spec.encoding]
    assert schemes == ([f"GPTQ v{version} int4"] if version else [])


@pytest.mark.parametrize(("named", "stored"), [("gptq", -0x77777778), ("gptq_v2", 0x77777777)])
@pytest.mark.parametrize("key", ["checkpoint_format", "format"])
def test_a_stated_version_that_symmetric_zero_points_contradict(key: str, named: str, stored: int) -> None:
    state = {
        "a.qweight": ints(4, 16, dtype=torch.int32), "a.scales": floats(2, 16),
        "a.qzeros": torch.full((2, 2), stored, dtype=torch.int32),
    }  # fmt: skip
    checkpoint = opened(state, quantization_config={"quant_method": "gptq", key: named})
    assert not analysed(checkpoint)
    assert any("contradict" in warning for warning in checkpoint.warnings)


def test_uneven_groups_are_not_guessed_at() -> None:
    """Three groups of 100 columns may be of 34 to 49."""
    state = {
        "a.weight_packed": ints(4, 25, dtype=torch.int32), "a.weight_scale": floats(4, 3),
        "a.weight_shape": torch.tensor([4, 100]),
    }  # fmt: skip
    groups: dict[str, Any] = {"group_0": {"weights": {"num_bits": 8}}}
    assert not analysed(opened(state, quantization_config={"config_groups": groups}))
    groups["group_0"]["weights"]["group_size"] = 48
    assert analysed(opened(state, quantization_config={"config_groups": groups})) == {"a.weight"}


@pytest.mark.parametrize("scale", [ints(16, 1, dtype=torch.uint8), ints(16, 1, dtype=torch.int32)])
def test_a_scale_is_a_number(scale: torch.Tensor) -> None:
    assert not analysed(opened({"a.weight": ints(16, 8), "a.weight_scale": scale}))


def test_an_ambiguous_zero_point_is_reported() -> None:
    state = {
        "a.qweight": ints(4, 16, dtype=torch.int32), "a.qzeros": torch.full((2, 2), -1, dtype=torch.int32),
        "a.scales": floats(2, 16),
    }  # fmt: skip
    checkpoint = opened(state, quantization_config={"quant_method": "gptq", "checkpoint_format": "gptq"})
    assert any("zero points of 15" in warning for warning in checkpoint.warnings)


def test_powers_of_two() -> None:
    exponents = torch.arange(256, dtype=torch.uint8)
    values = e8m0(exponents)
    assert [float(each) for each in values[:-1]] == [2.0 ** (place - 127) for place in range(255)]
    assert bool(values[-1].isnan())


def test_the_last_blocks_are_what_is_left() -> None:
    scales = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert spread(scales, (2, 3), (3, 4)).tolist() == [[1, 1, 1, 2], [1, 1, 1, 2], [3, 3, 3, 4]]


@pytest.mark.parametrize("state", [b"{", b"[]", b"{}", b'{"shape": [1e9, 4], "blocksize": 64}', b"\xff"])
def test_a_description_of_bitsandbytes_is_not_trusted(state: bytes) -> None:
    module = {
        "a.weight": ints(64, 1, dtype=torch.uint8), "a.weight.absmax": floats(2),
        "a.weight.quant_map": floats(16),
        "a.weight.quant_state.bitsandbytes__nf4": torch.tensor(list(state), dtype=torch.uint8),
    }  # fmt: skip
    checkpoint = opened(module)
    assert not analysed(checkpoint)
    assert checkpoint.tensors[0].unreadable


def test_a_quantised_weight_is_reported_with_its_encoding() -> None:
    generator = torch.Generator().manual_seed(3)
    state = {
        "a.weight": torch.randn(96, 64, generator=generator).mul(40).to(torch.int8),
        "a.weight_scale": floats(96, 1),
    }  # fmt: skip
    report = rmtaudit.scan(state, analyzers=["forensics"])
    (layer,) = report.layers
    assert layer.encoding is not None
    assert (layer.encoding.scheme, layer.encoding.dtype) == ("int8, a scale a row", "int8")
    assert not {"RA-FO-002", "RA-FO-003"} & {finding.code for finding in layer.findings}
    assert report.coverage.fraction == 1.0
    assert report.subject["dtypes"] == {"int8, a scale a row": 96 * 64, "float32": 96}
