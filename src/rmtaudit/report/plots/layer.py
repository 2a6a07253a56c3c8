"""The figure of a layer: its spectrum four times, with the laws that were fitted to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rmtaudit.kernels.htmp.ensemble import Ensemble
from rmtaudit.kernels.htmp.law import HTMP
from rmtaudit.kernels.noise.marchenko_pastur import BulkFit, MarchenkoPastur, fit_bulk
from rmtaudit.names import display_name
from rmtaudit.report.plots.chart import (
    BLUE,
    GREEN,
    GREY,
    SKY,
    VERMILION,
    Axis,
    Chart,
    Corner,
    Dash,
    Line,
    Mark,
    Panel,
    Points,
    Steps,
    Upright,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rmtaudit.kernels.spectra.spectrum import Spectrum
    from rmtaudit.report.model import LayerResult

LEAST = 8
"""Fewer resolved eigenvalues make no picture."""

_BINS, _LOG_BINS = 60, 36
_POINTS = 120  # of a curve or of a cloud of points
_TITLE = 70
_WIDTH, _HEIGHT = 520.0, 132.0
_EIGENVALUE, _PER_UNIT = "eigenvalue of WᵀW (w²)", "density (1/w²)"


@dataclass(frozen=True, slots=True)
class _Bulk:
    """A Marchenko-Pastur bulk in units of the eigenvalues of ``WᵀW``."""

    fit: BulkFit
    law: MarchenkoPastur
    n: int
    share: float

    def pdf(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.share / self.n * self.law.pdf(torch.from_numpy(at / self.n)).numpy()

    def above(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 - self.share * self.law.cdf(torch.from_numpy(at / self.n)).numpy()

    def quantiles(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.n * self.law.ppf(torch.from_numpy(levels)).numpy()


@dataclass(frozen=True, slots=True)
class _Tail:
    """The power law of the row."""

    alpha: float
    se: float | None
    xmin: float
    share: float

    def pdf(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        rate = self.alpha - 1
        return np.asarray(self.share * rate / self.xmin * (at / self.xmin) ** -self.alpha)

    def above(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self.share * (at / self.xmin) ** (1 - self.alpha))


def layer_chart(row: LayerResult, spectrum: Spectrum) -> Chart:
    """Return the chart of a layer: density, linear and on logarithms; share above; quantiles of the bulk.

    Parameters
    ----------
    row
        The row of the report. Its ``alpha``, ``xmin`` and ``tail_size``, if it has them, give the power law,
        its ``kappa_full`` the law HTMP.
    spectrum
        Its eigenvalues.

    Raises
    ------
    ValueError
        If fewer than 8 eigenvalues are resolved, or all are equal: there is nothing to draw.
    """
    values = _drawable(spectrum)
    total = len(spectrum.eigenvalues)
    bulk, tail, htmp = _bulk(spectrum), _tail(row, total), _htmp(row, spectrum)
    return Chart(
        title=layer_title(row),
        rows=(
            (
                _density(values, total, bulk),
                _log_density(values, total, bulk=bulk, tail=tail, htmp=htmp),
            ),
            (
                _share_above(values, total, bulk=bulk, tail=tail, htmp=htmp),
                _quantiles(spectrum, bulk),
            ),
        ),
        width=_WIDTH,
        row_height=_HEIGHT,
    )


def density_panels(row: LayerResult, spectrum: Spectrum, points: int = _POINTS) -> tuple[Panel, Panel]:
    """Return the density of a layer, linear and on logarithms, as :func:`layer_chart` has them.

    The panels hold the counts of bins and ``points`` points of each curve, and nothing of the size of the
    layer. Raises ``ValueError`` as :func:`layer_chart`.
    """
    values = _drawable(spectrum)
    total = len(spectrum.eigenvalues)
    bulk, tail, htmp = _bulk(spectrum), _tail(row, total), _htmp(row, spectrum)
    return (
        _density(values, total, bulk, points),
        _log_density(values, total, bulk=bulk, tail=tail, htmp=htmp, points=points),
    )


def layer_title(row: LayerResult) -> str:
    """Return what stands over the figure: the name, made printable in ASCII, the shape and the phase."""
    name = display_name(row.name, longest=_TITLE).encode("ascii", "backslashreplace").decode()
    title = f"{name} · {' x '.join(map(str, row.shape))}"
    phase = row.metrics.get("phase")
    return title if phase is None or phase.value is None else f"{title} · {phase.value}"


def _drawable(spectrum: Spectrum) -> NDArray[np.float64]:
    values: NDArray[np.float64] = spectrum.resolved.numpy()
    if len(values) < LEAST:
        raise ValueError(f"{len(values)} resolved eigenvalues, fewer than {LEAST}")
    if not values[-1] > values[0] * (1 + 1e-6):
        raise ValueError("the eigenvalues are all equal")
    return values


def _bulk(spectrum: Spectrum) -> _Bulk | None:
    if spectrum.parts:
        return None
    try:
        fit = fit_bulk(spectrum.eigenvalues, spectrum.rows, spectrum.cols)
    except ArithmeticError:
        return None
    p, n = sorted((spectrum.rows, spectrum.cols))
    left = p - fit.spikes
    return _Bulk(fit, MarchenkoPastur(fit.variance, left / n), n, left / p)


def _tail(row: LayerResult, total: int) -> _Tail | None:
    results: list[Any] = [row.metrics.get(name) for name in ("alpha", "xmin", "tail_size")]
    if any(metric is None or metric.value is None for metric in results):
        return None
    alpha, xmin, size = results
    return _Tail(float(alpha.value), alpha.se, float(xmin.value), int(size.value) / total)


def _htmp(row: LayerResult, spectrum: Spectrum) -> HTMP | None:
    kappa = row.metrics.get("kappa_full")
    if kappa is None or kappa.value is None or spectrum.parts:
        return None
    size, longer = sorted((spectrum.rows, spectrum.cols))
    return HTMP.of(Ensemble(float(kappa.value), size, longer), float(spectrum.eigenvalues.mean()))


def _density(values: NDArray[np.float64], total: int, bulk: _Bulk | None, points: int = _POINTS) -> Panel:
    end = float(np.quantile(values, 0.9))
    if bulk is not None:
        end = max(end, 1.3 * bulk.fit.lambda_plus)
    end = min(end, 1.02 * float(values[-1]))
    counts, edges = np.histogram(values, bins=min(_BINS, 4 + len(values) // 4), range=(0, end))
    heights = counts / (total * np.diff(edges))
    marks: list[Mark] = [Steps(edges=edges, heights=heights, colour=SKY)]
    highest = 1.05 * float(heights.max())
    if bulk is not None:
        turns = np.linspace(0, np.pi, points)  # more points at the edges, where the law is steep
        width = bulk.fit.lambda_plus - bulk.fit.lambda_minus
        at = bulk.fit.lambda_minus + width * (1 - np.cos(turns)) / 2
        pdf = bulk.pdf(at)
        marks.append(Line(x=at, y=pdf, colour=BLUE))
        # square noise has no bound at 0
        highest = 1.15 * max(float(heights.max()), float(np.quantile(pdf, 0.95)))
    beyond = int((values > end).sum())
    notes = ((Corner.TOP_RIGHT, f"{beyond} further right, to {values[-1]:.3g}"),) if beyond else ()
    return Panel(
        title="Eigenvalues",
        x=Axis(label=_EIGENVALUE, low=0, high=end),
        y=Axis(label=_PER_UNIT, low=0, high=highest),
        marks=tuple(marks),
        notes=notes,
    )


def _log_density(
    values: NDArray[np.float64],
    total: int,
    *,
    bulk: _Bulk | None,
    tail: _Tail | None,
    htmp: HTMP | None,
    points: int = _POINTS,
) -> Panel:
    first = _log_start(values)
    edges = np.geomspace(first, values[-1] * (1 + 1e-9), _LOG_BINS + 1)
    counts, _ = np.histogram(values, bins=edges)
    filled = counts > 0
    heights = (counts / (total * np.diff(edges)))[filled]
    centres = np.sqrt(edges[1:] * edges[:-1])[filled]
    marks: list[Mark] = [Points(x=centres, y=heights, colour=SKY, label="eigenvalues")]
    if bulk is not None:
        at = np.geomspace(max(bulk.fit.lambda_minus, first), bulk.fit.lambda_plus, points + 2)[1:-1]
        label = f"Marchenko-Pastur, N x KS = {bulk.fit.n_ks:.1f}, {bulk.fit.spikes} above"
        marks.append(Line(x=at, y=bulk.pdf(at), colour=BLUE, label=label))
    if tail is not None:
        at = np.geomspace(tail.xmin, values[-1], points)
        error = "" if tail.se is None else f" ± {tail.se:.2f}"
        label = f"power law, alpha = {tail.alpha:.2f}{error}"
        marks.append(Line(x=at, y=tail.pdf(at), colour=VERMILION, dash=Dash.DASHED, label=label))
    if htmp is not None:
        at = np.geomspace(first, values[-1], points)
        label = f"HTMP, kappa = {htmp.kappa / (1 - 1 / total):.3g}"
        pdf = htmp.pdf(torch.from_numpy(at)).numpy()
        marks.append(Line(x=at, y=pdf, colour=GREEN, dash=Dash.DASH_DOT, label=label))
    before = int((values < first).sum())
    note = f"{before} further left, from {values[0]:.2g}"
    return Panel(
        title="Eigenvalues, logarithmic",
        x=Axis(label=_EIGENVALUE, low=first / 1.1, high=1.1 * float(values[-1]), logarithmic=True),
        y=Axis(label=_PER_UNIT, low=heights.min() / 3, high=heights.max() * 3, logarithmic=True),
        marks=tuple(marks),
        notes=((Corner.BOTTOM_LEFT, note),) if before else (),
    )


def _share_above(
    values: NDArray[np.float64],
    total: int,
    *,
    bulk: _Bulk | None,
    tail: _Tail | None,
    htmp: HTMP | None,
) -> Panel:
    first = _log_start(values)
    shares = np.arange(len(values), 0, -1) / total
    kept = _thinned(len(values))
    marks: list[Mark] = [Points(x=values[kept], y=shares[kept], colour=SKY)]
    if bulk is not None:
        at = np.geomspace(max(bulk.fit.lambda_minus, first), bulk.fit.lambda_plus, _POINTS)
        marks.append(Line(x=at, y=np.maximum(bulk.above(at), 0.3 / total), colour=BLUE))
    if tail is not None:
        at = np.geomspace(tail.xmin, values[-1], _POINTS)
        marks.append(Line(x=at, y=tail.above(at), colour=VERMILION, dash=Dash.DASHED))
        marks.append(Upright(x=tail.xmin, colour=GREY, label="xmin"))
    if htmp is not None:
        at = np.geomspace(first, values[-1], _POINTS)
        above = htmp.sf(torch.from_numpy(at)).numpy()
        marks.append(Line(x=at, y=above, colour=GREEN, dash=Dash.DASH_DOT))
    return Panel(
        title="Tail",
        x=Axis(label=_EIGENVALUE, low=first, high=1.3 * float(values[-1]), logarithmic=True),
        y=Axis(label="share at or above", low=0.5 / total, high=1.6, logarithmic=True),
        marks=tuple(marks),
    )


def _quantiles(spectrum: Spectrum, bulk: _Bulk | None) -> Panel:
    title, x, y = "Bulk, quantiles", "quantile of Marchenko-Pastur (w²)", _EIGENVALUE
    if bulk is None:
        why = "no single matrix" if spectrum.parts else "no bulk: half of the eigenvalues are 0"
        return Panel(
            title=title,
            x=Axis(label=x, low=0, high=1, ticks=()),
            y=Axis(label=y, low=0, high=1, ticks=()),
            notes=((Corner.CENTRE, why),),
        )
    inside = spectrum.eigenvalues[: len(spectrum.eigenvalues) - bulk.fit.spikes].numpy()
    kept = np.unique(np.linspace(0, len(inside) - 1, min(_POINTS, len(inside))).astype(int))
    law = bulk.quantiles((kept + 0.5) / len(inside))
    ends = np.array([0.0, float(law[-1])])
    return Panel(
        title=title,
        x=Axis(label=x, low=0, high=1.05 * float(law[-1])),
        y=Axis(label=y, low=0, high=1.05 * max(float(law[-1]), float(inside[-1]))),
        marks=(
            Line(x=ends, y=ends, colour=GREY, width=0.8),
            Points(x=law, y=inside[kept], colour=BLUE),
        ),
    )


def _log_start(values: NDArray[np.float64]) -> float:
    """Return where logarithmic axes start: the smallest of square noise would take half of their width."""
    return max(float(values[0]), float(np.quantile(values, 0.02)) / 3) * (1 - 1e-9)


def _thinned(size: int) -> NDArray[np.intp]:
    """Return positions of an ascending sample: every one of the largest, and ever fewer further down."""
    ranks = np.geomspace(1, size, _POINTS)
    return np.unique(size - np.round(ranks).astype(int))
