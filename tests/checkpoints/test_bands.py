from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.checkpoints import open_checkpoint


def tensors() -> dict[str, torch.Tensor]:
    stack = torch.arange(4 * 5 * 6, dtype=torch.float32).reshape(4, 5, 6)
    return {
        "before": torch.ones(7),
        "stack": stack,
        "turned": stack.permute(2, 0, 1),
        "half": stack.bfloat16(),
    }


def write(path: Path, kind: str) -> Path:
    if kind == "safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors().items()}, str(path))
    else:
        torch.save(tensors(), path, _use_new_zipfile_serialization=kind == "zip")
    return path


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (1, 3), (3, 4), (0, 4), (2, 2)])
def test_a_band_is_that_range_of_the_tensor(tmp_path: Path, kind: str, start: int, stop: int) -> None:
    with open_checkpoint(write(tmp_path / "w.ckpt", kind)) as checkpoint:
        for name, whole in tensors().items():
            if whole.ndim > 1:
                band = checkpoint.read_band(name, start, stop)
                assert torch.equal(band, whole[start:stop])
                assert band.dtype == whole.dtype


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_no_more_is_read_than_the_band(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_checkpoint(write(tmp_path / "w.ckpt", kind)) as checkpoint:
        source = checkpoint._source  # type: ignore[attr-defined]
        asked: list[int] = []
        real = source.pread

        def pread(offset: int, length: int) -> Any:
            asked.append(length)
            return real(offset, length)

        monkeypatch.setattr(source, "pread", pread)
        checkpoint.read_band("stack", 1, 2)
    assert asked == [5 * 6 * 4]
