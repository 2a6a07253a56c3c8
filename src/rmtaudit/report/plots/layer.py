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
from rmtaudit.report.plots.canvas import BLUE, GREEN, GREY, SKY, VERMILION, new_figure, plain_logarithms

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from rmtaudit.kernels.spectra.spectrum import Spectrum
    from rmtaudit.report.model import LayerResult

LEAST = 8
"""Fewer resolved eigenvalues make no picture."""

_BINS, _LOG_BINS = 60, 36
_POINTS = 120  # of a curve or of a cloud of points
_TITLE = 70


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


def layer_figure(row: LayerResult, spectrum: Spectrum) -> Figure:
    """Return the figure of a layer: density, linear and on logarithms; share above; quantiles of the bulk.

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
    values = spectrum.resolved.numpy()
    if len(values) < LEAST:
        raise ValueError(f"{len(values)} resolved eigenvalues, fewer than {LEAST}")
    if not values[-1] > values[0] * (1 + 1e-6):
        raise ValueError("the eigenvalues are all equal")
    total = len(spectrum.eigenvalues)
    bulk, tail, htmp = _bulk(spectrum), _tail(row, total), _htmp(row, spectrum)
    figure = new_figure(7.2, 5.4)
    (linear, logarithmic), (above, quantiles) = figure.subplots(2, 2)
    _density(linear, values, total, bulk)
    _log_density(logarithmic, values, total, bulk=bulk, tail=tail, htmp=htmp)
    _share_above(above, values, total, bulk=bulk, tail=tail, htmp=htmp)
    _quantiles(quantiles, spectrum, bulk)
    figure.suptitle(layer_title(row), fontsize=9)
    handles, labels = [], []
    for axes in (logarithmic, above):
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            if label not in labels:
                handles.append(handle)
                labels.append(label)
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3))
    return figure


def layer_title(row: LayerResult) -> str:
    """Return what stands over the figure: the name, made printable in ASCII, the shape and the phase."""
    name = display_name(row.name, longest=_TITLE).encode("ascii", "backslashreplace").decode()
    title = f"{name}   {' x '.join(map(str, row.shape))}"
    phase = row.metrics.get("phase")
    return title if phase is None or phase.value is None else f"{title}   {phase.value}"


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


def _density(axes: Axes, values: NDArray[np.float64], total: int, bulk: _Bulk | None) -> None:
    end = float(np.quantile(values, 0.9))
    if bulk is not None:
        end = max(end, 1.3 * bulk.fit.lambda_plus)
    end = min(end, 1.02 * float(values[-1]))
    counts, edges = np.histogram(values, bins=min(_BINS, 4 + len(values) // 4), range=(0, end))
    heights = counts / (total * np.diff(edges))
    axes.stairs(heights, edges, fill=True, color=SKY, alpha=0.55)
    if bulk is not None:
        at = np.linspace(bulk.fit.lambda_minus, bulk.fit.lambda_plus, _POINTS)
        pdf = bulk.pdf(at)
        axes.plot(at, pdf, color=BLUE)
        # square noise has no bound at 0
        axes.set_ylim(0, 1.15 * max(float(heights.max()), float(np.quantile(pdf, 0.95))))
    beyond = int((values > end).sum())
    if beyond:
        note = f"{beyond} further right, to {values[-1]:.3g}"
        axes.text(0.98, 0.96, note, transform=axes.transAxes, ha="right", va="top", fontsize=7.5)
    axes.set_xlim(0, end)
    _label(axes, "Eigenvalues", "eigenvalue of WᵀW (w²)", "density (1/w²)")


def _log_density(
    axes: Axes,
    values: NDArray[np.float64],
    total: int,
    bulk: _Bulk | None,
    tail: _Tail | None,
    htmp: HTMP | None,
) -> None:
    first = _log_start(values)
    edges = np.geomspace(first, values[-1] * (1 + 1e-9), _LOG_BINS + 1)
    counts, _ = np.histogram(values, bins=edges)
    filled = counts > 0
    heights = (counts / (total * np.diff(edges)))[filled]
    centres = np.sqrt(edges[1:] * edges[:-1])[filled]
    axes.loglog(centres, heights, "o", markersize=3, color=SKY, label="eigenvalues")
    if bulk is not None:
        at = np.geomspace(max(bulk.fit.lambda_minus, first), bulk.fit.lambda_plus, _POINTS + 2)[1:-1]
        label = f"Marchenko-Pastur, N x KS = {bulk.fit.n_ks:.1f}, {bulk.fit.spikes} above"
        axes.loglog(at, bulk.pdf(at), color=BLUE, label=label)
    if tail is not None:
        at = np.geomspace(tail.xmin, values[-1], _POINTS)
        error = "" if tail.se is None else f" ± {tail.se:.2f}"
        label = f"power law, alpha = {tail.alpha:.2f}{error}"
        axes.loglog(at, tail.pdf(at), color=VERMILION, linestyle="--", label=label)
    if htmp is not None:
        at = np.geomspace(first, values[-1], _POINTS)
        label = f"HTMP, kappa = {htmp.kappa / (1 - 1 / total):.3g}"
        axes.loglog(at, htmp.pdf(torch.from_numpy(at)).numpy(), color=GREEN, linestyle="-.", label=label)
    axes.set_ylim(heights.min() / 3, heights.max() * 3)
    plain_logarithms(axes)
    before = int((values < first).sum())
    if before:
        note = f"{before} further left, from {values[0]:.2g}"
        axes.text(0.02, 0.04, note, transform=axes.transAxes, fontsize=7.5)
    _label(axes, "Eigenvalues, logarithmic", "eigenvalue of WᵀW (w²)", "density (1/w²)")


def _share_above(
    axes: Axes,
    values: NDArray[np.float64],
    total: int,
    bulk: _Bulk | None,
    tail: _Tail | None,
    htmp: HTMP | None,
) -> None:
    shares = np.arange(len(values), 0, -1) / total
    kept = _thinned(len(values))
    axes.loglog(values[kept], shares[kept], ".", markersize=3.5, color=SKY)
    if bulk is not None:
        at = np.geomspace(max(bulk.fit.lambda_minus, _log_start(values)), bulk.fit.lambda_plus, _POINTS)
        axes.loglog(at, np.maximum(bulk.above(at), 0.3 / total), color=BLUE)
    if tail is not None:
        at = np.geomspace(tail.xmin, values[-1], _POINTS)
        axes.loglog(at, tail.above(at), color=VERMILION, linestyle="--")
        axes.axvline(tail.xmin, color=GREY, linewidth=0.8, linestyle=":", label="xmin")
    if htmp is not None:
        at = np.geomspace(_log_start(values), values[-1], _POINTS)
        axes.loglog(at, htmp.sf(torch.from_numpy(at)).numpy(), color=GREEN, linestyle="-.")
    axes.set_ylim(0.5 / total, 1.6)
    axes.set_xlim(_log_start(values), 1.3 * values[-1])
    plain_logarithms(axes)
    _label(axes, "Tail", "eigenvalue of WᵀW (w²)", "share at or above")


def _quantiles(axes: Axes, spectrum: Spectrum, bulk: _Bulk | None) -> None:
    _label(axes, "Bulk, quantiles", "quantile of Marchenko-Pastur (w²)", "eigenvalue of WᵀW (w²)")
    if bulk is None:
        why = "no single matrix" if spectrum.parts else "no bulk: half of the eigenvalues are 0"
        axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center")
        axes.set_xticks([])
        axes.set_yticks([])
        return
    inside = spectrum.eigenvalues[: len(spectrum.eigenvalues) - bulk.fit.spikes].numpy()
    kept = np.unique(np.linspace(0, len(inside) - 1, min(_POINTS, len(inside))).astype(int))
    law = bulk.quantiles((kept + 0.5) / len(inside))
    ends = [0.0, float(law[-1])]
    axes.plot(ends, ends, color=GREY, linewidth=0.8)
    axes.plot(law, inside[kept], ".", markersize=3.5, color=BLUE)


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _log_start(values: NDArray[np.float64]) -> float:
    """Return where logarithmic axes start: the smallest of square noise would take half of their width."""
    return max(float(values[0]), float(np.quantile(values, 0.02)) / 3) * (1 - 1e-9)


def _thinned(size: int) -> NDArray[np.intp]:
    """Return positions of an ascending sample: every one of the largest, and ever fewer further down."""
    ranks = np.geomspace(1, size, _POINTS)
    return np.unique(size - np.round(ranks).astype(int))
