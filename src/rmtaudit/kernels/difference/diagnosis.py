"""What happened to a matrix: a ladder of explanations, of which the first that holds is the diagnosis."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

import torch

from rmtaudit.kernels.difference.arrangement import Rearranged, find_rearranged
from rmtaudit.kernels.difference.entries import Pruned, SparseEdit, find_pruned, find_sparse_edit
from rmtaudit.kernels.difference.equality import (
    Cast,
    Scaled,
    cast_of,
    equal_values,
    find_cast,
    find_scaled,
    within_one_unit,
)
from rmtaudit.kernels.difference.formats import cast, rounding_variance
from rmtaudit.kernels.difference.low_rank import LowRankUpdate, find_low_rank, has_high_rank
from rmtaudit.kernels.difference.moments import Moments, bands, moments_of
from rmtaudit.kernels.difference.quantised import NEAREST, KnownEncoding, Quantised, find_quantised
from rmtaudit.kernels.difference.random_change import DenseUpdate, Noise, find_noise
from rmtaudit.kernels.difference.replaced import LEAST_SIDE, Replaced, find_replaced
from rmtaudit.kernels.difference.rounding import largest_rounding_edge, rounding_of
from rmtaudit.kernels.difference.samples import is_finite
from rmtaudit.kernels.difference.truncation import Truncated, find_truncated, has_full_rank
from rmtaudit.kernels.forensics.rounding import rounded_to

_FLOATING = {
    torch.float64: "float64",
    torch.float32: "float32",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.float8_e4m3fn: "float8_e4m3fn",
    torch.float8_e5m2: "float8_e5m2",
    torch.float8_e4m3fnuz: "float8_e4m3fnuz",
    torch.float8_e5m2fnuz: "float8_e5m2fnuz",
}


class Kind(StrEnum):
    """The diagnosis of a pair."""

    IDENTICAL = "identical"
    """Equal dtype and bytes."""
    SAME_VALUES = "same_values"
    """Equal numbers in another dtype that is no narrower, or another layout."""
    CAST = "cast"
    SCALED = "scaled"
    REARRANGED = "rearranged"
    SPARSE_EDIT = "sparse_edit"
    PRUNED = "pruned"
    QUANTISED = "quantised"
    TRUNCATED = "truncated"
    LOW_RANK_UPDATE = "low_rank_update"
    NOISE = "noise"
    REPLACED = "replaced"
    DENSE_UPDATE = "dense_update"
    UNKNOWN = "unknown"


class UnknownReason(StrEnum):
    """Why there is no diagnosis."""

    TOO_SMALL = "too_small"
    NOT_FLOATING = "not_floating"
    NONFINITE = "nonfinite"
    CONSTANT_BASE = "constant_base"
    OTHER_QUANTISATION = "other_quantisation"
    NO_SIGNS = "no_signs"


@dataclass(frozen=True, slots=True)
class Unknown:
    """There is no diagnosis.

    Attributes
    ----------
    reason
        Why.
    relative_norm
        Frobenius norm of the change over that of the base; ``None`` where it is not finite.
    quantised
        For :attr:`UnknownReason.OTHER_QUANTISATION`: the levels that the candidate lies on. Too many of its
        entries are not on the level nearest to the base: calibrated rounding (GPTQ), or another base.
    """

    reason: UnknownReason
    relative_norm: float | None
    quantised: Quantised | None = None


Evidence = (
    Cast
    | Scaled
    | Rearranged
    | SparseEdit
    | Pruned
    | Quantised
    | Truncated
    | LowRankUpdate
    | Noise
    | Replaced
    | DenseUpdate
    | Unknown
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What happened to a matrix, with the numbers that show it; none for equal values.

    Attributes
    ----------
    kind, evidence
        What happened, and its numbers.
    moments
        Of the pair; ``None`` for equal values, and where they are not floating or not finite.
    """

    kind: Kind
    evidence: Evidence | None = None
    moments: Moments | None = field(default=None, repr=False, compare=False)


def diagnose(
    base: torch.Tensor,
    candidate: torch.Tensor,
    *,
    generator: torch.Generator,
    encoded: KnownEncoding | None = None,
) -> Diagnosis:
    """Return what happened between two matrices.

    In turn: equal, cast, scaled, rearranged, a sparse edit, pruned, quantised, truncated, an update of low
    rank, noise, replaced, an update with structure. The first that holds is the diagnosis; a change that
    none explains is :attr:`Kind.UNKNOWN`, with the reason.

    Parameters
    ----------
    base, candidate
        Equal shapes ``(rows, columns)``, in their stored dtypes, on the CPU. Not changed.
    generator
        For the draws of random signs behind the test of noise.
    encoded
        What the candidate's file states of its quantisation.
    """
    if equal_values(base, candidate):
        return _of_equal(base, candidate)
    if base.dtype not in _FLOATING or candidate.dtype not in _FLOATING:
        return Diagnosis(Kind.UNKNOWN, Unknown(UnknownReason.NOT_FLOATING, None))
    if not is_finite(base) or not is_finite(candidate):
        return Diagnosis(Kind.UNKNOWN, Unknown(UnknownReason.NONFINITE, None))
    moments = moments_of(base, candidate)
    diagnosis = (
        (None if encoded else _of_storage(base, candidate, moments))
        or _of_entries(base, candidate, moments)
        or _of_change(base, candidate, moments, generator, encoded)
    )
    return replace(diagnosis, moments=moments)


def _of_equal(base: torch.Tensor, candidate: torch.Tensor) -> Diagnosis:
    if base.dtype == candidate.dtype:
        return Diagnosis(Kind.IDENTICAL)
    if base.dtype in _FLOATING and candidate.dtype in _FLOATING:
        narrower = torch.finfo(candidate.dtype).eps > torch.finfo(base.dtype).eps
        if narrower:
            return Diagnosis(Kind.CAST, Cast(_FLOATING[candidate.dtype], "nearest", 0, 0.0))
    return Diagnosis(Kind.SAME_VALUES)


def _of_storage(base: torch.Tensor, candidate: torch.Tensor, moments: Moments) -> Diagnosis | None:
    if not moments.base_square:
        return None
    rounded = find_cast(base, candidate, moments)
    return None if rounded is None else Diagnosis(Kind.CAST, rounded)


def _of_entries(base: torch.Tensor, candidate: torch.Tensor, moments: Moments) -> Diagnosis | None:
    """Return the explanations that act on entries: factors, other places, single edits, zeros."""
    stored = _FLOATING[candidate.dtype]
    if moments.candidate_square:
        scaled = find_scaled(base, candidate, moments, stored)
        if scaled is not None:
            return Diagnosis(Kind.SCALED, scaled)
    for values, sums in _as_stored(base, candidate, moments):
        rearranged = find_rearranged(values, candidate, sums)
        if rearranged is not None:
            return Diagnosis(Kind.REARRANGED, rearranged)
        pruned = find_pruned(values, candidate, sums)
        if pruned is not None:
            return Diagnosis(Kind.PRUNED, pruned)
        edit = find_sparse_edit(values, candidate, sums, stored)
        if edit is not None:
            return Diagnosis(Kind.SPARSE_EDIT, edit)
    return None


def _as_stored(
    base: torch.Tensor, candidate: torch.Tensor, moments: Moments
) -> Iterator[tuple[torch.Tensor, Moments]]:
    """Yield the base and, where that is another one, the base in the candidate's format."""
    yield base, moments
    if base.dtype != candidate.dtype:
        narrow = cast(base, _FLOATING[candidate.dtype])
        if not equal_values(base, narrow):
            yield narrow, moments_of(narrow, candidate)


def _of_change(
    base: torch.Tensor,
    candidate: torch.Tensor,
    moments: Moments,
    generator: torch.Generator,
    encoded: KnownEncoding | None,
) -> Diagnosis:
    """Return the explanations that act on the matrix: levels, rank, noise, replacement, structure."""
    formats = tuple(
        rounded_to(each, _FLOATING[each.dtype]) or _FLOATING[each.dtype] for each in (base, candidate)
    )
    dtypes = formats[0], formats[1]
    facts = torch.finfo(getattr(torch, dtypes[1]))
    relative = moments.relative_norm
    levels = find_quantised(
        base,
        candidate,
        moments,
        epsilon=facts.eps / 2,
        smallest_normal=facts.smallest_normal,
        known=encoded,
    )
    if levels is not None and levels.nearest >= NEAREST:
        return Diagnosis(Kind.QUANTISED, levels)
    if relative is None or _is_constant(base):
        return Diagnosis(Kind.UNKNOWN, Unknown(UnknownReason.CONSTANT_BASE, relative))
    small = min(base.shape) < LEAST_SIDE
    if levels is not None:
        replaced = None if small else find_replaced(base, candidate)
        if replaced is not None:
            return Diagnosis(Kind.REPLACED, replaced)
        return Diagnosis(Kind.UNKNOWN, Unknown(UnknownReason.OTHER_QUANTISATION, relative, levels))
    if not small:
        low = _of_low_rank(base, candidate, moments, dtypes)
        if low is not None:
            return low
    coarser = max(dtypes, key=lambda name: float(torch.finfo(getattr(torch, name)).eps))
    if within_one_unit(base, candidate, coarser):
        return Diagnosis(Kind.CAST, cast_of(moments, coarser, "within one unit"))
    if small:
        return Diagnosis(Kind.UNKNOWN, Unknown(UnknownReason.TOO_SMALL, relative))
    return _of_dense_change(base, candidate, moments, dtypes[1], generator)


def _of_low_rank(
    base: torch.Tensor, candidate: torch.Tensor, moments: Moments, dtypes: tuple[str, str]
) -> Diagnosis | None:
    edge = largest_rounding_edge(base, candidate, dtypes)
    whole, dense = has_full_rank(candidate, edge), has_high_rank(base, candidate, edge)
    if whole and dense:
        return None
    rounding = rounding_of(base, candidate, dtypes)
    truncated = None if whole else find_truncated(base, candidate, rounding)
    if truncated is not None:
        return Diagnosis(Kind.TRUNCATED, truncated)
    update = None if dense else find_low_rank(base, candidate, moments, rounding)
    return None if update is None else Diagnosis(Kind.LOW_RANK_UPDATE, update)


def _is_constant(matrix: torch.Tensor) -> bool:
    low, high = torch.aminmax(matrix.float() if matrix.element_size() == 1 else matrix)
    return matrix.numel() > 1 and bool(low == high)


def _of_dense_change(
    base: torch.Tensor, candidate: torch.Tensor, moments: Moments, dtype: str, generator: torch.Generator
) -> Diagnosis:
    replaced = find_replaced(base, candidate)
    if replaced is not None:
        return Diagnosis(Kind.REPLACED, replaced)
    rounding = sum(float(rounding_variance(theirs, dtype).sum()) for _, _, theirs in bands(base, candidate))
    try:
        change = find_noise(base, candidate, moments, rounding, generator)
    except ArithmeticError:
        relative = moments.relative_norm
        finite = relative is not None and math.isfinite(relative)
        return Diagnosis(Kind.UNKNOWN, Unknown(UnknownReason.NO_SIGNS, relative if finite else None))
    return Diagnosis(Kind.NOISE if isinstance(change, Noise) else Kind.DENSE_UPDATE, change)
