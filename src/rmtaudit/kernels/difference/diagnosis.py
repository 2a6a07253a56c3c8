"""What happened to a matrix: a ladder of explanations, of which the first that holds is the diagnosis."""

from __future__ import annotations

import math
from dataclasses import dataclass
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
from rmtaudit.kernels.difference.low_rank import (
    LowRankUpdate,
    Truncated,
    find_low_rank,
    find_truncated,
    rounding_of,
)
from rmtaudit.kernels.difference.quantised import NEAREST, KnownEncoding, Quantised, find_quantised
from rmtaudit.kernels.difference.random_change import (
    LEAST_SIDE,
    DenseUpdate,
    Noise,
    Replaced,
    find_noise,
    find_replaced,
)
from rmtaudit.kernels.difference.samples import is_finite, is_zero
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
    """What happened to a matrix, with the numbers that show it; none for equal values."""

    kind: Kind
    evidence: Evidence | None = None


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
    A, B = base.double(), candidate.double()
    stored = _FLOATING[candidate.dtype]
    return (
        (None if encoded else _of_storage(base, candidate))
        or _of_entries(A, B, base, stored)
        or _of_change(A, B, (base, candidate), generator, encoded)
    )


def _of_equal(base: torch.Tensor, candidate: torch.Tensor) -> Diagnosis:
    if base.dtype == candidate.dtype:
        return Diagnosis(Kind.IDENTICAL)
    if base.dtype in _FLOATING and candidate.dtype in _FLOATING:
        narrower = torch.finfo(candidate.dtype).eps > torch.finfo(base.dtype).eps
        if narrower:
            return Diagnosis(Kind.CAST, Cast(_FLOATING[candidate.dtype], "nearest", 0, 0.0))
    return Diagnosis(Kind.SAME_VALUES)


def _of_storage(base: torch.Tensor, candidate: torch.Tensor) -> Diagnosis | None:
    if is_zero(base):
        return None
    rounded = find_cast(base, candidate)
    return None if rounded is None else Diagnosis(Kind.CAST, rounded)


def _of_entries(A: torch.Tensor, B: torch.Tensor, base: torch.Tensor, stored: str) -> Diagnosis | None:
    """Return the explanations that act on entries: factors, other places, single edits, zeros."""
    if not is_zero(A) and not is_zero(B):
        scaled = find_scaled(A, B, stored)
        if scaled is not None:
            return Diagnosis(Kind.SCALED, scaled)
    narrow = A if _FLOATING[base.dtype] == stored else cast(base, stored).double()
    for values in (A,) if narrow is A or torch.equal(A, narrow) else (A, narrow):
        rearranged = find_rearranged(values, B)
        if rearranged is not None:
            return Diagnosis(Kind.REARRANGED, rearranged)
        pruned = find_pruned(values, B)
        if pruned is not None:
            return Diagnosis(Kind.PRUNED, pruned)
        edit = find_sparse_edit(values, B, stored)
        if edit is not None:
            return Diagnosis(Kind.SPARSE_EDIT, edit)
    return None


def _of_change(
    A: torch.Tensor,
    B: torch.Tensor,
    stored: tuple[torch.Tensor, torch.Tensor],
    generator: torch.Generator,
    encoded: KnownEncoding | None,
) -> Diagnosis:
    """Return the explanations that act on the matrix: levels, rank, noise, replacement, structure."""
    formats = tuple(rounded_to(each, _FLOATING[each.dtype]) or _FLOATING[each.dtype] for each in stored)
    dtypes = formats[0], formats[1]
    facts = torch.finfo(getattr(torch, dtypes[1]))
    difference = B - A
    norm = float(torch.linalg.vector_norm(A))
    relative = float(torch.linalg.vector_norm(difference)) / norm if norm else None
    levels = find_quantised(A, B, epsilon=facts.eps / 2, smallest_normal=facts.smallest_normal, known=encoded)
    if levels is not None and levels.nearest >= NEAREST:
        return Diagnosis(Kind.QUANTISED, levels)
    if norm == 0 or _is_constant(A):
        return Diagnosis(Kind.UNKNOWN, Unknown(UnknownReason.CONSTANT_BASE, relative))
    small = min(A.shape) < LEAST_SIDE
    rounding = rounding_of(A, B, dtypes)
    if not small and levels is None:
        truncated = find_truncated(A, B, rounding)
        if truncated is not None:
            return Diagnosis(Kind.TRUNCATED, truncated)
        update = find_low_rank(A, difference, rounding)
        if update is not None:
            return Diagnosis(Kind.LOW_RANK_UPDATE, update)
    coarser = max(dtypes, key=lambda name: float(torch.finfo(getattr(torch, name)).eps))
    if levels is None and within_one_unit(A, B, coarser):
        return Diagnosis(Kind.CAST, cast_of(A, B, coarser, "within one unit"))
    if levels is not None:
        reason = UnknownReason.OTHER_QUANTISATION
        replaced = None if small else find_replaced(A, B)
        if replaced is not None:
            return Diagnosis(Kind.REPLACED, replaced)
        return Diagnosis(Kind.UNKNOWN, Unknown(reason, relative, levels))
    if small:
        return Diagnosis(Kind.UNKNOWN, Unknown(UnknownReason.TOO_SMALL, relative))
    return _of_dense_change(A, B, rounding_energy=_energy(B, dtypes), generator=generator)


def _is_constant(A: torch.Tensor) -> bool:
    low, high = torch.aminmax(A)
    return A.numel() > 1 and bool(low == high)


def _energy(B: torch.Tensor, dtypes: tuple[str, str]) -> float:
    return float(rounding_variance(B, dtypes[1]).sum())


def _of_dense_change(
    A: torch.Tensor, B: torch.Tensor, *, rounding_energy: float, generator: torch.Generator
) -> Diagnosis:
    difference = B - A
    replaced = find_replaced(A, B)
    if replaced is not None:
        return Diagnosis(Kind.REPLACED, replaced)
    try:
        change = find_noise(A, difference, rounding_energy, generator)
    except ArithmeticError:
        relative = float(torch.linalg.vector_norm(difference)) / float(torch.linalg.vector_norm(A))
        return Diagnosis(
            Kind.UNKNOWN,
            Unknown(UnknownReason.NO_SIGNS, relative if math.isfinite(relative) else None),
        )
    return Diagnosis(Kind.NOISE if isinstance(change, Noise) else Kind.DENSE_UPDATE, change)
