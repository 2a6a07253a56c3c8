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
from rmtaudit.kernels.difference.subspaces import Leaders, leaders_of
from rmtaudit.kernels.spectra.eigenvalues import spectrum_and
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
    """The metrics of one side of a pair, its largest singular value, and its leading directions."""

    metrics: Mapping[str, MetricValue]
    largest: float
    leaders: Leaders


def measured(ref: TensorRef, matrix: torch.Tensor, analyzers: tuple[Analyzer, ...], seed: int) -> Measured:
    """Return the metrics of a finite matrix, which has any floating dtype.

    Its Gram matrix is gone when this returns: two sides never hold theirs at the same time.

    Parameters
    ----------
    ref
        What the matrix is.
    matrix
        Its values.
    analyzers
        From :func:`metric_analyzers`.
    seed
        Of the analyzers.
    """
    wide = matrix if matrix.element_size() >= 4 else matrix.float()
    spectrum, leaders = spectrum_and(wide, leaders_of)
    given = LayerInput(
        layer=_layer(ref),
        spectrum=spectrum,
        matrices=(wide,),
        epsilon=UNIT_ROUNDOFF[ref.dtype],
        seed=seed,
    )
    return Measured(_values(given, analyzers), math.sqrt(float(spectrum.eigenvalues[-1])), leaders)


def metric_changes(base: Measured, candidate: Measured) -> dict[str, MetricChange]:
    """Return every metric of both matrices, by name."""
    return {name: _change(ours, candidate.metrics[name]) for name, ours in base.metrics.items()}


def _values(given: LayerInput, analyzers: tuple[Analyzer, ...]) -> dict[str, MetricValue]:
    values: dict[str, MetricValue] = {}
    for analyzer in analyzers:
        try:
            returned = analyzer.analyze(given)
        except Exception as error:  # one analyzer failing on one layer is recorded, and stops nothing else
            problem = failed(display_name(f"{analyzer.name}: {type(error).__name__}: {error}"))
            values.update({metric.name: problem for metric in analyzer.active_metrics()})
            continue
        computed = returned.values if isinstance(returned, Analysis) else returned
        for metric in analyzer.active_metrics():
            value = computed.get(metric.name, failed(f"{analyzer.name} returned no such metric"))
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
