"""Saved reports."""

from __future__ import annotations

from pathlib import Path

from rmtaudit.errors import InputError, RmtauditError
from rmtaudit.report.model import Result
from rmtaudit.report.parsing import loads


def load_reports(path: str | Path) -> tuple[Result, ...]:
    """Return the reports of a file that ``rmtaudit scan --format json`` wrote.

    Returns
    -------
    tuple of Report or FailedSubject
        One for each subject of the run, in its order: a subject that could not be read has no report.

    Raises
    ------
    InputError
        RA-RP-001 to RA-RP-005: the file cannot be read, or is not such a report.
    """
    try:
        return loads(_read(Path(path)))
    except RmtauditError as error:
        error.where = error.where or str(path)
        raise


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError("RA-RP-005", f"Cannot be read: {reason}.") from error
