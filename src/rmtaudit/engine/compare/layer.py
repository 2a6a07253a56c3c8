"""The comparison of one pair: diagnosis, change, distortion, metrics."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from msgspec.structs import replace

from rmtaudit.analyzers.base import Analyzer
from rmtaudit.engine.compare.metrics import Measured, measured, metric_changes
from rmtaudit.engine.pairs import Pair, PairValues, TensorRef
from rmtaudit.kernels.difference.arrangement import Rearranged
from rmtaudit.kernels.difference.diagnosis import Diagnosis, Evidence, Kind, diagnose
from rmtaudit.kernels.difference.leading import spectral_norm
from rmtaudit.kernels.difference.low_rank import LowRankUpdate
from rmtaudit.kernels.difference.moments import Moments, difference_of, moments_of, power_of_two
from rmtaudit.kernels.difference.quantised import KnownEncoding
from rmtaudit.kernels.difference.samples import is_finite, is_zero
from rmtaudit.kernels.difference.subspaces import LEAST_SIDE, followed
from rmtaudit.report.comparison import (
    ChangeResult,
    DiagnosisResult,
    DistortionResult,
    LayerComparison,
    MetricChange,
)
from rmtaudit.report.comparison_words import sentence_of

_EQUAL = frozenset({Kind.IDENTICAL, Kind.SAME_VALUES})
_LISTED = 20
_NO_WEIGHT = "no weight matrix"
_SMALL = f"a side is shorter than {LEAST_SIDE}: noise cannot be distinguished from signal"
_NO_SIGNAL = "no direction of the base stands out from noise"
_NONFINITE = "values that are not finite"


def compare_pair(values: PairValues, analyzers: tuple[Analyzer, ...], seed: int) -> LayerComparison:
    """Return the comparison of one pair.

    Parameters
    ----------
    values
        The pair and its matrices in one orientation, stored dtypes.
    analyzers
        For the metrics of weight matrices that changed; none computes none.
    seed
        Of everything random.
    """
    pair, base, candidate = values
    generator = _generator(seed, pair.name)
    encoding = pair.candidate.encoding
    encoded = None if encoding is None else KnownEncoding(encoding.scheme, encoding.block)
    if encoding is not None and encoding == pair.base.encoding:
        encoded = None  # the base lies on the same levels: they do not explain a change
    diagnosis = diagnose(base, candidate, generator=generator, encoded=encoded)
    weight = pair.base.layer is not None
    metrics: Mapping[str, MetricChange] = {}
    change: ChangeResult | None = ChangeResult(0, 0 if weight else None)
    if diagnosis.kind in _EQUAL:
        distortion = _intact() if weight else _without(_NO_WEIGHT)
    elif not is_finite(base) or not is_finite(candidate):
        change, distortion = None, _without(_NONFINITE)
    else:
        moments = diagnosis.moments
        if isinstance(diagnosis.evidence, Rearranged):
            candidate = diagnosis.evidence.undone(candidate)
            moments = None
        sides: tuple[Measured, Measured] | None = None
        if weight and analyzers and pair.candidate.layer is not None and not is_zero(candidate):
            sides = (
                measured(pair.base, base, analyzers, seed),
                measured(pair.candidate, candidate, analyzers, seed),
            )
            metrics = metric_changes(*sides)
        known = sides[0].largest if sides else None
        change = _change(base, candidate, moments, weight=weight, update=diagnosis.evidence, largest=known)
        distortion = _distortion(base, candidate, generator, sides) if weight else _without(_NO_WEIGHT)
    return _row(
        pair,
        diagnosis=DiagnosisResult(
            kind=str(diagnosis.kind),
            sentence=sentence_of(str(diagnosis.kind), numbers_of(diagnosis)),
            numbers=numbers_of(diagnosis),
        ),
        change=change,
        distortion=distortion,
        metrics=metrics,
    )


def skipped_pair(pair: Pair, status: str, reason: str) -> LayerComparison:
    """Return the row of a pair that was not compared, and why."""
    return _row(pair, status=status, reason=reason)


def numbers_of(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return the evidence of a diagnosis as plain values; permutations are cut to 20 places."""
    if diagnosis.evidence is None:
        return {}
    numbers = _plain(dataclasses.asdict(diagnosis.evidence))
    if isinstance(diagnosis.evidence, Rearranged):
        numbers |= {side: numbers[side][:_LISTED] for side in ("rows", "columns")}
    return numbers


def _plain(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers without infinite ones, which a document does not hold."""
    return {
        key: _plain(value)
        if isinstance(value, Mapping)
        else None
        if isinstance(value, float) and not math.isfinite(value)
        else value
        for key, value in numbers.items()
    }


def _row(pair: Pair, *, status: str = "ok", reason: str = "", **parts: Any) -> LayerComparison:
    empty: dict[str, Any] = {"diagnosis": None, "change": None, "distortion": None, "metrics": {}}
    return LayerComparison(
        name=pair.base.name,
        candidate=pair.candidate.name,
        kind=None if pair.base.kind is None else str(pair.base.kind),
        shape=pair.base.shape,
        parameters=pair.base.parameters,
        dtypes=(_stored(pair.base), _stored(pair.candidate)),
        match=str(pair.how),  # type: ignore[arg-type]
        layout=str(pair.layout),  # type: ignore[arg-type]
        status=status,  # type: ignore[arg-type]
        reason=reason,
        **(empty | parts),
    )


def _stored(ref: TensorRef) -> str:
    return ref.dtype if ref.encoding is None else ref.encoding.scheme


def _generator(seed: int, name: str) -> torch.Generator:
    text = f"{seed}\0compare\0{name}".encode(errors="surrogatepass")
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text).digest()[:8], "little") >> 1)


def _change(
    base: torch.Tensor,
    candidate: torch.Tensor,
    moments: Moments | None,
    *,
    weight: bool,
    update: Evidence | None,
    largest: float | None,
) -> ChangeResult | None:
    """Return the relative change; ``largest`` is the base's largest singular value, where it is known."""
    if base.is_complex() or candidate.is_complex():
        return None
    if moments is None:
        moments = moments_of(base, candidate)
    relative = moments.relative_norm
    if relative is None:
        return None
    spectral = None
    if weight and min(base.shape) > 1:
        if isinstance(update, LowRankUpdate):
            spectral = update.singular_values[0]
        elif moments.largest_difference:
            scale = power_of_two(moments.largest_difference)
            spectral = scale * spectral_norm(difference_of(base, candidate, scale))
        else:
            spectral = 0.0
        spectral /= spectral_norm(base) if largest is None else largest
    return ChangeResult(relative, spectral)


def _intact() -> DistortionResult:
    return replace(_without(""), value=1.0, ci=(1.0, 1.0))


def _without(reason: str) -> DistortionResult:
    return DistortionResult(
        value=None, ci=None, directions=0, more=False, survived=0, angles=(), reason=reason
    )


def _distortion(
    base: torch.Tensor,
    candidate: torch.Tensor,
    generator: torch.Generator,
    sides: tuple[Measured, Measured] | None,
) -> DistortionResult:
    if min(base.shape) < LEAST_SIDE:
        return _without(_SMALL)
    leaders = None if sides is None else (sides[0].leaders, sides[1].leaders)
    kept = followed(base, candidate, generator, leaders)
    if kept is None:
        return _without(_NO_SIGNAL)
    return DistortionResult(
        value=kept.share,
        ci=kept.interval,
        directions=kept.directions,
        more=kept.more,
        survived=kept.survived,
        angles=kept.angles,
        reason="",
    )
