"""Every scheme against what its library computes, and a wrong convention is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.schemes import codes, four_bit_floats, packed_integers
from rmtaudit.checkpoints.schemes.sides import stated_inputs, stated_outputs
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.skips import SkipReason
from rmtaudit.matrices.tensors import TensorSpec

Shared = Callable[..., Path]

# The libraries of three answer in bfloat16, the kernel of one in float16; bitsandbytes divides last.
ACCURACY = {
    "ct_nvfp4": 2.0**-8, "torchao_fp8": 2.0**-8, "torchao_int8": 2.0**-8, "gptq_v2": 2.0**-11,
    "bnb_int8": 1e-7,
}  # fmt: skip

EXAMPLES = (
    "awq_gemm", "bnb_fp4", "bnb_int8", "bnb_nf4", "bnb_nf4_double", "ct_fp8_channel", "ct_int8_channel",
    "ct_mxfp4", "ct_mxfp8", "ct_nvfp4", "ct_pack_int4_asym_g64", "ct_pack_int4_sym_g128",
    "ct_pack_int8_sym_g64", "fp8_block128", "fp8_block128_ragged", "gemma_int2", "gemma_int4", "gemma_int8",
    "gptq_v1", "gptq_v2", "hqq_4bit_g64", "mlx_affine_2bit_g32", "mlx_affine_3bit_g32",
    "mlx_affine_4bit_g64", "mlx_affine_5bit_g64", "mlx_affine_6bit_g64", "mlx_affine_8bit_g64", "mlx_mxfp4",
    "mlx_mxfp8", "mlx_nvfp4", "modelopt_nvfp4", "mxfp4_gptoss", "torchao_fp8", "torchao_int8",
)  # fmt: skip


def the_weight(checkpoint: Checkpoint) -> TensorSpec:
    (spec,) = (spec for spec in checkpoint.tensors if spec.encoding is not None)
    return spec


def distance(folder: Path) -> float:
    """Return the largest difference from the library's values, relative to the largest of them."""
    expected = torch.from_numpy(np.load(folder / "expected.npz")["weight"])
    with open_checkpoint(folder) as checkpoint:
        values = checkpoint.read(the_weight(checkpoint).name)
    assert values.shape == expected.shape
    return float((values - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_weight_is_that_of_the_library(name: str, shared: Shared) -> None:
    assert distance(shared("golden", "quantised", name)) <= ACCURACY.get(name, 0.0)


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_read_is_what_was_announced(name: str, shared: Shared) -> None:
    with open_checkpoint(shared("golden", "quantised", name)) as checkpoint:
        spec = the_weight(checkpoint)
        values = checkpoint.read(spec.name)
        assert (tuple(values.shape), str(values.dtype)) == (spec.shape, f"torch.{spec.dtype}")
        assert values.is_contiguous()
        band = checkpoint.read_band(spec.name, 1, 2)
        assert torch.equal(band, values[1:2])
        assert {other.name for other in checkpoint.tensors if other.role is not None} <= set(
            spec.encoding.parts if spec.encoding else ()
        )
        assert spec.encoding is not None
        assert 2 <= spec.encoding.bits <= 10


def _swapped(packed: torch.Tensor, *, high_first: bool = False) -> torch.Tensor:
    low, high = packed & 15, packed >> 4
    return torch.stack((low, high) if high_first else (high, low), dim=-1).flatten(-2)


def _low_row_first(folder: Path, tmp_path: Path) -> Path:
    """Copy an example whose codes have their two halves of rows exchanged: HQQ read as quanto."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    (key,) = (key for key in tensors if key.endswith("W_q"))
    tensors[key] = (tensors[key] >> 4) | (tensors[key] << 4)
    save_file(tensors, tmp_path / "model.safetensors")
    for name in ("config.json", "expected.npz"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    ("name", "owner", "attribute", "instead"),
    [
        *((name, four_bit_floats, "nibbles", _swapped) for name in ("ct_nvfp4", "ct_mxfp4", "mxfp4_gptoss")),
        ("mlx_nvfp4", packed_integers, "nibbles", _swapped),
        ("awq_gemm", packed_integers, "_AWQ_ORDER", tuple(range(8))),
        ("awq_gemm", packed_integers, "_AWQ_ORDER", (0, 2, 4, 6, 1, 3, 5, 7)),
        ("gptq_v1", packed_integers, "_gptq_version", lambda *_: 2),
        ("gptq_v2", packed_integers, "_gptq_version", lambda *_: 1),
        ("mxfp4_gptoss", codes, "_E2M1", tuple(reversed(codes._E2M1))),
        ("ct_mxfp4", four_bit_floats, "e8m0", lambda scale: 2 * codes.e8m0(scale)),
    ],
)
def test_another_convention_is_noticed(
    name: str, owner: Any, attribute: str, instead: Any, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shared("golden", "quantised", name)
    monkeypatch.setattr(owner, attribute, instead)
    assert distance(folder) > 0.01


@pytest.mark.parametrize(
    ("name", "was", "now"),
    [
        ("ct_nvfp4", "weight_global_scale", "weight_scale_2"),
        ("modelopt_nvfp4", "weight_scale_2", "weight_global_scale"),
    ],
)
def test_nvfp4_divides_in_one_library_and_multiplies_in_the_other(
    name: str, was: str, now: str, shared: Shared, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = shared("golden", "quantised", name)
    tensors = load_file(folder / "model.safetensors")
    leaf = {"weight_scale_2": ("weight_packed", "weight"), "weight_global_scale": ("weight", "weight_packed")}
    renamed = {}
    for key, value in tensors.items():
        stem, _, last = key.rpartition(".")
        last = now if last == was else leaf[now][1] if last == leaf[now][0] else last
        renamed[f"{stem}.{last}"] = value
    save_file(renamed, tmp_path / "model.safetensors")
    (tmp_path / "expected.npz").write_bytes((folder / "expected.npz").read_bytes())
    assert distance(tmp_path) > 0.01


def test_the_half_that_comes_first_matters(shared: Shared, tmp_path: Path) -> None:
    assert distance(_low_row_first(shared("golden", "quantised", "hqq_4bit_g64"), tmp_path)) > 0.01


def test_blocks_come_from_the_configuration(shared: Shared, tmp_path: Path) -> None:
    """192 rows under two scales are 128 and 64 rows, and not twice 96."""
    folder = shared("golden", "quantised", "fp8_block128_ragged")
    for name in ("model.safetensors", "expected.npz"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "config.json").write_text(
        '{"quantization_config": {"quant_method": "fp8", "weight_block_size": [96, 107]}}'
    )
    assert distance(tmp_path) > 0.01


def test_quanto_is_decoded_where_the_configuration_states_a_side(shared: Shared, tmp_path: Path) -> None:
    folder = shared("golden", "quantised", "quanto_int4")
    for name in ("model.safetensors", "expected.npz"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_size": 256}))
    assert distance(tmp_path) == 0
    for size in (100, 384, -256, None):  # none that the groups fit
        (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_size": size}))
        with open_checkpoint(tmp_path) as checkpoint:
            assert any("does not state the shape" in warning for warning in checkpoint.warnings)


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("model.layers.0.self_attn.q_proj.weight", 64, None),
        ("model.layers.0.mlp.experts.3.gate_proj.weight", 64, None),
        ("model.layers.0.self_attn.o_proj.weight", None, 64),
        ("model.layers.0.mlp.down_proj.weight", None, 64),
        ("vision_model.encoder.layers.0.self_attn.q_proj.weight", None, None),
        ("model.layers.0.cross_attn.k_proj.weight", None, None),
        ("lm_head.weight", None, None),
    ],
)
def test_the_sides_that_a_configuration_states(name: str, inputs: int | None, outputs: int | None) -> None:
    config = {"hidden_size": 64}
    assert (stated_inputs(name, config), stated_outputs(name, config)) == (inputs, outputs)
    assert stated_inputs(name, {"hidden_size": 64, "text_config": {"hidden_size": 32}}) is None


def test_quanto_as_it_lies_there_is_skipped_as_a_whole(shared: Shared) -> None:
    """Neither the file nor its configuration states a side: 64 x 256, 128 x 128 … would fit."""
    reason = "quanto int4, whose file does not state the shape of the weight"
    with open_checkpoint(shared("golden", "quantised", "quanto_int4")) as checkpoint:
        plan = plan_layers(checkpoint.tensors, config=checkpoint.config)
    assert plan.layers == ()
    skipped = {each.spec.name.rpartition(".")[2]: each for each in plan.skipped}
    assert len(plan.skipped) == len(checkpoint.tensors) == 3
    assert skipped["_data"].reason == f"quantised ({reason})"
    assert skipped["_data"].skip.reason is SkipReason.QUANTISED
    for part in ("_scale", "_shift"):
        assert skipped[part].reason == f"part of a quantised weight ({reason})"
        assert skipped[part].skip.reason is SkipReason.QUANTISATION_PARAMETER


def test_quanto_is_decoded_where_a_bias_tells_its_rows(shared: Shared, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shared("golden", "quantised", "quanto_int4")
    with open_checkpoint(folder) as checkpoint:
        assert any("does not state the shape" in warning for warning in checkpoint.warnings)
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "layers.0.q_proj.bias": torch.zeros(64)}, tmp_path / "model.safetensors")
    (tmp_path / "expected.npz").write_bytes((folder / "expected.npz").read_bytes())
    assert distance(tmp_path) == 0
    low = tensors["layers.0.q_proj.weight._data._data"]
    tensors["layers.0.q_proj.weight._data._data"] = (low >> 4) | (low << 4)
    save_file({**tensors, "layers.0.q_proj.bias": torch.zeros(64)}, tmp_path / "model.safetensors")
    assert distance(tmp_path) > 0.01
