"""``rmtaudit report``: render reports that were written before, without the weights."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

import click

from rmtaudit.cli.errors import COULD_NOT_JUDGE, FINE, print_error, worst
from rmtaudit.cli.failing import code_of_findings, condition_of, fail_on_option
from rmtaudit.cli.github_actions import annotate_findings
from rmtaudit.cli.help import Command
from rmtaudit.cli.output import (
    ALL_FORMATS,
    format_for,
    json_detail_option,
    output_file,
    output_options,
    require_json,
    rows_options,
)
from rmtaudit.errors import InputError


@click.command(
    cls=Command,
    examples=[
        ("report report.json --all", "Show every layer of a saved report"),
        ("report report.json -o report.md", "Write it as Markdown"),
    ],
)
@click.argument("file", metavar="FILE.json", type=click.Path(path_type=Path))
@output_options(ALL_FORMATS, "Write to a file instead of stdout, in the format of its ending.")
@json_detail_option
@rows_options
@fail_on_option
def report(
    file: Path,
    format_: str | None,
    output: Path | None,
    json_detail: str | None,
    top: int | None,
    fail_on: tuple[str, ...],
) -> int:
    """Render a report that `rmtaudit scan --format json` wrote.

    Nothing but FILE.json is read: neither the weights nor the analyzers are needed. The zoo.json that
    `rmtaudit zoo` wrote becomes a page with --format html.
    """
    from rmtaudit.cli.rendering import rendered, zoo_html
    from rmtaudit.report.failing import require_analyzers
    from rmtaudit.report.files import load_reports
    from rmtaudit.report.model import FailedSubject, Report

    format_ = format_for(format_, output)
    require_json(json_detail, format_)
    condition = condition_of(fail_on)
    if format_ == "html" and (page := zoo_html(file)) is not None:
        with output_file(output, [file]) if output else nullcontext() as place:
            sys.stdout.write(page) if place is None else place.write(page)
        return FINE
    results = load_reports(file)
    for result in results:
        if isinstance(result, Report):
            require_analyzers(condition, result.tool["analyzers"])
    for result in results:
        if isinstance(result, FailedSubject):
            error = result.error
            print_error(InputError(error.code, error.message, hint=error.hint, where=result.subject.path))
    if output is not None:
        with output_file(output, [file]) as target:
            target.write(rendered(list(results), format_, top, json_detail))
    elif format_ == "table":
        from rmtaudit.cli.table import print_report

        for result in results:
            if isinstance(result, Report):
                print_report(result, top=top)
    else:
        sys.stdout.write(rendered(list(results), format_, top, json_detail))
    annotate_findings(results, condition)
    return worst(
        code_of_findings(result, condition) if isinstance(result, Report) else COULD_NOT_JUDGE
        for result in results
    )
