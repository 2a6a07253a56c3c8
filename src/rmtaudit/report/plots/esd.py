"""The spectra of many layers for one page: two small charts a layer, of bounded size."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmtaudit.report.ordering import natural_key
from rmtaudit.report.plots.chart import Chart

if TYPE_CHECKING:
    from rmtaudit.kernels.spectra.spectrum import Spectrum
    from rmtaudit.report.model import LayerResult

MOST_KEPT = 1000
"""Layers whose charts are kept: at about 10 kB each, some 10 MB of memory."""

_POINTS = 48
"""Of a curve: a chart is at most 400 pixels wide."""

_WIDTH, _HEIGHT = 260.0, 132.0


@dataclass(frozen=True, slots=True)
class EsdCharts:
    """The empirical spectral density of a layer with the laws that were fitted to it."""

    linear: Chart
    logarithmic: Chart


class EsdCollector:
    """Draws the layers of a scan as they are finished, so that no spectrum is kept.

    ``add`` is what :func:`~rmtaudit.engine.scan.run.scan_checkpoint` takes as ``inspect``. Of more than
    ``most`` layers, those whose names come first are kept, whichever was finished first.
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._order: list[tuple[tuple[tuple[int, str], ...], str]] = []
        self._charts: dict[str, EsdCharts] = {}
        self._left_out: dict[str, str] = {}

    @property
    def charts(self) -> Mapping[str, EsdCharts]:
        """The charts by the name of the layer."""
        return dict(self._charts)

    @property
    def left_out(self) -> Mapping[str, str]:
        """Layers whose spectrum was computed and is not drawn, and why."""
        return dict(self._left_out)

    def add(self, row: LayerResult, spectrum: Spectrum) -> None:
        """Draw one layer, from any thread."""
        place = (natural_key(row.name), row.name)
        if len(self._order) >= self._most and place > self._order[-1]:
            self._leave_out(row.name)
            return
        try:
            charts = esd_charts(row, spectrum)
        except ValueError as error:
            with self._lock:
                self._left_out[row.name] = str(error)
            return
        with self._lock:
            self._charts[row.name] = charts
            bisect.insort(self._order, place)
            dropped = self._order.pop()[1] if len(self._order) > self._most else None
            if dropped is not None:
                del self._charts[dropped]
        if dropped is not None:
            self._leave_out(dropped)

    def _leave_out(self, name: str) -> None:
        with self._lock:
            self._left_out[name] = f"more than {self._most} layers have a spectrum"


def esd_charts(row: LayerResult, spectrum: Spectrum) -> EsdCharts:
    """Return the charts of a layer; raises ``ValueError`` where its spectrum makes no picture."""
    from rmtaudit.report.plots.layer import density_panels

    linear, logarithmic = (
        Chart(title="", rows=((panel,),), width=_WIDTH, row_height=_HEIGHT, bottom=30)
        for panel in density_panels(row, spectrum, points=_POINTS)
    )
    return EsdCharts(linear, logarithmic)
