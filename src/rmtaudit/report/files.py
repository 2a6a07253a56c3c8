"""Saved reports."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from rmtaudit.errors import InputError, OutputError, RmtauditError, UsageError
from rmtaudit.report.formats import SUFFIXES
from rmtaudit.report.model import FailedSubject, Report, Result
from rmtaudit.report.parsing import loads
from rmtaudit.report.writers import writer_for


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


def load_report(path: str | Path) -> Report:
    """Return the one report of a file.

    Raises
    ------
    InputError
        As :func:`load_reports`; and RA-RP-006 where the file has several subjects, or one that could not be
        scanned.
    """
    results = load_reports(path)
    if len(results) != 1:
        raise InputError(
            "RA-RP-006",
            f"The file holds {len(results)} reports, not one.",
            hint="Use rmtaudit.load_reports to read all of them.",
            where=str(path),
        )
    (result,) = results
    if isinstance(result, FailedSubject):
        raise InputError(
            "RA-RP-006",
            f"The subject could not be scanned: {result.error.message} [{result.error.code}]",
            where=str(path),
        )
    return result


def save_report(report: Report, path: str | Path) -> None:
    """Write a report in the format of the ending: ``.json``, ``.jsonl``, ``.csv``, ``.md`` or ``.html``.

    A reader sees the old file or the whole new one.

    Raises
    ------
    UsageError
        RA-US-002: the ending is none of these.
    OutputError
        RA-OU-003: the file cannot be written.
    """
    target = Path(path)
    name = SUFFIXES.get(target.suffix.lower())
    if name is None:
        raise UsageError(
            "RA-US-002",
            f"The file ending {target.suffix!r} does not indicate a format.",
            hint=f"Endings: {', '.join(SUFFIXES)}.",
            where=str(path),
        )
    text = writer_for(name)([report])
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            temporary.write_bytes(text.encode())
            temporary.replace(target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError("RA-OU-003", f"The file cannot be written: {reason}.", where=str(path)) from error


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError("RA-RP-005", f"The file cannot be read: {reason}.") from error
