from __future__ import annotations

import subprocess
import sys

import pytest

from rmtaudit.cli import cli
from rmtaudit.cli.errors import COULD_NOT_JUDGE, FINE, run
from rmtaudit.report.catalogue import FINDINGS


def test_a_finding_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, ["explain", "RA-FO-001"]) == FINE
    shown = capsys.readouterr().out
    assert shown.startswith("RA-FO-001: rank deficit\n")
    for heading, text in FINDINGS["RA-FO-001"].sections():
        assert f"{heading}: " in shown
        assert " ".join(text.split()) in " ".join(shown.split())


def test_without_a_code_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, ["explain"]) == FINE
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(FINDINGS)


def test_an_unknown_code_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, ["explain", "RA-FO-14"]) == COULD_NOT_JUDGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "RA-FO-014" in shown.err


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, rmtaudit.report.catalogue, rmtaudit.cli.explain; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
