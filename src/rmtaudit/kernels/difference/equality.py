"""Equal values, a cast of them, and multiples: of the matrix, of its rows, of its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from rmtaudit.kernels.difference.formats import NARROW, cast, truncated, ulp
from rmtaudit.kernels.difference.samples import even_rows

_ULPS = 2.0
"""Units in the last place between a stored multiple and the exact one: the factor itself was rounded, and
batch norm is folded in as a quotient, a product, or both."""

_LEAST_LINE = 8
"""Entries of a line below which its factor explains too much of it."""

_SHARE = 0.75
"""Share of the lines that must have enough nonzero entries to say something."""


@dataclass(frozen=True, slots=True)
class Cast:
    """The candidate is the base rounded to a format.

    Attributes
    ----------
    dtype
        torch's name of the format.
    rounding
        ``nearest``, ``toward zero``, or ``within one unit`` where neither holds for every entry.
    changed
        Number of entries that the cast changed.
    relative_error
        Frobenius norm of the difference over that of the base.
    """

    dtype: str
    rounding: Literal["nearest", "toward zero", "within one unit"]
    changed: int
    relative_error: float


@dataclass(frozen=True, slots=True)
class Scaled:
    """The candidate is a multiple of the base, to rounding.

    Attributes
    ----------
    along
        What has a factor: the ``matrix``, each of its ``rows``, or of its ``columns``.
    factor
        The factor; of lines the median one.
    lowest, highest
        The least and greatest factor.
    """

    along: Literal["matrix", "rows", "columns"]
    factor: float
    lowest: float
    highest: float


def equal_values(base: torch.Tensor, candidate: torch.Tensor) -> bool:
    """Whether two matrices hold the same numbers, whatever their dtypes; NaN at one place is equal to NaN.

    Parameters
    ----------
    base, candidate
        Equal shapes, any real dtypes. A dtype of one byte is compared in float32, any other two in float64.
    """
    if base.dtype == candidate.dtype and base.dtype not in _ONE_BYTE:
        if torch.equal(base, candidate):
            return True
    else:
        base, candidate = _comparable(base), _comparable(candidate)
    return all(
        bool(((ours == theirs) | (ours.isnan() & theirs.isnan())).all())
        for ours, theirs in ((even_rows(base), even_rows(candidate)), (base, candidate))
    )


def find_cast(base: torch.Tensor, candidate: torch.Tensor) -> Cast | None:
    """Return the coarsest format that the base was cast to, entry by entry; ``None`` for none.

    Parameters
    ----------
    base, candidate
        Equal shapes, finite, floating, not equal in values.
    """
    first, second = even_rows(base), even_rows(candidate)
    for dtype in NARROW:
        for rounding, rounded in (("nearest", cast), ("toward zero", truncated)):
            if not _equal(rounded(first, dtype), second):
                continue
            values = rounded(base, dtype)
            if _equal(values, candidate):
                return cast_of(base, candidate, dtype, rounding)  # type: ignore[arg-type]
    return None


def within_one_unit(base: torch.Tensor, candidate: torch.Tensor, dtype: str) -> bool:
    """Whether no entry differs by more than a unit in the last place of the candidate's format."""
    for ours, theirs in ((even_rows(base), even_rows(candidate)), (base, candidate)):
        difference = (theirs.double() - ours.double()).abs()
        if not bool((difference <= torch.maximum(ulp(theirs, dtype), ulp(ours, dtype))).all()):
            return False
    return True


def cast_of(
    base: torch.Tensor,
    candidate: torch.Tensor,
    dtype: str,
    rounding: Literal["nearest", "toward zero", "within one unit"],
) -> Cast:
    """Return the cast with its numbers."""
    difference = candidate.double() - base.double()
    norm = float(torch.linalg.vector_norm(base, dtype=torch.float64))
    return Cast(
        dtype=dtype,
        rounding=rounding,
        changed=int(torch.count_nonzero(difference)),
        relative_error=float(torch.linalg.vector_norm(difference)) / norm if norm else 0.0,
    )


def find_scaled(base: torch.Tensor, candidate: torch.Tensor, dtype: str) -> Scaled | None:
    """Return the factors by which the candidate is a multiple of the base; ``None`` for none.

    Every entry must lie within two units in the last place of the candidate's format.

    Parameters
    ----------
    base, candidate
        Equal shapes, float64, finite.
    dtype
        The format that the candidate was last rounded to.
    """
    factor = _factors(base, candidate, None)
    if factor is None or int(torch.count_nonzero(base)) < _LEAST_LINE:
        return None
    if _is_multiple(base, candidate, factor, dtype):
        value = float(factor)
        near = round(value)
        if near and _is_multiple(base, candidate, near, dtype):
            value = float(near)
        return Scaled("matrix", value, value, value)
    along: Literal["rows", "columns"]
    for along, side in (("rows", 1), ("columns", 0)):
        if base.shape[side] < _LEAST_LINE:
            continue
        ours, theirs = (even_rows(each if side else each.T) for each in (base, candidate))
        few = _factors(ours, theirs, 1)
        if few is not None and not _is_multiple(ours, theirs, few, dtype):
            continue
        filled = torch.count_nonzero(base, dim=side) >= _LEAST_LINE
        if int(filled.sum()) < _SHARE * len(filled):
            continue
        factors = _factors(base, candidate, side)
        if factors is not None and _is_multiple(base, candidate, factors, dtype):
            known = factors.reshape(-1)[filled]
            if bool((known == 0).any()):
                return None  # whole lines were set to zero
            return Scaled(along, float(known.median()), float(known.min()), float(known.max()))
    return None


def _is_multiple(
    base: torch.Tensor, candidate: torch.Tensor, factors: torch.Tensor | float, dtype: str
) -> bool:
    """Whether every entry is that of the base times the factor, to rounding; a few rows are tried first."""
    one_factor = not isinstance(factors, torch.Tensor) or factors.ndim == 0
    if one_factor and not _is_near(even_rows(base), even_rows(candidate), factors, dtype):
        return False
    return _is_near(base, candidate, factors, dtype)


def _is_near(base: torch.Tensor, candidate: torch.Tensor, factors: torch.Tensor | float, dtype: str) -> bool:
    distance = (candidate - factors * base).abs_()
    return bool((distance <= _ULPS * ulp(candidate, dtype)).all())


def line_factors(base: torch.Tensor, candidate: torch.Tensor, side: int | None) -> torch.Tensor:
    """Return the least-squares factor of the candidate by the base: one, or one a line; 0 for empty lines."""
    factors = _factors(base, candidate, side)
    return torch.zeros((), dtype=base.dtype) if factors is None else factors


def _factors(base: torch.Tensor, candidate: torch.Tensor, side: int | None) -> torch.Tensor | None:
    if side is None:
        ours, theirs = base.reshape(-1), candidate.reshape(-1)
        power = torch.dot(ours, ours)
        return torch.dot(ours, theirs) / power if float(power) > 0 else None
    power = base.square().sum(dim=side, keepdim=True)
    product = (base * candidate).sum(dim=side, keepdim=True)
    return torch.where(power > 0, product / power.clamp_min(torch.finfo(power.dtype).tiny), 0.0)


_ONE_BYTE = frozenset({torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz})


def _comparable(values: torch.Tensor) -> torch.Tensor:
    return values.float() if values.element_size() == 1 else values.double()


def _equal(rounded: torch.Tensor, candidate: torch.Tensor) -> bool:
    return torch.equal(_comparable(rounded).double(), _comparable(candidate).double())
