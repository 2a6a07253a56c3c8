"""Exit codes, and how errors look."""

from __future__ import annotations

import click
import pytest

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run, worst
from rmtaudit.errors import CorruptError, NothingAuditableError, RmtauditError


def command(error: BaseException) -> click.Command:
    @click.command()
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CorruptError("RA-IN-012", "Broken.", hint="Mend it.", where="a.bin"), 2),
        (RmtauditError("RA-XX-001", "Broken."), 2),
        (NothingAuditableError("RA-NA-001", "Nothing."), 3),
        (click.UsageError("Bad call."), 2),
        (click.FileError("x", "gone"), 2),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (ValueError("surprise"), 2),
        (MemoryError(), 2),
        (RecursionError("deep"), 2),
        (OSError(28, "No space left on device"), 2),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_each_error_has_its_code_and_no_traceback(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command(error), []) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert err.lstrip("\n").startswith("rmtaudit: ")  # Click ends the line in which ^C stands


def test_how_an_error_looks(capsys: pytest.CaptureFixture[str]) -> None:
    run(command(CorruptError("RA-IN-012", "Bro\x1bken\n::error::x", hint="Mend\r it.", where="a\nb.bin")), [])
    assert capsys.readouterr().err == (
        "rmtaudit: error: a\\x0ab.bin: Bro\\x1bken\\x0a\\x3a:error::x [RA-IN-012]\n  hint: Mend\\x0d it.\n"
    )


def test_the_traceback_of_a_surprise_on_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(command(ValueError("surprise")), [])
    err = capsys.readouterr().err
    assert "Internal error: ValueError: surprise" in err
    assert "RMTAUDIT_DEBUG=1" in err
    monkeypatch.setenv("RMTAUDIT_DEBUG", "1")
    run(command(ValueError("surprise")), [])
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["scan", "--help"], 0),
        ([], 2),
        (["scn"], 2),
        (["scan"], 2),
        (["scan", "--no-such-flag", "x"], 2),
        (["scan", "--top", "-1", "x"], 2),
        (["scan", "--conv", "x", "x"], 2),
        (["config", "schema", "x"], 2),
        (["config", "schema", "report"], 0),
    ],
    ids=str,
)
def test_codes_of_the_command_line(args: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, args) == code
    out, err = capsys.readouterr()
    assert bool(out) == (code == 0)
    assert bool(err) == (code != 0)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [([], 0), ([0, 0], 0), ([0, 3], 3), ([3, 1, 0], 1), ([1, 2, 3], 2), ([2, 130], 130)],
    ids=str,
)
def test_of_several_codes_the_worst_counts(codes: list[int], expected: int) -> None:
    assert worst(codes) == expected
