"""``--fail-on``: the flag, the line that names what failed, and the exit codes of a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rmtaudit.cli import completion
from rmtaudit.cli.errors import (
    COULD_NOT_JUDGE,
    FINE,
    GATE_FAILED,
    INCONCLUSIVE,
    INTERRUPTED,
    placed,
    print_error,
)
from rmtaudit.errors import InputError, NothingAuditableError
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from rmtaudit.report.failing import FailOn
    from rmtaudit.report.model import LayerResult, Report

Command = TypeVar("Command", bound=Callable[..., Any])

_NAMED = 3
_MOST_CODES = 12


def fail_on_option(command: Command) -> Command:
    """Add ``--fail-on`` to a command."""
    return click.option(
        "--fail-on",
        metavar="WHAT",
        multiple=True,
        shell_complete=completion.conditions,
        help="Exit with 1 on findings of this severity or above (error, warning), or with these codes "
        "(RA-FO-001,RA-SC-001); never is the default. Repeatable.",
    )(command)


def condition_of(texts: Sequence[str]) -> FailOn:
    """Return the condition of the flags; raises ``UsageError`` (RA-US-110, RA-US-112).

    Plugins are imported only for a code that is none of our own.
    """
    from rmtaudit.errors import UsageError
    from rmtaudit.report.failing import NEVER, parse_fail_on

    text = ",".join(texts) if texts else NEVER
    try:
        return parse_fail_on(text)
    except UsageError as error:
        if error.code != "RA-US-110":
            raise
    from rmtaudit.cli.explain import kinds_with_plugins

    return parse_fail_on(text, kinds_with_plugins())


def code_of_findings(report: Report, condition: FailOn) -> int:
    """Return 1 if the report has findings on which it fails, and say on stderr which; 3 if it cannot be said.

    It cannot be said where none was found and some layers were not judged.
    """
    if not condition:
        return FINE
    from rmtaudit.report.failing import failing_findings, not_judged

    layers_of: dict[str, list[str]] = {}
    count = 0
    for layer, finding in failing_findings(report, condition):
        layers_of.setdefault(finding.code, []).append(layer.name)
        count += 1
    subject = display_name(report.subject["path"])
    if layers_of:
        parts = [f"{display_name(code)} in {_names(names)}" for code, names in layers_of.items()]
        more = [f"{len(parts) - _MOST_CODES} more codes"] if len(parts) > _MOST_CODES else []
        click.echo(
            f"rmtaudit: failed: {subject}: {count} finding{'s' * (count != 1)} of --fail-on {condition}: "
            f"{'; '.join([*parts[:_MOST_CODES], *more])}",
            err=True,
        )
        return GATE_FAILED
    silent = not_judged(report)
    if silent:
        click.echo(
            f"rmtaudit: inconclusive: {subject}: no finding of --fail-on {condition}, but "
            f"{_layers_with_reasons(silent)}",
            err=True,
        )
        return INCONCLUSIVE
    return FINE


def _names(names: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(names))
    shown = ", ".join(display_name(name) for name in distinct[:_NAMED])
    more = f" and {len(distinct) - _NAMED} more" if len(distinct) > _NAMED else ""
    return f"{len(distinct)} layers ({shown}{more})" if len(distinct) > 1 else shown


def _layers_with_reasons(layers: Sequence[LayerResult]) -> str:
    count = len(layers)
    first = layers[0]
    what = f"{count} layers were not judged, as" if count > 1 else "one layer was not judged:"
    return f"{what} {display_name(first.name)} ({display_name(first.reason, longest=200)})"


def code_of_report(report: Report, path: Path) -> int:
    """Return the exit code that a report comes to, and say why where that is not 0."""
    if report.error is not None:
        stop = report.error
        print_error(InputError(stop.code, stop.message, hint=stop.hint, where=stop.where))
        return COULD_NOT_JUDGE
    if not report.complete:
        done = sum(layer.status == "ok" for layer in report.layers)
        click.echo(f"rmtaudit: interrupted: {done} layers were finished and are in the report", err=True)
        return INTERRUPTED
    if not any(layer.status == "ok" for layer in report.layers):
        error = NothingAuditableError(
            "RA-NA-001",
            "No weight matrix could be analysed.",
            hint="The report lists every tensor with the reason.",
        )
        print_error(placed(error, path))
        return INCONCLUSIVE
    return FINE
