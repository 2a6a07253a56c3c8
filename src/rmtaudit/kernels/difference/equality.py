"""Equal values, a cast of them, and multiples: of the matrix, of its rows, of its columns."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Literal

import torch

from rmtaudit.kernels.difference.formats import NARROW, cast, truncated, ulp
from rmtaudit.kernels.difference.moments import Moments, bands
from rmtaudit.kernels.difference.samples import even_rows
from rmtaudit.kernels.spectra.gram import row_bands

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
    alike = base.dtype == candidate.dtype and base.dtype not in _ONE_BYTE
    if alike and torch.equal(base, candidate):
        return True
    parts = chain(
        [(even_rows(base), even_rows(candidate))],
        ((base[band], candidate[band]) for band in row_bands(base.shape)),
    )
    for ours, theirs in parts:
        if not alike:
            ours, theirs = _comparable(ours), _comparable(theirs)
        if not bool(((ours == theirs) | (ours.isnan() & theirs.isnan())).all()):
            return False
    return True


def find_cast(base: torch.Tensor, candidate: torch.Tensor, moments: Moments) -> Cast | None:
    """Return the coarsest format that the base was cast to, entry by entry; ``None`` for none.

    Parameters
    ----------
    base, candidate
        Equal shapes, finite, floating, not equal in values.
    moments
        Of the two.
    """
    first, second = even_rows(base), even_rows(candidate)
    for dtype in NARROW:
        for rounding, rounded in (("nearest", cast), ("toward zero", truncated)):
            if not _equal(rounded(first, dtype), second):
                continue
            if all(_equal(rounded(base[band], dtype), candidate[band]) for band in row_bands(base.shape)):
                return cast_of(moments, dtype, rounding)  # type: ignore[arg-type]
    return None


def within_one_unit(base: torch.Tensor, candidate: torch.Tensor, dtype: str) -> bool:
    """Whether no entry differs by more than a unit in the last place of the candidate's format."""
    for first, second in ((even_rows(base), even_rows(candidate)), (base, candidate)):
        for _, ours, theirs in bands(first, second):
            unit = torch.maximum(ulp(theirs, dtype), ulp(ours, dtype))
            if not bool((theirs.sub_(ours).abs_() <= unit).all()):
                return False
    return True


def cast_of(
    moments: Moments, dtype: str, rounding: Literal["nearest", "toward zero", "within one unit"]
) -> Cast:
    """Return the cast with its numbers."""
    return Cast(
        dtype=dtype,
        rounding=rounding,
        changed=moments.differing,
        relative_error=moments.relative_norm or 0.0,
    )


def find_scaled(base: torch.Tensor, candidate: torch.Tensor, moments: Moments, dtype: str) -> Scaled | None:
    """Return the factors by which the candidate is a multiple of the base; ``None`` for none.

    Every entry must lie within two units in the last place of the candidate's format.

    Parameters
    ----------
    base, candidate
        Equal shapes, real floating, finite.
    moments
        Of the two.
    dtype
        The format that the candidate was last rounded to.
    """
    if not moments.base_square or not _is_occupied(base):
        return None
    factor = moments.product / moments.base_square
    if _is_multiple(base, candidate, factor, dtype):
        near = round(factor)
        if near and _is_multiple(base, candidate, near, dtype):
            factor = float(near)
        return Scaled("matrix", factor, factor, factor)
    along: Literal["rows", "columns"]
    for along, side in (("rows", 1), ("columns", 0)):
        if base.shape[side] < _LEAST_LINE:
            continue
        first, second = (even_rows(each if side else each.T).double() for each in (base, candidate))
        if not _is_near(first, second, line_factors(first, second), dtype):
            continue
        known = _known_factors(*((base, candidate) if side else (base.T, candidate.T)), dtype)
        if known is None:
            continue
        if bool((known == 0).any()):
            return None  # whole lines were set to zero
        return Scaled(along, float(known.median()), float(known.min()), float(known.max()))
    return None


def _known_factors(base: torch.Tensor, candidate: torch.Tensor, dtype: str) -> torch.Tensor | None:
    """Return the factors of the rows that have enough entries; ``None`` where not all rows are multiples."""
    known = []
    for _, ours, theirs in bands(base, candidate):
        filled = torch.count_nonzero(ours, dim=1) >= _LEAST_LINE
        factors = line_factors(ours, theirs)
        if not _is_near(ours, theirs, factors, dtype):
            return None
        known.append(factors.reshape(-1)[filled])
    result = torch.cat(known)
    return result if len(result) >= _SHARE * len(base) else None


def _is_occupied(base: torch.Tensor) -> bool:
    """Whether a matrix has enough entries that are not zero; a few rows are counted first."""
    return any(int(torch.count_nonzero(part.double())) >= _LEAST_LINE for part in (even_rows(base), base))


def _is_multiple(base: torch.Tensor, candidate: torch.Tensor, factor: float, dtype: str) -> bool:
    """Whether every entry is that of the base times the factor, to rounding; a few rows are tried first."""
    return all(
        _is_near(ours, theirs, factor, dtype)
        for first, second in ((even_rows(base), even_rows(candidate)), (base, candidate))
        for _, ours, theirs in bands(first, second)
    )


def _is_near(base: torch.Tensor, candidate: torch.Tensor, factors: torch.Tensor | float, dtype: str) -> bool:
    distance = (candidate - factors * base).abs_()
    return bool((distance <= _ULPS * ulp(candidate, dtype)).all())


def line_factors(base: torch.Tensor, candidate: torch.Tensor) -> torch.Tensor:
    """Return the least-squares factor of every row of the candidate by the base's, 0 for empty rows.

    Parameters
    ----------
    base, candidate
        Equal shapes, float64.

    Returns
    -------
    torch.Tensor
        Shape ``(rows, 1)``, float64.
    """
    power = torch.linalg.vecdot(base, base)
    product = torch.linalg.vecdot(base, candidate)
    factors = torch.where(power > 0, product / power.clamp_min(torch.finfo(power.dtype).tiny), 0.0)
    return factors[:, None]


_ONE_BYTE = frozenset({torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz})


def _comparable(values: torch.Tensor) -> torch.Tensor:
    return values.float() if values.element_size() == 1 else values.double()


def _equal(rounded: torch.Tensor, candidate: torch.Tensor) -> bool:
    return torch.equal(_comparable(rounded).double(), _comparable(candidate).double())
