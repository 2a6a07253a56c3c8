"""Quantisation: entries that lie on a grid of equally spaced levels, and the unit that shares a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from rmtaudit.kernels.forensics.lattices import LEVELS, Lattice, fit_lattice
from rmtaudit.kernels.forensics.units import Family, unit_kinds, units

EVIDENCE = 50.0
"""Nats of evidence, all units together, that a grid needs."""

_COARSE = 2.0**-10
_FEW = 64
_SUPER_BLOCK = 256
_FINER = math.log(4)
"""Nats a value by which the levels of a part of a group say more: their step is 4 times as large."""
_MOST = 0.9
_SOME = 0.1
_FOUR_BITS = 8
_Lattices = list[Lattice | None]
_FIRST = 12
"""Units after which more than one failure in twenty ends the search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A uniform quantisation grid.

    Attributes
    ----------
    family, group
        What shares a step: the tensor, each row, each column, or each group of ``group`` neighbours.
    levels, bits
        Number of levels of the widest unit seen, occupied or not, and the bits that count them.
    symmetric
        The step was set by the largest absolute entry: zero is a level, and the last level is the same in
        every unit (of one unit: is that of some number of bits).
    through_zero
        Zero is a level, in use or not.
    signed_step
        The step has the sign that makes the largest absolute entry of a unit the lowest code of two's
        complement: every unit reaches 8 levels from zero on one side, never on both, as Q4_0 has it.
    zero_point
        Levels below zero, where one grid serves the tensor and zero is a level; ``None`` otherwise.
    step
        Median over the units seen, in weight units.
    steps
        Of each unit that says something, in weight units.
    units
        Number of units looked at; all but one in twenty at most fit.
    evidence
        Sum of ``-log`` probability, in nats, that values of a smooth density lie this near to the levels.
    nats_per_value
        The same an entry.
    lattices
        Of every unit looked at, in the order of :func:`~rmtaudit.kernels.forensics.units.units`; ``None`` for
        those that do not fit.
    """

    family: Family
    group: int | None
    levels: int
    bits: int
    symmetric: bool
    through_zero: bool
    signed_step: bool
    zero_point: int | None
    step: float
    steps: tuple[float, ...]
    units: int
    evidence: float
    nats_per_value: float
    lattices: tuple[Lattice | None, ...] = field(default=(), repr=False)


def uniform_grid(matrix: torch.Tensor, *, epsilon: float, smallest_normal: float) -> Grid | None:
    """Return the coarsest uniform grid of at most 257 levels that the entries lie on, or ``None``.

    Null hypothesis: the entries of a unit have a smooth density, rounded to the stored dtype. Under it an
    entry lies within ``t`` of the nearest of levels ``s`` apart with probability ``2 t/s``, where ``t`` is
    the rounding error of the entry. All entries must, and the probabilities multiply to less than
    ``exp(-50)``. A floating grid (bfloat16, fp8) gives no evidence: there the rounding error is as large
    as the spacing.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, real floating dtype, finite.
    epsilon, smallest_normal
        Unit round-off and smallest normal number of the format that the entries were last rounded to.
    """
    fits: list[tuple[Family, int | None, _Lattices]] = []
    for family, group in unit_kinds(*matrix.shape):
        lattices = _fit_family(matrix, family, group, epsilon, smallest_normal)
        if lattices:
            if epsilon < _COARSE and not fits and not _may_be_super_blocks(_telling(lattices)):
                # in a precise format a coarse unit does not fit the grid of a finer one …
                return _describe(family, group, lattices)
            fits.append((family, group, lattices))
    if not fits:
        return None
    clearest = max(_evidence_a_value(_telling(lattices)) for _, _, lattices in fits)
    # … unless its parts have integers times one number as their steps (super-blocks of llama.cpp)
    enough = clearest - _FINER if epsilon < _COARSE else 0.8 * clearest
    return next(_describe(*fit) for fit in fits if _evidence_a_value(_telling(fit[2])) >= enough)


def _telling(lattices: _Lattices) -> list[Lattice]:
    """Return the lattices of the units that say something."""
    return [lattice for lattice in lattices if lattice is not None and lattice.evidence > 0]


def _may_be_super_blocks(lattices: list[Lattice]) -> bool:
    """Whether the units have so many levels, for so few entries, that those of their parts may be coarser."""
    many = max(lattice.high - lattice.low for lattice in lattices) > _FEW
    return many and max(lattice.values for lattice in lattices) <= _SUPER_BLOCK


def _evidence_a_value(lattices: list[Lattice]) -> float:
    return sum(each.evidence for each in lattices) / sum(each.values for each in lattices)


def _fit_family(
    matrix: torch.Tensor, family: Family, group: int | None, epsilon: float, smallest_normal: float
) -> _Lattices:
    """Return the lattice of each unit looked at; empty if the family does not fit."""
    fitted: _Lattices = []
    failures = 0
    for number, unit in enumerate(units(matrix, family, group)):
        lattice = fit_lattice(unit, epsilon, smallest_normal)
        fitted.append(lattice)
        failures += lattice is None
        if failures > max(1 if number < _FIRST else 0, number // 20) or (family == "tensor" and failures):
            return []
    telling = _telling(fitted)
    enough = sum(lattice.evidence for lattice in telling) > EVIDENCE
    return fitted if enough and failures * 20 <= len(telling) else []


def _describe(family: Family, group: int | None, fitted: _Lattices) -> Grid:
    lattices = _telling(fitted)
    steps = sorted(lattice.step for lattice in lattices)
    anchored = sum(lattice.anchored for lattice in lattices) >= _MOST * len(lattices)
    spans = [lattice.high - lattice.low for lattice in lattices]
    reaches = [max(-lattice.low, lattice.high) for lattice in lattices]
    span, reach = max(spans), max(reaches)
    symmetric = anchored and _is_symmetric(lattices, reach, reaches.count(reach) >= spans.count(span))
    levels = span + 1
    if symmetric:
        levels = 2 * reach if reach > 1 and reach & (reach - 1) == 0 else 2 * reach + 1
    levels = min(levels, LEVELS - 1)
    return Grid(
        family=family,
        group=group,
        levels=levels,
        bits=math.ceil(math.log2(levels)),
        symmetric=symmetric,
        through_zero=anchored,
        signed_step=symmetric and _has_signed_step(lattices, reach),
        zero_point=-lattices[0].low if anchored and family == "tensor" else None,
        step=steps[len(steps) // 2],
        steps=tuple(lattice.step for lattice in lattices),
        units=len(lattices),
        evidence=sum(lattice.evidence for lattice in lattices),
        nats_per_value=_evidence_a_value(lattices),
        lattices=tuple(fitted),
    )


def _is_symmetric(lattices: list[Lattice], reach: int, mostly_reached: bool) -> bool:
    """Whether the last level is the same in every unit: ±7 (±1, ±127), or -8 … 7 in two's complement.

    Of several units, some may have their extreme clamped from 8 to 7, or a negative step (-7 … 8).
    """
    if reach > 1 and reach & (reach - 1) == 0:
        lowest = sum(-each.low == reach > each.high for each in lattices)
        clamped = sum(
            -each.low == reach - 1 >= each.high or each.high == reach - 1 >= -each.low for each in lattices
        )
        plain = lowest >= _MOST * len(lattices)
        rounded = lowest >= _SOME * len(lattices) and lowest + clamped >= _MOST * len(lattices)
        return plain or (rounded and len(lattices) > 1) or _has_signed_step(lattices, reach)
    return mostly_reached and (len(lattices) > 1 or reach & (reach + 1) == 0)


def _has_signed_step(lattices: list[Lattice], reach: int) -> bool:
    """Whether nearly every unit reaches the last level of two's complement, a good many of them mirrored."""
    if reach < _FOUR_BITS or reach & (reach - 1) != 0:
        return False  # of fewer levels, zero points about the middle look the same
    mirrored = sum(each.high == reach > -each.low for each in lattices)
    lowest = sum(-each.low == reach > each.high for each in lattices)
    return mirrored + lowest >= _MOST * len(lattices) and min(mirrored, lowest) >= _SOME * len(lattices)
