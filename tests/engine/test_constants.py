"""Constants of the architecture in a scan: listed, not judged, and no damage where they are copied."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import rmtaudit


def scanned(path: Path, preset: str = "default") -> rmtaudit.Report:
    return rmtaudit.scan(path, preset=preset)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_masks_of_every_head_are_listed_once_and_are_no_damage(tmp_path: Path, value: float) -> None:
    mask = torch.full((40, 40), -torch.inf).triu(1) if value == 0 else torch.ones(40, 40).tril()
    weight = torch.randn(64, 40, generator=torch.Generator().manual_seed(0))
    file = tmp_path / "model.safetensors"
    save_file({"a.table": mask, "b.table": mask.clone(), "c.weight": weight}, file)
    report = scanned(file)
    rows = {row.name: row for row in report.layers}
    for name in ("a.table", "b.table"):
        assert rows[name].verdict == "constant (causal mask)"
        assert rows[name].status == "skipped"
        assert rows[name].findings == ()
    assert report.coverage.parameters == report.coverage.parameters_analyzed == 2560
    assert report.verdict == "too small"


def test_metrics_alone_leave_nothing_out(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"table": torch.ones(40, 40).tril()}, file)
    (row,) = scanned(file, "fast").layers
    assert row.status == "ok"
    assert row.verdict.startswith("unjudged")


@pytest.mark.parametrize(
    ("case", "file", "constants"),
    [
        ("causal-mask-tril-heads", "gpt.pt", {"causal mask": 6}),
        ("fixed-filterbank", "audio.pt", {"filter bank": 1}),
        ("sinusoid-pe-twice", "pe.pt", {"sinusoid": 2}),
    ],
)
def test_cases(shared: Callable[..., Path], case: str, file: str, constants: dict[str, int]) -> None:
    report = scanned(shared("cases", case, file))
    for name, count in constants.items():
        assert [row.verdict for row in report.layers].count(f"constant ({name})") == count
    assert report.verdict == "structured"
    assert {finding.severity for row in report.layers for finding in row.findings} <= {"info"}
