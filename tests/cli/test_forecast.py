"""``rmtaudit forecast``: what is printed, what is written, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.kernels.htmp.ensemble import Ensemble


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "values.npy"
    np.save(path, 7 * Ensemble(3.0, 200, 400).draw(torch.Generator().manual_seed(0)))
    return path


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert run(cli, ["forecast", *arguments, "--format", "json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("width", [80, 120, 160])
@pytest.mark.parametrize("shape", [[], ["--shape", "200", "400"]])
def test_the_table_fits_its_width(
    file: Path,
    width: int,
    shape: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(cli, ["forecast", str(file), *shape]) == 0
    shown = capsys.readouterr()
    assert not shown.err
    assert max(map(len, shown.out.splitlines())) <= width
    assert "…" not in shown.out
    text = " ".join(shown.out.split())
    assert "200 eigenvalues" in text
    assert ("min(2, delta)" in text) == bool(shape)
    assert ("give --shape" in text) == (not shape)


def test_the_document(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, str(file), "--shape", "400", "200")
    law, empirical = found["htmp"], found["empirical"]
    assert isinstance(law, dict)
    assert isinstance(empirical, list)
    assert law["gamma"] == 0.5
    assert law["kappa"]["value"] == pytest.approx(3.0, abs=4 * law["kappa"]["se"])
    assert law["verdict"] == "not rejected"
    assert law["limit_exponent"] == min(2.0, law["delta"])
    assert law["paper_exponent"] == 2 + law["delta"]
    for row, fitted in zip(empirical, law["curve"], strict=True):
        assert row["mu"] == fitted["mu"]
        low, high = row["bias"]["ci"]
        assert low <= row["bias"]["value"] <= high
        assert fitted["bias"] == pytest.approx(row["bias"]["value"], rel=0.3)
    assert document(capsys, str(file), "--shape", "400", "200") == found
    without = document(capsys, str(file), "--bootstrap", "0")
    assert isinstance(without["empirical"], list)
    assert without["empirical"][0]["bias"]["ci"] is None


def test_a_law_that_is_rejected_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "two.csv"
    values = [1 + 0.001 * i for i in range(100)] + [1000 + i for i in range(100)]
    path.write_text("\n".join(map(str, values)))
    law = document(capsys, str(path), "--shape", "200", "300")["htmp"]
    assert isinstance(law, dict)
    assert law["verdict"] == "rejected"
    assert run(cli, ["forecast", str(path), "--shape", "200", "300"]) == 0
    assert "The spectrum rejects HTMP" in " ".join(capsys.readouterr().out.split())


def test_zeros_count_and_leave_no_law(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "zeros.csv"
    path.write_text("0\n0\n1\n2\n3\n")
    found = document(capsys, str(path), "--shape", "5", "9")
    assert isinstance(found["subject"], dict)
    assert isinstance(found["htmp"], dict)
    assert isinstance(found["empirical"], list)
    assert found["subject"]["zeros"] == 2
    assert found["htmp"]["status"] == "failed"
    assert found["empirical"][0]["bias"]["value"] > 0.4


@pytest.mark.parametrize(
    ("content", "arguments", "exit_code", "code"),
    [
        ("0\n0\n", [], 3, "RA-NA-003"),
        ("1\n-2\n", [], 2, "RA-SA-009"),
        ("1\n2\n", ["--shape", "3", "4"], 2, "RA-US-402"),
        ("1\n2\n", ["--bootstrap", "1"], 2, "RA-US-001"),
        ("1\n2\n", ["-o", "x.csv"], 2, "RA-US-002"),
    ],
)
def test_what_is_refused(
    content: str,
    arguments: list[str],
    exit_code: int,
    code: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "values.csv"
    path.write_text(content)
    assert run(cli, ["forecast", str(path), *arguments]) == exit_code
    assert code in capsys.readouterr().err
