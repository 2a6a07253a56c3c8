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


def trained(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    left, right = torch.randn(64, 12, generator=generator), torch.randn(12, 48, generator=generator)
    return 0.1 * left @ right + 0.05 * torch.randn(64, 48, generator=generator)


@pytest.mark.parametrize(
    ("constant", "tensor"),
    [
        ("identity", torch.eye(64, 48)),
        ("index table", torch.arange(64.0 * 48).view(64, 48)),
        ("mask", (trained(9) > 0).float()),
    ],
)
def test_a_constant_where_its_peers_are_trained_is_a_warning(constant: str, tensor: torch.Tensor) -> None:
    state = {f"h.{place}.up.weight": trained(place) for place in range(5)} | {"head.weight": tensor.clone()}
    state["h.2.up.weight"] = tensor
    report = rmtaudit.scan(state, analyzers=["noise"])
    rows = {row.name: row for row in report.layers}
    (finding,) = rows["h.2.up.weight"].findings
    assert (finding.code, finding.severity) == ("RA-MO-003", "warning")
    assert finding.evidence == {"constant": constant, "trained_peers": 4}
    assert rows["h.2.up.weight"].verdict == f"constant ({constant})"
    assert rows["head.weight"].findings == ()  # no peers
    gates = {f"h.{place}.gate": (trained(place) > 0).float() for place in range(5)}
    gates |= {f"h.{place}.gate": trained(place) for place in range(5, 9)}
    report = rmtaudit.scan(gates, analyzers=["noise"])  # more constants than trained layers
    assert [row.findings for row in report.layers if row.verdict == "constant (mask)"] == [()] * 5


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
