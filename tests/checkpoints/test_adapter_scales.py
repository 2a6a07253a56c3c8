"""What a file itself states of the scale of its updates: llama.cpp's alpha, and kohya's metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.matrices.plan import plan_layers

A, B = torch.randn(4, 20), torch.randn(12, 4)


def scaled(path: Path) -> tuple[str, torch.Tensor]:
    """Return the view of the only update, and its singular values."""
    with open_checkpoint(path) as checkpoint:
        (layer,) = plan_layers(checkpoint.tensors, adapter_config=checkpoint.adapter_config).layers
        (core,) = layer.build(tuple(checkpoint.read(name) for name in layer.tensors))
    return layer.view, torch.linalg.svdvals(core)


def check(path: Path, factor: float, words: str) -> None:
    view, values = scaled(path)
    assert words in view
    expected = torch.linalg.svdvals((factor * B @ A).double())[:4]
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("alpha", "factor", "words"),
    [
        (16.0, 4.0, "scaled by the alpha of the file/r = 16/4"),
        (0.0, 1.0, "unscaled, as the alpha of the file is 0"),
        (None, 1.0, "unscaled"),
    ],
)
def test_the_alpha_of_a_gguf_adapter(tmp_path: Path, alpha: float | None, factor: float, words: str) -> None:
    writer = gguf.GGUFWriter(tmp_path / "lora.gguf", "llama")
    writer.add_type("adapter")
    if alpha is not None:
        writer.add_float32("adapter.lora.alpha", alpha)
    writer.add_tensor("blk.0.attn_q.weight.lora_a", A.numpy())
    writer.add_tensor("blk.0.attn_q.weight.lora_b", B.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    check(tmp_path / "lora.gguf", factor, words)


@pytest.mark.parametrize(
    ("metadata", "factor", "words"),
    [
        ({"ss_network_alpha": "2.0", "ss_network_dim": "4"}, 0.5, "scaled by ss_network_alpha/r = 2/4"),
        ({"ss_network_alpha": "2", "ss_network_dim": "8"}, 1.0, "unscaled"),
        ({"ss_network_alpha": "0", "ss_network_dim": "4"}, 1.0, "ss_network_alpha is 0"),
        ({"ss_network_alpha": "Dynamic", "ss_network_dim": "Dynamic"}, 1.0, "unscaled"),
        ({"ss_network_alpha": "nan", "ss_network_dim": "4"}, 1.0, "unscaled"),
        ({"ss_network_dim": "4"}, 1.0, "unscaled"),
        (
            {
                "ss_network_alpha": "2", "ss_network_dim": "32",
                "ss_network_args": '{"conv_dim": "4", "conv_alpha": "1"}',
            },
            0.25,
            "1/4",
        ),
        (
            {
                "ss_network_alpha": "2", "ss_network_dim": "4",
                "ss_network_args": '{"conv_dim": 4, "conv_alpha": 1}',
            },
            1.0,
            "unscaled",
        ),
        ({"ss_network_alpha": "2", "ss_network_dim": "4", "ss_network_args": "[["}, 0.5, "2/4"),
    ],
    ids=range(9),
)  # fmt: skip
def test_the_metadata_of_kohya(tmp_path: Path, metadata: dict[str, Any], factor: float, words: str) -> None:
    tensors = {"lora_unet_q.lora_down.weight": A, "lora_unet_q.lora_up.weight": B}
    save_file(tensors, tmp_path / "lora.safetensors", metadata)
    check(tmp_path / "lora.safetensors", factor, words)


def test_a_stored_alpha_comes_before_the_metadata(tmp_path: Path) -> None:
    tensors = {"q.lora_down.weight": A, "q.lora_up.weight": B, "q.alpha": torch.tensor(8.0)}
    metadata = {"ss_network_alpha": "2", "ss_network_dim": "4"}
    save_file(tensors, tmp_path / "lora.safetensors", metadata)
    check(tmp_path / "lora.safetensors", 2.0, "scaled by its alpha/4")
