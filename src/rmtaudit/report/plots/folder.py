"""A folder of plots: a layer is drawn when it is finished, so no spectrum is kept.

What draws is imported when the first figure is drawn: it needs torch and, from an extra, matplotlib.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.errors import OutputError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rmtaudit.kernels.spectra.spectrum import Spectrum
    from rmtaudit.report.model import LayerResult, Report

DEPTH = "along-the-depth"
_LONGEST = 80


class PlotFolder:
    """Writes the figures of one subject: ``<layer>.svg`` and ``.png``, and ``along-the-depth``.

    Parameters
    ----------
    path
        Where to; made if it is not there. Files of the same name are replaced.
    subject
        What the layers are of: keeps the ids of two models apart that call their layers the same.

    Raises
    ------
    UsageError
        RA-US-303 if matplotlib is not installed.
    OutputError
        RA-OU-004 if the folder cannot be made.
    """

    def __init__(self, path: Path, subject: str = "") -> None:
        if importlib.util.find_spec("matplotlib") is None:
            raise UsageError(
                "RA-US-303",
                "Plots need matplotlib, which is not installed.",
                hint="pip install 'rmtaudit[plots]'",
            )
        self._path = path
        self._subject = subject
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _refusal(path, error) from error
        self._lock = threading.Lock()
        self._problem: OutputError | None = None
        self._left_out: dict[str, str] = {}

    @property
    def left_out(self) -> Mapping[str, str]:
        """Layers that could not be drawn, and why."""
        return dict(self._left_out)

    def draw_layer(self, row: LayerResult, spectrum: Spectrum) -> None:
        """Draw one layer, from any thread. Nothing is raised: :meth:`finish` does, for the first failure."""
        from rmtaudit.report.plots.canvas import style
        from rmtaudit.report.plots.layer import layer_figure, layer_title

        if self._problem is not None:
            return
        try:
            with style():
                self._write(slug(row.name), layer_figure(row, spectrum), layer_title(row))
        except ValueError as error:
            with self._lock:
                self._left_out[row.name] = str(error)

    def finish(self, report: Report) -> None:
        """Draw the layers side by side.

        Raises
        ------
        OutputError
            RA-OU-004 if a file could not be written, now or before.
        """
        from rmtaudit.report.plots.canvas import style
        from rmtaudit.report.plots.depth import depth_figure

        with style():
            figure = depth_figure(report)
            if figure is not None and self._problem is None:
                self._write(DEPTH, figure, "alpha, kappa and phase along the layers")
        if self._problem is not None:
            raise self._problem

    def _write(self, name: str, figure: Figure, title: str) -> None:
        from rmtaudit.report.plots.canvas import png, settle, svg

        settle(figure)
        own = f"{self._subject}\0{name}".encode(errors="surrogatepass")
        prefix = f"rmt-{hashlib.sha256(own).hexdigest()[:8]}-"
        try:
            (self._path / f"{name}.svg").write_text(
                svg(figure, prefix, title), encoding="utf-8", newline="\n"
            )
            (self._path / f"{name}.png").write_bytes(png(figure))
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
