"""``logdet``: the log-determinant of a layer's Gram matrix, from its eigenvalues."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rmtaudit.analyzers.base import Analyzer, LayerInput, Metric, MetricValue, NoOptions, failed, skipped

if TYPE_CHECKING:
    from rmtaudit.kernels.determinants.spectral import SpectralDeterminant

_WEYL = "sum of log eigenvalues; Weyl's inequality for the bounds"
_NONE = "no eigenvalue is above the resolution floor"


class LogDet(Analyzer):
    """Log-determinant and log-volume of ``WᵀW`` (of the smaller side), with bounds."""

    name = "logdet"
    metrics = (
        Metric(
            name="logdet",
            unit="nats",
            description=(
                "Log-determinant of the Gram matrix of the smaller side; the interval is "
                "the range that the resolution floor allows."
            ),
            reference=_WEYL,
            summarised=False,
        ),
        Metric(
            name="log_volume",
            unit="nats",
            description="Log-volume per dimension: mean logarithm of the singular values.",
            reference=_WEYL,
        ),
        Metric(
            name="pseudo_logdet",
            unit="nats",
            description="Sum of the logarithms of the eigenvalues of WᵀW above the resolution floor.",
            reference=_WEYL,
            summarised=False,
        ),
        Metric(
            name="pseudo_rank",
            unit="count",
            description=(
                "Number of eigenvalues of WᵀW above the resolution floor, over which pseudo_logdet sums."
            ),
            reference=_WEYL,
            summarised=False,
        ),
    )
    Options = NoOptions

    def analyze(self, given: LayerInput) -> Mapping[str, MetricValue | float | int]:
        """Return every metric; the log-determinant itself only where every eigenvalue is resolved."""
        # here and not above: the list of analyzers is printed without loading torch
        from rmtaudit.kernels.determinants.spectral import spectral_log_determinant

        spectrum = given.spectrum
        if spectrum.method != "exact":
            reason = skipped(f"the spectrum is estimated ({spectrum.method}), not exact")
            return self.each_metric(reason)
        det = spectral_log_determinant(spectrum)
        n = det.rank + det.unresolved
        if not det.rank:
            return self.each_metric(failed(_NONE)) | {"pseudo_rank": 0}
        pseudo = _bounded(det.logdet, det.low, det.high)
        if det.unresolved:
            whole = skipped(
                f"{det.unresolved:,} of {n:,} eigenvalues are unresolved: below the resolution floor "
                f"{spectrum.floor:.3g}; the log-determinant is below {_ceiling(spectrum.floor, det):.6g}"
            )
            return {"logdet": whole, "log_volume": whole, "pseudo_logdet": pseudo, "pseudo_rank": det.rank}
        half = _bounded(det.logdet / (2 * n), det.low / (2 * n), det.high / (2 * n))
        return {"logdet": pseudo, "log_volume": half, "pseudo_logdet": pseudo, "pseudo_rank": det.rank}


def _bounded(value: float, low: float, high: float) -> MetricValue:
    """Return a value with its bounds, where both are finite."""
    ends = (low, high) if math.isfinite(low) and math.isfinite(high) else None
    return MetricValue(value=value, ci=ends)


def _ceiling(floor: float, det: SpectralDeterminant) -> float:
    """Return what the log-determinant cannot exceed: unresolved eigenvalues are at most the floor."""
    return det.high + det.unresolved * math.log(floor) if floor > 0 else det.high
