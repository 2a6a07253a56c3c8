"""Quantisation to a code book: few distinct values in each unit, and which table they come from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from rmtaudit.kernels.forensics.samples import Repeats, repeats, sorted_values, strided
from rmtaudit.kernels.forensics.tables import TABLES, TableFit, Values, fit_table
from rmtaudit.kernels.forensics.units import Family, unit_kinds, units

MOST_VALUES = 257
"""Distinct values of a unit: those of 8 bits, and one more."""

EVIDENCE = 50.0
"""Nats of evidence, all units together, that a table needs (as a uniform grid does)."""

_LEAST_VALUES = 4
_SHORT = 16
_BLOCKS = 128
_SAMPLE = 4096
_TENSOR_SAMPLE = 65_536
_CHANCE_COLLISIONS = 10
_EXCESS = 1.5
_TENSOR_REPEATS = 16.0
_UNIT_REPEATS = 1.5
_ROUNDING_GAP = 4.0
_FIRST = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeBook:
    """Values that were rounded to the levels of a code book.

    Attributes
    ----------
    family, group
        What shares a code book (or the scale of a table), as in a uniform grid.
    values, bits
        Most distinct values seen in a unit, and the bits that count them (those of the table, where there
        is one).
    table
        Name in :data:`~rmtaudit.kernels.forensics.tables.TABLES`; ``None`` for a code book of its own, as
        k-means makes, or for levels that rounding has blurred.
    units
        Number of units looked at; all but one in twenty at most fit.
    nats_per_value
        Evidence for the levels of the table an entry, as of a uniform grid; 0 without a table.
    scales
        Of each unit that says something, in weight units per unit of the table; empty without a table.
    """

    family: Family
    group: int | None
    values: int
    bits: int
    table: str | None
    units: int
    nats_per_value: float
    scales: tuple[float, ...] = ()


def repeats_values(matrix: torch.Tensor, known: Repeats | None = None) -> bool:
    """Whether neighbours are equal more often than entries far apart, or the matrix has few distinct values.

    A screen, for a few per cent of what it saves: entries that share a unit of at most 8 bits take its few
    levels, so among 16 neighbours along a row or a column some are equal. Entries of a smooth density are
    equal only by the rounding of their format, and then no more often to their neighbours than to others.
    Zeros do not count.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, real floating dtype, finite.
    known
        The repeats in a sample of the matrix, where they were counted already.
    """
    sample = known or repeats(matrix)
    if sample.distinct <= MOST_VALUES:
        return True
    occupied = sample.entries - sample.zeros
    equal = sample.pairs / (occupied * (occupied - 1))
    for lines in (matrix, matrix.T):
        per_line = lines.shape[1] // _SHORT
        if per_line == 0:
            continue
        total = lines.shape[0] * per_line
        count = min(_BLOCKS, total)
        chosen = torch.arange(count, device=matrix.device) * total // count
        parts = lines.unfold(1, _SHORT, _SHORT)
        ordered = sorted_values(parts[chosen // per_line, chosen % per_line])
        most = _CHANCE_COLLISIONS + _EXCESS * equal * count * _SHORT * (_SHORT - 1) / 2
        same = ordered[:, 1:] == ordered[:, :-1]
        if int(same.sum()) > most and int((same & (ordered[:, 1:] != 0)).sum()) > most:
            return True
    return False


def table_book(matrix: torch.Tensor, *, epsilon: float, smallest_normal: float) -> CodeBook | None:
    """Return the known table whose levels, times one scale a unit, all entries are on, or ``None``.

    Null hypothesis: the entries of a unit have a smooth density, rounded to the stored dtype. Under it an
    entry lies within its rounding error ``t`` of a level between neighbours ``s`` apart with probability
    ``2 t/s``. In at least 19 of 20 units all must, and the probabilities multiply to less than
    ``exp(-50)``. Of tables that contain one another the smallest is returned, and of units the coarsest.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, real floating dtype, finite.
    epsilon, smallest_normal
        Unit round-off and smallest normal number of the format that the entries were last rounded to.
    """
    for name, levels in TABLES.items():
        for family, group in unit_kinds(*matrix.shape):
            fits = _table_fits(matrix, (family, group), levels, epsilon, smallest_normal)
            if fits:
                nats = sum(fit.evidence for fit in fits) / sum(fit.values for fit in fits)
                bits = math.ceil(math.log2(len(levels)))
                return CodeBook(
                    family=family,
                    group=group,
                    values=len(levels),
                    bits=bits,
                    table=name,
                    units=len(fits),
                    nats_per_value=nats,
                    scales=tuple(fit.scale for fit in fits),
                )
    return None


def few_values(matrix: torch.Tensor, *, epsilon: float, most: int = MOST_VALUES) -> CodeBook | None:
    """Return the coarsest kind of unit with at most ``most`` distinct values, or ``None``.

    The tensor has 16 times as many entries as values, at least 4096; or 19 of 20 units have one and a half
    times as many entries as values. Entries of a smooth density repeat only as far as the rounding of
    their format makes them: the median distance of neighbouring values must be more than 4 roundings.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, real floating dtype, finite.
    epsilon
        Unit round-off of the format that the entries were last rounded to.
    most
        At most 257, the values of 8 bits and one more.
    """
    for family, group in unit_kinds(*matrix.shape):
        found = _few_in_units(matrix, family, group, epsilon, most)
        if found is not None:
            return found
    return None


def _table_fits(
    matrix: torch.Tensor,
    unit: tuple[Family, int | None],
    levels: Values,
    epsilon: float,
    smallest_normal: float,
) -> list[TableFit]:
    """Return the fit of each unit looked at; empty if the table is not theirs."""
    found: list[TableFit] = []
    failures = 0
    for number, values in enumerate(units(matrix, *unit)):
        fit = fit_table(values, levels, epsilon, smallest_normal)
        if fit is None:
            failures += 1
        elif fit.evidence > 0:
            found.append(fit)
        if failures > max(1 if number < _FIRST else 0, number // 20) or (unit[0] == "tensor" and failures):
            return []
    enough = sum(fit.evidence for fit in found) > EVIDENCE
    return found if enough and failures * 20 <= len(found) else []


def _few_in_units(
    matrix: torch.Tensor, family: Family, group: int | None, epsilon: float, most: int
) -> CodeBook | None:
    if family == "tensor":
        sample = strided(matrix, _TENSOR_SAMPLE)
        if len(sample) < _SAMPLE:
            return None
        values = _values_of(sample, epsilon, most, _TENSOR_REPEATS)
        return _own_book(family, group, values, 1) if values else None
    largest, counted, failures = 0, 0, 0
    for number, unit in enumerate(units(matrix, family, group)):
        if int(torch.count_nonzero(unit)) < _SHORT:
            continue  # mostly zeros: says nothing
        values = _values_of(unit, epsilon, most, _UNIT_REPEATS)
        counted += values > 0
        failures += values == 0
        largest = max(largest, values)
        if failures > max(1 if number < _FIRST else 0, number // 20):
            return None
    return _own_book(family, group, largest, counted) if counted and failures * 20 <= counted else None


def _own_book(family: Family, group: int | None, values: int, counted: int) -> CodeBook:
    return CodeBook(
        family=family,
        group=group,
        values=values,
        bits=math.ceil(math.log2(values)),
        table=None,
        units=counted,
        nats_per_value=0.0,
    )


def _values_of(unit: torch.Tensor, epsilon: float, most: int, repeats: float) -> int:
    """Return the number of distinct values, zero among them; 0 if they are too many or too close."""
    distinct = torch.unique(unit).double().cpu().numpy()
    few = _LEAST_VALUES <= len(distinct) <= most and len(unit) >= repeats * len(distinct)
    return len(distinct) if few and _apart(distinct, epsilon) else 0


def _apart(distinct: Values, epsilon: float) -> bool:
    """Whether the distinct values are further apart than the rounding of their format makes them."""
    roundings = 2 * epsilon * np.maximum(np.abs(distinct[1:]), np.abs(distinct[:-1]))
    return bool(np.median(np.diff(distinct) / roundings) > _ROUNDING_GAP)
