"""What a step of GitHub Actions gets: annotations of a gate or a scan, a summary and outputs."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmtaudit.errors import OutputError
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from rmtaudit.report.failing import FailOn
    from rmtaudit.report.gate import GateDocument
    from rmtaudit.report.model import FailedSubject, Report


def under_github_actions() -> bool:
    """Whether this process is a step of GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def tell_github(document: GateDocument, report: Path | None, *, annotate: bool = True) -> None:
    """Annotate the run, append the summary of the step, and set its outputs ``verdict`` and ``report``.

    Annotations go to stderr, which the runner reads as it reads stdout, so that stdout stays the result.

    Parameters
    ----------
    document
        The result.
    report
        The JSON file of the result; ``None``: there is none, and the output is empty.
    annotate
        False where stdout has the annotations already.

    Raises
    ------
    OutputError
        RA-OU-003: a file of the runner cannot be written.
    """
    from rmtaudit.report.writers.gate import GateResult
    from rmtaudit.report.writers.gate.github import write
    from rmtaudit.report.writers.gate.markdown import MOST_BYTES, summary

    if annotate:
        click.echo(write(GateResult(document=document)), err=True, nl=False)
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if page:
        _append(page, summary(document, MOST_BYTES - _size(page)))
    outputs = os.environ.get("GITHUB_OUTPUT")
    if outputs:
        _append(outputs, _assignments({"verdict": document.outcome, "report": str(report or "")}))


def annotate_findings(results: Sequence[Report | FailedSubject], condition: FailOn) -> None:
    """Annotate the run with the findings on which scans fail; nothing elsewhere, or without ``--fail-on``."""
    if not condition or not under_github_actions():
        return
    from rmtaudit.report.writers.annotations import annotations_of_findings

    click.echo(annotations_of_findings(results, condition), err=True, nl=False)


def _assignments(values: Mapping[str, str]) -> str:
    """Return values as a file of outputs takes them: between lines that no value can have."""
    mark = f"rmtaudit_{secrets.token_hex(16)}"
    return "".join(f"{name}<<{mark}\n{value}\n{mark}\n" for name, value in values.items())


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _append(path: str, text: str) -> None:
    try:
        with Path(path).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(
            "RA-OU-003", f"The file cannot be written: {reason}.", where=display_name(path)
        ) from error
