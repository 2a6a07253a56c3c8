"""The results of a run in a format, and its plots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmtaudit.cli.errors import FINE, code_of, print_error
from rmtaudit.errors import RmtauditError
from rmtaudit.names import display_name

_SCHEMA_WITHIN = 200
"""Bytes at the start of a document that name its schema."""

if TYPE_CHECKING:
    from rmtaudit.kernels.spectra.spectrum import Spectrum
    from rmtaudit.report.model import FailedSubject, LayerResult, Report
    from rmtaudit.report.plots import PlotFolder
    from rmtaudit.report.plots.esd import EsdCollector


def rendered(
    results: list[Report | FailedSubject],
    format_: str,
    top: int | None,
    detail: str | None = None,
    spectra: Mapping[int, EsdCollector] | None = None,
) -> str:
    """Return the subjects in a format; JSON in full, or as a summary.

    ``spectra`` are those that a page shows, by the place of the subject, for reports that were just made.
    """
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
    if format_ == "html":
        from rmtaudit.report.page.scan import scan_page

        drawn = spectra or {}
        return scan_page(results, top=top, esd=[drawn.get(place) for place in range(len(results))])
    return writer_for(format_)(results)


def zoo_html(file: Path) -> str | None:
    """Return the page of a file that ``rmtaudit zoo`` wrote; ``None`` for another file.

    Raises ``CorruptError`` (RA-ZO-005) where it is of that kind and not valid.
    """
    from rmtaudit.report.zoo import SCHEMA_NAME, load_zoo

    try:
        with file.open("rb") as stream:
            start = stream.read(_SCHEMA_WITHIN)
            if SCHEMA_NAME.encode() not in start:
                return None
            text = start + stream.read()
    except OSError:
        return None  # whoever reads it as a report says what is wrong
    from rmtaudit.report.page.zoo import zoo_page

    return zoo_page(load_zoo(text))


def collector_for(format_: str) -> EsdCollector | None:
    """Return what keeps the spectra of a subject for its page; ``None`` for a format without any."""
    if format_ != "html":
        return None
    from rmtaudit.report.plots.esd import EsdCollector

    return EsdCollector()


def inspector(*receivers: PlotFolder | EsdCollector | None) -> Callable[[LayerResult, Spectrum], None] | None:
    """Return what a scan gives each layer and its spectrum to; ``None`` where nobody draws them."""
    from rmtaudit.report.plots import PlotFolder

    takers = [
        each.draw_layer if isinstance(each, PlotFolder) else each.add
        for each in receivers
        if each is not None
    ]

    def inspect(row: LayerResult, spectrum: Spectrum) -> None:
        for take in takers:
            take(row, spectrum)

    return inspect if takers else None


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
