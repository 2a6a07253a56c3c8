"""Equal weights are equal whatever torch's container: names, order, shapes, values."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.distributed.checkpoint.state_dict_saver import save as save_distributed

from rmtaudit import scan

Answer = tuple[str | None, list[tuple[str, object]]]
CONTAINERS = ("safetensors", "pt", "legacy", "wrapped", "zip", "deflated zip", "dcp", "dcp wrapped")


def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(11)
    return {
        "fc1.weight": torch.randn(64, 48, generator=generator),
        "fc1.bias": torch.randn(64, generator=generator),
        "fc2.weight": torch.randn(40, 64, generator=generator).to(torch.bfloat16),
    }


def write(folder: Path, container: str) -> Path:
    state = weights()
    path = folder / "m"
    if container == "safetensors":
        save_file(state, path)
    elif container in {"pt", "legacy"}:
        torch.save(state, path, _use_new_zipfile_serialization=container == "pt")
    elif container == "wrapped":
        torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    elif container.endswith("zip"):
        buffer = io.BytesIO()
        torch.save(state, buffer)
        method = zipfile.ZIP_STORED if container == "zip" else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("policy.pth", buffer.getvalue())
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            save_distributed({"model": state} if container.endswith("wrapped") else state, checkpoint_id=path)
    return path


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    return answer(write(tmp_path_factory.mktemp("expected"), "safetensors"))


def answer(path: Path) -> Answer:
    report = scan(path, analyzers=["scale"])
    rows: list[tuple[str, object]] = sorted(
        (layer.name, layer.metrics["stable_rank"].value) for layer in report.layers
    )
    return report.subject["digest"], rows


@pytest.mark.parametrize("container", CONTAINERS)
def test_equal_weights_give_equal_reports(tmp_path: Path, container: str, expected: Answer) -> None:
    assert answer(write(tmp_path, container)) == expected
