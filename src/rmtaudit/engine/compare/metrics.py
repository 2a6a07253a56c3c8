"""The metrics of both sides of a pair, and their change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from rmtaudit.analyzers.base import Analysis, Analyzer, LayerInput, MetricValue, failed
from rmtaudit.analyzers.registry import build_all
from rmtaudit.engine.pairs import TensorRef
from rmtaudit.kernels.spectra.eigenvalues import spectrum_and_gram
from rmtaudit.kernels.spectra.spectrum import Spectrum
from rmtaudit.matrices.tensors import UNIT_ROUNDOFF
from rmtaudit.names import display_name
from rmtaudit.report.comparison import MetricChange
from rmtaudit.report.model import MetricResult

if TYPE_CHECKING:
    from rmtaudit.matrices.layers import Layer

_ANALYZERS = ("scale", "powerlaw")
_OPTIONS: Mapping[str, Mapping[str, bool]] = {"powerlaw": {"stability": False}}
_NORMAL_95 = 1.96


def metric_analyzers() -> tuple[Analyzer, ...]:
    """Return the analyzers of the preset ``fast``."""
    return tuple(build_all(_ANALYZERS, _OPTIONS))


@dataclass(frozen=True, slots=True)
class Measured:
    """A layer, its matrix, the spectrum and the Gram matrix of its smaller side."""

    ref: TensorRef
    matrix: torch.Tensor
    spectrum: Spectrum
    product: torch.Tensor


def measured(ref: TensorRef, matrix: torch.Tensor) -> Measured:
    """Return the spectrum of a finite matrix, which has any floating dtype."""
    wide = matrix if matrix.element_size() >= 4 else matrix.float()
    return Measured(ref, wide, *spectrum_and_gram(wide))


def metric_changes(
    base: Measured, candidate: Measured, analyzers: tuple[Analyzer, ...], seed: int
) -> dict[str, MetricChange]:
    """Return every metric of both matrices, by name.

    Parameters
    ----------
    base, candidate
        From :func:`measured`.
    analyzers
        From :func:`metric_analyzers`.
    seed
        Of the analyzers.
    """
    ours, theirs = (_values(each, analyzers, seed) for each in (base, candidate))
    return {name: _change(ours[name], theirs[name]) for name in ours}


def _values(side: Measured, analyzers: tuple[Analyzer, ...], seed: int) -> dict[str, MetricValue]:
    given = LayerInput(
        layer=_layer(side.ref),
        spectrum=side.spectrum,
        matrices=(side.matrix,),
        epsilon=UNIT_ROUNDOFF[side.ref.dtype],
        seed=seed,
    )
    values: dict[str, MetricValue] = {}
    for analyzer in analyzers:
        try:
            returned = analyzer.analyze(given)
        except Exception as error:  # one analyzer failing on one layer is recorded, and stops nothing else
            problem = failed(display_name(f"{analyzer.name}: {type(error).__name__}: {error}"))
            values.update({metric.name: problem for metric in analyzer.active_metrics()})
            continue
        found = returned.values if isinstance(returned, Analysis) else returned
        for metric in analyzer.active_metrics():
            value = found.get(metric.name, failed(f"{analyzer.name} returned no such metric"))
            values[metric.name] = value if isinstance(value, MetricValue) else MetricValue(value=value)
    return values


def _layer(ref: TensorRef) -> Layer:
    assert ref.layer is not None
    return ref.layer


def _change(base: MetricValue, candidate: MetricValue) -> MetricChange:
    ours, theirs = _result(base), _result(candidate)
    if not (_is_number(ours.value) and _is_number(theirs.value)):
        return MetricChange(ours, theirs, None, None)
    assert isinstance(ours.value, int | float)
    assert isinstance(theirs.value, int | float)
    change = theirs.value - ours.value
    if ours.se is None or theirs.se is None:
        return MetricChange(ours, theirs, change, None)
    # Two matrices that are alike have errors that are alike: the interval is wide, never narrow.
    reach = _NORMAL_95 * math.hypot(ours.se, theirs.se)
    return MetricChange(ours, theirs, change, (change - reach, change + reach))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _result(value: MetricValue) -> MetricResult:
    if isinstance(value.value, float) and not math.isfinite(value.value):
        value = failed(f"not finite: {value.value}")
    return MetricResult(
        value=value.value,
        se=value.se if value.se is not None and math.isfinite(value.se) else None,
        ci=value.ci if value.ci is not None and all(map(math.isfinite, value.ci)) else None,
        status=value.status,
        reason=value.reason,
    )
