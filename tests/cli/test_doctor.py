"""``rmtaudit doctor`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_fits(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(cli, ["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= width for line in out.splitlines())
    assert "largest relative error" in out
    assert out.rstrip().splitlines()[-1].startswith("0 problems;")


def test_the_document_and_the_exit_code_of_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rmtaudit.yaml").write_text("presett: fast\n  x: 1\n")
    assert run(cli, ["doctor", "--format", "json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == {"name": "rmtaudit.doctor", "version": "1.0"}
    assert document["problems"] == 1
    (problem,) = [check for check in document["checks"] if check["state"] == "problem"]
    assert problem["name"] == "project configuration"
