"""Every real file of these formats opens, and every value equals that of the format's own library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.registry import open_file
from rmtaudit.errors import CorruptError, NotACheckpointError

Shared = Callable[..., Path]

FILES = [
    *(f"cifar_resnet/resnet{n}.th" for n in (20, 32, 44, 56)),
    *(f"disent_vae/{name}_mnist.pt" for name in ("VAE", "betaH", "btcvae")),
    "attacut/attacut-c.pth",
    "attacut/attacut-sc.pth",
    "rxnfp/bert_ft.bin",
    "rxnfp/bert_pretrained.bin",
    "silero/silero_v6.2.3_16k.safetensors",
    "sd_lora/lora_disney.safetensors",
    "ultraface/RFB-320.pth",
    "ultraface/RFB-320-masked.pth",
    "ultraface/slim-320.pth",
    *(f"derived/{name}.safetensors" for name in (
        "degenerate", "l0l5_bf16", "l0l5_fp8_e4m3", "l0l5_int4_packed", "l0l5_int8_scale", "no_tensors")),
]  # fmt: skip


def reference(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        return load_file(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


@pytest.mark.parametrize("file", FILES)
def test_values_equal_those_of_the_library(shared: Shared, file: str) -> None:
    path = shared("models", *file.split("/"))
    expected = reference(path)
    with open_file(path) as checkpoint:
        assert {spec.name for spec in checkpoint.tensors} == set(expected)
        assert checkpoint.warnings == ()
        for spec in checkpoint.tensors:
            value = checkpoint.read(spec.name)
            assert spec.dtype == str(expected[spec.name].dtype).removeprefix("torch.")
            assert value.shape == expected[spec.name].shape
            assert torch.equal(
                value.reshape(-1).view(torch.uint8),
                expected[spec.name].contiguous().reshape(-1).view(torch.uint8),
            )


def test_the_wrapped_checkpoint_is_unwrapped(shared: Shared) -> None:
    with open_checkpoint(shared("models", "cifar_resnet", "resnet20.th")) as checkpoint:
        assert checkpoint.tensors[0].name == "conv1.weight"


def test_shards_equal_one_file(shared: Shared) -> None:
    folder = shared("models", "derived", "sharded")
    with open_checkpoint(folder) as checkpoint:
        assert checkpoint.format == "safetensors"
        assert checkpoint.warnings == ()
        merged: dict[str, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):
            merged.update(load_file(path))
        assert {spec.name for spec in checkpoint.tensors} == set(merged)
        assert all(torch.equal(checkpoint.read(name), value) for name, value in merged.items())


def test_broken_files_say_what_is_wrong(shared: Shared) -> None:
    with pytest.raises(CorruptError, match="2 of 3 shards are missing: model-00002-of-00003"):
        open_checkpoint(shared("models", "derived", "sharded_broken"))
    with pytest.raises(CorruptError, match=r"the file looks truncated \(2% present\)"):
        open_checkpoint(shared("models", "derived", "truncated.safetensors"))
    with pytest.raises(CorruptError, match="announce a header of 4611686018427387904 bytes"):
        open_checkpoint(shared("models", "derived", "header_bomb.safetensors"))
    with pytest.raises(NotACheckpointError, match="133 bytes but should have 90868376") as caught:
        open_checkpoint(shared("models", "derived", "lfs_pointer.safetensors"))
    assert caught.value.hint == "Run: git lfs pull"


@pytest.mark.parametrize(
    ("file", "format"),
    [
        ("basic_pitch/nmp.onnx", "onnx"),
        ("silero/silero_v5.1.2.onnx", "onnx"),
        ("mlperf_tiny/resnet8_float.tflite", "tflite"),
        ("ml_kws/DNN_S.pb", "tensorflow-graph"),
    ],
)
def test_graphs_of_operators_are_opened(shared: Shared, file: str, format: str) -> None:
    with open_checkpoint(shared("models", *file.split("/"))) as checkpoint:
        assert checkpoint.format == format
        assert checkpoint.tensors
