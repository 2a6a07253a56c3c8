"""A folder of plots: a layer is drawn when it is finished, so no spectrum is kept.

What draws is imported when the first figure is drawn: it needs torch and, for PNG, matplotlib from an extra.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import threading
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.errors import OutputError, UsageError

if TYPE_CHECKING:
    from rmtaudit.kernels.spectra.spectrum import Spectrum
    from rmtaudit.report.model import LayerResult, Report
    from rmtaudit.report.plots.chart import Chart

DEPTH = "along-the-depth"
_LONGEST = 80


class PlotFormat(Enum):
    """What each figure is written as."""

    SVG = "svg"
    PNG = "png"
    BOTH = "both"


class PlotFolder:
    """Writes the figures of one subject: one a layer, ``along-the-depth``, and an ``index.html`` of all.

    Parameters
    ----------
    path
        Where to; made if it is not there. Files of the same name are replaced.
    subject
        What the layers are of: the title of the index. It also keeps the ids of two models apart that call
        their layers the same.
    form
        SVG needs no other package, PNG needs matplotlib.

    Raises
    ------
    UsageError
        RA-US-303 if matplotlib is needed and not installed.
    OutputError
        RA-OU-004 if the folder cannot be made.
    """

    def __init__(self, path: Path, subject: str = "", form: PlotFormat = PlotFormat.SVG) -> None:
        if form is not PlotFormat.SVG and importlib.util.find_spec("matplotlib") is None:
            raise UsageError(
                "RA-US-303",
                "Plots as PNG need matplotlib, which is not installed.",
                hint="pip install 'rmtaudit[plots]', or --plot-format svg",
            )
        self._path = path
        self._subject = subject
        self._form = form
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _refusal(path, error) from error
        self._lock = threading.Lock()
        self._problem: OutputError | None = None
        self._drawn: dict[str, str] = {}
        self._left_out: dict[str, str] = {}

    @property
    def left_out(self) -> Mapping[str, str]:
        """Layers that could not be drawn, and why."""
        return dict(self._left_out)

    def draw_layer(self, row: LayerResult, spectrum: Spectrum) -> None:
        """Draw one layer, from any thread. Nothing is raised: :meth:`finish` does, for the first failure."""
        from rmtaudit.report.plots.layer import layer_chart

        if self._problem is not None:
            return
        try:
            chart = layer_chart(row, spectrum)
        except ValueError as error:
            with self._lock:
                self._left_out[row.name] = str(error)
            return
        self._draw(slug(row.name), chart)
        with self._lock:
            self._drawn[row.name] = chart.title

    def finish(self, report: Report) -> None:
        """Draw the layers side by side, and write the index.

        Raises
        ------
        OutputError
            RA-OU-004 if a file could not be written, now or before.
        """
        from rmtaudit.report.plots.depth import depth_chart
        from rmtaudit.report.plots.index import Entry, index_page

        chart = depth_chart(report)
        ending = "png" if self._form is PlotFormat.PNG else "svg"
        entries = [
            Entry(title=self._drawn[row.name], file=f"{slug(row.name)}.{ending}")
            for row in report.layers
            if row.name in self._drawn
        ]
        if chart is not None:
            self._draw(DEPTH, chart)
            entries.insert(0, Entry(title=chart.title, file=f"{DEPTH}.{ending}"))
        if entries:
            page = index_page(self._subject, entries, self._left_out)
            self._write("index.html", page.encode())
        if self._problem is not None:
            raise self._problem

    def _draw(self, name: str, chart: Chart) -> None:
        if self._form is not PlotFormat.PNG:
            from rmtaudit.report.plots.svg import chart_svg

            own = f"{self._subject}\0{name}".encode(errors="surrogatepass")
            prefix = f"rmt-{hashlib.sha256(own).hexdigest()[:8]}-"
            self._write(f"{name}.svg", chart_svg(chart, prefix).encode())
        if self._form is not PlotFormat.SVG:
            from rmtaudit.report.plots.raster import chart_png

            self._write(f"{name}.png", chart_png(chart))

    def _write(self, name: str, data: bytes) -> None:
        if self._problem is not None:
            return
        try:
            (self._path / name).write_bytes(data)
        except OSError as error:
            with self._lock:
                self._problem = self._problem or _refusal(self._path / name, error)


def slug(name: str) -> str:
    """Return a file name for a layer: hostile text in, one safe component out, different for other names.

    Letters, digits, ``.``, ``_`` and ``-`` stay, but no leading dot; eight hexadecimal digits of the SHA-256
    of the whole name distinguish what that makes equal, on file systems that ignore case too.
    """
    kept = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:_LONGEST].lstrip(".") or "layer"
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{kept}-{digest}"


def _refusal(path: Path, error: OSError) -> OutputError:
    reason = error.strerror or type(error).__name__
    return OutputError("RA-OU-004", f"Plots cannot be written: {reason}.", where=str(path))
