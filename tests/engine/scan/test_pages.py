"""Overwritten pages in the report of a scan: their place in the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import rmtaudit
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.report.model import Finding, Report

CHUNK = 65536


def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    return {name: torch.randn(300, 310, generator=generator) for name in ("a.weight", "b.weight")}


def overwritten(report: Report) -> list[Finding]:
    return [each for layer in report.layers for each in layer.findings if each.code == "RA-FO-030"]


@pytest.mark.parametrize("name", ["m.safetensors", "m.pt"])
def test_the_position_in_the_file_is_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("safetensors"):
        save_file(state(), path)
    else:
        torch.save(state(), path)
    assert overwritten(rmtaudit.scan(path, analyzers=["scale"])) == []
    with open_checkpoint(path) as checkpoint:
        position = checkpoint.position("b.weight")
    assert position is not None
    start = (position[1] // CHUNK + 1) * CHUNK
    data = bytearray(path.read_bytes())
    data[start : start + CHUNK] = bytes(CHUNK)
    path.write_bytes(data)
    report = rmtaudit.scan(path, analyzers=["scale"])
    (finding,) = overwritten(report)
    assert finding.severity == "error"
    assert finding.evidence["file"] == name
    assert (finding.evidence["start"], finding.evidence["stop"]) == (start, start + CHUNK)
    assert f"65536 bytes from position {start} of {name} hold only 0. Download" in finding.message
    assert [layer.name for layer in report.layers if layer.findings] == ["b.weight"]
    assert "damaged" in report.verdict


def test_a_copy_within_the_part_of_a_tensor(tmp_path: Path) -> None:
    values = torch.randn(3 * 256, 256, generator=torch.Generator().manual_seed(1))
    flat = values.reshape(-1)
    flat[159_773:179_773] = flat[131_101:151_101].clone()
    save_file({"attn.in_proj_weight": values}, tmp_path / "m.safetensors")
    (finding,) = overwritten(rmtaudit.scan(tmp_path, analyzers=["scale"]))
    with open_checkpoint(tmp_path) as checkpoint:
        position = checkpoint.position("attn.in_proj_weight")
    assert position is not None
    assert abs(finding.evidence["start"] - position[1] - 4 * 159_773) <= 2
    assert finding.evidence["start"] - finding.evidence["source"] == 28 * 4096


def test_strided_and_decoded_tensors_have_no_position(tmp_path: Path) -> None:
    torch.save({"w": torch.randn(20, 30).T, "v": torch.randn(3, 4)}, tmp_path / "m.pt")
    with open_checkpoint(tmp_path / "m.pt") as checkpoint:
        assert checkpoint.position("w") is None
        assert checkpoint.position("v") is not None
    save_file(
        {"fc.weight": torch.ones(4, 4).to(torch.float8_e4m3fn), "fc.weight_scale": torch.ones(1)},
        tmp_path / "q.safetensors",
    )
    with open_checkpoint(tmp_path / "q.safetensors") as checkpoint:
        assert checkpoint.position("fc.weight") is None
        assert checkpoint.position("fc.weight_scale") is not None
