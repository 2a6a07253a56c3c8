"""``rmtaudit tails``: what is printed, what is written, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "values.npy"
    np.save(path, 1 / np.random.default_rng(0).gamma(1.5, 1.0, 600))
    return path


@pytest.mark.parametrize("width", [80, 120, 160])
@pytest.mark.parametrize("bootstrap", ["0", "100"])
def test_the_table_fits_its_width(
    file: Path,
    width: int,
    bootstrap: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(cli, ["tails", str(file), "--bootstrap", bootstrap, "--quiet"]) == 0
    shown = capsys.readouterr()
    assert not shown.err
    assert max(map(len, shown.out.splitlines())) <= width
    text = " ".join(shown.out.split())
    for wanted in (
        "alpha",
        "xmin",
        "in the tail",
        "stretched exponential",
        "inverse gamma",
        "independent draws",
    ):
        assert wanted in text
    assert ("goodness of fit" in text) == (bootstrap != "0")


def test_json_and_the_same_in_a_file(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, ["tails", str(file), "--format", "json"]) == 0
    out = capsys.readouterr().out
    target = tmp_path / "tails.json"
    assert run(cli, ["tails", str(file), "-o", str(target), "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert target.read_text() == out
    assert json.loads(out)["schema"]["name"] == "rmtaudit.tails"
    assert run(cli, ["tails", str(file), "-o", str(tmp_path / "tails.txt")]) == 0
    assert (tmp_path / "tails.txt").read_text() == capsys.readouterr().out


def test_a_text_file_and_one_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "norms.csv"
    path.write_text("norm\n" + "\n".join(map(str, 1 + np.random.default_rng(0).pareto(2, 100))))
    assert run(cli, ["tails", str(path), "--side", "upper"]) == 0
    out = capsys.readouterr().out
    assert "upper tail" in out
    assert "lower tail" not in out


@pytest.mark.parametrize(
    ("content", "arguments", "exit_code", "code"),
    [
        ("1\n2\n3\n", [], 3, "RA-NA-002"),
        ("1\nx\n", [], 2, "RA-SA-010"),
        ("", [], 2, "RA-SA-007"),
        ("1\n2\n", ["--bootstrap", "50"], 2, "RA-US-401"),
        ("1\n2\n", ["--fraction", "0"], 2, "RA-US-001"),
        ("1\n2\n", ["-o", "tails.dat"], 2, "RA-US-002"),
    ],
)
def test_errors_have_a_code(
    content: str,
    arguments: list[str],
    exit_code: int,
    code: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "x.csv"
    path.write_text(content)
    assert run(cli, ["tails", str(path), *arguments]) == exit_code
    shown = capsys.readouterr()
    assert f"[{code}]" in shown.err
    assert not shown.out


def test_an_input_is_never_overwritten(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = file.read_bytes()
    assert run(cli, ["tails", str(file), "-o", str(file), "--format", "json"]) == 2
    assert "RA-OU-002" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_rounding_and_zeros_are_pointed_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.concatenate((np.random.default_rng(0).pareto(2, 100), [1e-30, 0.0, -1e-20])))
    assert run(cli, ["tails", str(path)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "2 zero or negative, excluded" in text
    assert "1 are below the rounding error" in text
