"""``rmtaudit explain``: what a finding, a metric, an error or a term means, and what to do about it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click

from rmtaudit.cli import completion
from rmtaudit.cli.help import Command
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from rmtaudit.analyzers.base import Metric
    from rmtaudit.finding_kind import FindingKind
    from rmtaudit.report.error_codes import ErrorCode

_WIDTH = 96
_LONGEST = 4000


@click.command(
    cls=Command,
    examples=[
        ("explain RA-FO-001", "Explain a finding of a report"),
        ("explain alpha", "A metric, which is also a column of the table"),
        ("explain RA-IN-021", "An error"),
        ('explain "noise floor"', "A term of the glossary"),
        ("explain", "All findings"),
    ],
)
@click.argument("subject", required=False, shell_complete=completion.subject)
def explain(subject: str | None) -> None:
    """Explain a finding, a metric or another column of the table, an error code, or a term of the glossary.

    SUBJECT is a code such as RA-FO-001 or RA-IN-021, the name of a metric such as stable_rank, or a term such
    as spike. Without one, all findings are listed.
    """
    if subject is None:
        for kind in kinds_with_plugins().values():
            click.echo(f"{display_name(kind.code)}  {display_name(kind.title)}")
        return
    for line in _explanation(subject.strip()):
        click.echo(line)


def _explanation(subject: str) -> Iterator[str]:
    """Yield the lines about a subject. Plugins are imported only for what is none of our own codes."""
    from rmtaudit.report.catalogue import FINDINGS
    from rmtaudit.report.columns import PROPERTIES
    from rmtaudit.report.error_codes import error_codes
    from rmtaudit.report.glossary import find_term

    code = subject.upper()
    if code in FINDINGS:
        yield from _finding(FINDINGS[code])
        return
    errors = error_codes()
    if code in errors:
        yield from _error(errors[code])
        return
    kinds = kinds_with_plugins()
    if code in kinds:
        yield from _finding(kinds[code])
        return
    metrics = _metrics()
    term = find_term(subject)
    if term is not None:
        yield _filled(f"{term.name}: {term.meaning}")
        if subject not in metrics:
            return
        yield ""
    if subject in PROPERTIES and subject not in metrics:
        yield f"{subject}: a property of a layer, for --sort and --columns"
        yield ""
        yield _filled(f"Meaning: {PROPERTIES[subject]}")
        return
    if subject not in metrics:
        raise _unknown(subject, kinds=kinds, errors=errors, metrics=metrics)
    for number, (analyzer, metric) in enumerate(metrics[subject]):
        if number:
            yield ""
        yield from _metric(analyzer, metric)


def _finding(kind: FindingKind) -> Iterator[str]:
    yield f"{display_name(kind.code)}: {display_name(kind.title)}"
    yield ""
    for heading, text in kind.sections():
        yield _filled(f"{heading}: {display_name(text, longest=_LONGEST)}")


def _error(error: ErrorCode) -> Iterator[str]:
    yield f"{error.code}: an error, or the reason why something was skipped"
    yield ""
    yield _filled(f"Meaning: {error.meaning}")
    if error.remedy:
        yield _filled(f"What to do: {error.remedy}")


def _metric(analyzer: str, metric: Metric) -> Iterator[str]:
    unit = f", in {display_name(metric.unit)}" if metric.unit else ""
    yield f"{display_name(metric.name)}: a metric of the analyzer {display_name(analyzer)}{unit}"
    yield ""
    yield _filled(f"Meaning: {display_name(metric.description, longest=_LONGEST)}")
    if metric.better is not None:
        yield _filled(f"Direction: in practice, a {metric.better} value goes with better training.")
    yield _filled(f"Source: {display_name(metric.reference, longest=_LONGEST)}")


def _filled(line: str) -> str:
    return textwrap.fill(line, _WIDTH, subsequent_indent="  ")


def _metrics() -> dict[str, list[tuple[str, Metric]]]:
    """Return the metrics by their names, each with the analyzers that yield it."""
    from rmtaudit.analyzers.registry import installed

    result: dict[str, list[tuple[str, Metric]]] = {}
    for row in installed():
        for metric in row.analyzer.metrics if row.analyzer is not None else ():
            result.setdefault(metric.name, []).append((row.name, metric))
    return result


def _unknown(
    subject: str,
    *,
    kinds: Mapping[str, FindingKind],
    errors: Mapping[str, ErrorCode],
    metrics: Mapping[str, list[tuple[str, Metric]]],
) -> Exception:
    import difflib

    from rmtaudit.errors import UsageError
    from rmtaudit.report.glossary import terms

    near = difflib.get_close_matches(subject.upper(), [*kinds, *errors], n=3, cutoff=0.7)
    near += difflib.get_close_matches(subject, [*metrics, *terms()], n=3, cutoff=0.6)
    return UsageError(
        "RA-US-110",
        f"There is no finding, metric, error or term {display_name(subject)!r}.",
        hint=f"Did you mean {' or '.join(near)}?"
        if near
        else ("Run rmtaudit explain to list all findings, and rmtaudit analyzers to list all metrics."),
    )


def kinds_with_plugins() -> Mapping[str, FindingKind]:
    """Return the catalogue with the kinds of installed plugins; those that cannot be loaded are named."""
    from rmtaudit.analyzers.registry import plugin_findings
    from rmtaudit.report.catalogue import catalogue

    problems: list[str] = []
    kinds = catalogue(plugin_findings(problems))
    for problem in problems:
        click.echo(f"rmtaudit: {display_name(problem, longest=_LONGEST)}", err=True)
    return kinds
