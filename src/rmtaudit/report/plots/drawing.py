"""A figure in Python: a notebook shows it, and it can be saved."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.errors import OutputError, UsageError

if TYPE_CHECKING:
    from rmtaudit.report.model import Report
    from rmtaudit.report.plots.chart import Chart


@dataclass(frozen=True, slots=True, repr=False)
class Drawing:
    """A figure of a report; a notebook shows it as SVG."""

    chart: Chart

    @property
    def svg(self) -> str:
        """The figure as an ``<svg>`` element, on white ground."""
        from rmtaudit.report.plots.svg import chart_svg

        return chart_svg(self.chart, "rmt-report-")

    def save(self, path: str | Path) -> None:
        """Write the figure as ``.svg`` or ``.png``, as the ending says.

        Raises
        ------
        UsageError
            RA-US-303: PNG needs matplotlib, which is not installed. RA-US-306: another ending.
        OutputError
            RA-OU-004: the file cannot be written.
        """
        target = Path(path)
        ending = target.suffix.lower()
        if ending not in (".svg", ".png"):
            raise UsageError(
                "RA-US-306",
                f"A figure can be written as .svg or .png, not as {target.suffix!r}.",
                where=str(path),
            )
        if ending == ".svg":
            data = self.svg.encode()
        elif importlib.util.find_spec("matplotlib") is None:
            raise UsageError(
                "RA-US-303",
                "Plots as PNG need matplotlib, which is not installed.",
                hint="pip install 'rmtaudit[plots]', or save as .svg",
            )
        else:
            from rmtaudit.report.plots.raster import chart_png

            data = chart_png(self.chart)
        try:
            target.write_bytes(data)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise OutputError(
                "RA-OU-004", f"The file cannot be written: {reason}.", where=str(path)
            ) from error

    def __repr__(self) -> str:
        return f"Drawing({self.chart.title!r}): .save('plot.svg') writes it"

    def _repr_svg_(self) -> str:
        return self.svg


def report_drawing(report: Report) -> Drawing:
    """Return the figure of a report along its depth.

    Raises ``UsageError`` (RA-US-305) where it has none of the metrics that are drawn.
    """
    from rmtaudit.report.plots.depth import depth_chart

    chart = depth_chart(report)
    if chart is None:
        raise UsageError(
            "RA-US-305",
            "The report has nothing to draw: no layer has alpha, kappa_full, kappa_bulk or phase.",
            hint="Scan with the analyzer powerlaw, htmp or phase.",
        )
    return Drawing(chart)
