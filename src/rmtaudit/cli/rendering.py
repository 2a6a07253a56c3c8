"""The results of a run in a format, and its plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmtaudit.cli.errors import FINE, code_of, print_error
from rmtaudit.errors import RmtauditError
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from rmtaudit.report.model import FailedSubject, Report
    from rmtaudit.report.plots import PlotFolder


def rendered(
    results: list[Report | FailedSubject], format_: str, top: int | None, detail: str | None = None
) -> str:
    """Return the subjects in a format; JSON in full, or as a summary."""
    from rmtaudit.report.detail import summarised
    from rmtaudit.report.model import Report
    from rmtaudit.report.writers import writer_for

    if format_ == "table":
        from rmtaudit.cli.table import table_text

        return table_text([result for result in results if isinstance(result, Report)], top=top)
    if detail == "summary":
        results = [summarised(result) if isinstance(result, Report) else result for result in results]
    if format_ == "markdown":
        from rmtaudit.report.writers.markdown import write

        return write(results, top=top)
    return writer_for(format_)(results)


def plot_folders(target: Path | None, paths: tuple[Path, ...], form: str) -> dict[Path, PlotFolder]:
    """Return the folder of each subject: the target itself if there is but one."""
    if target is None:
        return {}
    from rmtaudit.report.plots import PlotFolder
    from rmtaudit.report.plots.folder import PlotFormat, slug

    several = len(set(paths)) > 1
    return {
        path: PlotFolder(target / slug(str(path)) if several else target, str(path), PlotFormat(form))
        for path in set(paths)
    }


def finish_plots(plots: PlotFolder, report: Report) -> int:
    """Draw what compares the layers, say what could not be drawn, and return the exit code."""
    try:
        plots.finish(report)
    except RmtauditError as error:
        print_error(error)
        return code_of(error)
    for name, reason in plots.left_out.items():
        click.echo(f"rmtaudit: not drawn: {display_name(name)}: {reason}", err=True)
    return FINE
