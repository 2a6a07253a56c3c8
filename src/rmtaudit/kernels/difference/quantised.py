"""Quantisation: the candidate lies on levels, and each entry on the level nearest to the base's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from rmtaudit.kernels.difference.equality import line_factors
from rmtaudit.kernels.difference.moments import Moments, moments_of
from rmtaudit.kernels.difference.samples import is_zero
from rmtaudit.kernels.forensics.codebooks import CodeBook, repeats_values
from rmtaudit.kernels.forensics.grids import Grid, uniform_grid
from rmtaudit.kernels.forensics.lattices import Lattice, fit_lattice
from rmtaudit.kernels.forensics.quantisation import quantisation
from rmtaudit.kernels.forensics.samples import strided
from rmtaudit.kernels.forensics.schemes import quantisation_scheme
from rmtaudit.kernels.forensics.units import Family, units

NEAREST = 0.95
"""Share of the entries that must lie on the nearest level of their unit: a convention. Rounding to nearest
gives 1 up to ties and clipping, a fine-tuned or another model .25 to .52 (``specs``: claims of origin)."""

_SLACK = 1.02
_TABLE = 16
"""Levels of the tables of four bits."""

_PARTS: dict[str, Family] = {"rows": "group along rows", "columns": "group along columns"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantised:
    """The candidate is the base, rounded to a few levels.

    Attributes
    ----------
    scheme
        Its name; that which the file states where it does.
    bits
        Bits that count the levels; ``None`` where only the file's scheme is known.
    unit
        What shares a scale: ``tensor``, ``row``, ``group along rows`` …
    group
        Length of a group; ``None`` where a unit is no group.
    nearest
        Share of the entries, of a sample of units, whose level is the nearest one to the base's value.
    relative_error
        Frobenius norm of the difference over that of the base.
    folded_rows
        Whether the rows of the base were multiplied by a factor each first, as batch norm is folded in.
    """

    scheme: str
    bits: int | None
    unit: str
    group: int | None
    nearest: float
    relative_error: float
    folded_rows: bool


@dataclass(frozen=True, slots=True)
class KnownEncoding:
    """What a file states of its quantised weight: the scheme, and rows and columns that share a scale."""

    scheme: str
    block: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Levels:
    """The units that share levels, whether these are equally spaced, and the rounding of the values.

    ``lattices`` are those of the units in turn, where they are known.
    """

    family: Family
    group: int | None
    uniform: bool
    epsilon: float
    smallest_normal: float
    lattices: tuple[Lattice | None, ...] = ()


def find_quantised(
    base: torch.Tensor,
    candidate: torch.Tensor,
    moments: Moments,
    *,
    epsilon: float,
    smallest_normal: float,
    known: KnownEncoding | None = None,
) -> Quantised | None:
    """Return the quantisation of the candidate, whether or not it is one of this base; ``None`` for none.

    Compare ``nearest`` with :data:`NEAREST` to tell one of this base from that of another.

    Parameters
    ----------
    base, candidate
        Equal shapes, finite, real floating.
    moments
        Of the two.
    epsilon, smallest_normal
        Unit round-off and smallest normal number of the format that the candidate was last rounded to.
    known
        What the candidate's file states.
    """
    grid: Grid | CodeBook | None = None
    candidate = _widened(candidate)
    if min(candidate.shape) > 1 and not is_zero(candidate) and repeats_values(candidate):
        grid = _levels_of(candidate, epsilon, smallest_normal)
    if grid is None and known is None:
        return None
    family: Family = "tensor"
    group: int | None = None
    if grid is not None:
        family, group = grid.family, grid.group
    elif known is not None and known.block is not None:
        family, group = _unit_of_block(known.block, (candidate.shape[0], candidate.shape[1]))
    levels = _Levels(
        family=family,
        group=group,
        uniform=isinstance(grid, Grid),
        epsilon=epsilon,
        smallest_normal=smallest_normal,
        lattices=grid.lattices if isinstance(grid, Grid) and family != "tensor" else (),
    )
    base = _widened(base)
    share = _nearest(base, candidate, levels)
    if grid is None and share < NEAREST:  # a file may keep a scale a row without saying so
        levels = replace(levels, family="row", group=None)
        share = _nearest(base, candidate, levels)
    folded = False
    if share < NEAREST:
        wide = base.double()
        wide *= line_factors(wide, candidate.double())
        better = _nearest(wide, candidate, levels)
        if better >= NEAREST:
            share, folded, moments = better, True, moments_of(wide, candidate)
    name = known.scheme if known is not None else None
    if name is None:
        name = quantisation_scheme(candidate, grid, epsilon=epsilon, smallest_normal=smallest_normal) or ""
    return Quantised(
        scheme=name,
        bits=None if grid is None else grid.bits,
        unit=levels.family,
        group=levels.group,
        nearest=share,
        relative_error=moments.relative_norm or 0.0,
        folded_rows=folded,
    )


def _widened(matrix: torch.Tensor) -> torch.Tensor:
    """Return the matrix in float32 where it is in a narrower format, which is exact."""
    return matrix if matrix.element_size() >= 4 else matrix.float()


def _levels_of(candidate: torch.Tensor, epsilon: float, smallest_normal: float) -> Grid | CodeBook | None:
    """Return the grid or the code book of a matrix; tables are tried only where they could lie on the grid.

    A table of 16 levels that lies on a uniform grid leaves levels out: the grid has more than 17, of which
    no unit uses more than 16.
    """
    uniform = uniform_grid(candidate, epsilon=epsilon, smallest_normal=smallest_normal)
    if uniform is not None:
        sample = next(iter(units(candidate, uniform.family, uniform.group)))
        if uniform.levels <= _TABLE + 1 or len(torch.unique(sample)) > _TABLE:
            return uniform
    grid, book = quantisation(candidate, epsilon=epsilon, smallest_normal=smallest_normal)
    return grid or book


def _unit_of_block(block: tuple[int, int], shape: tuple[int, int]) -> tuple[Family, int | None]:
    rows, columns = block
    if rows == 1:
        return ("row", None) if columns >= shape[1] else (_PARTS["rows"], columns)
    if columns == 1:
        return ("column", None) if rows >= shape[0] else (_PARTS["columns"], rows)
    return "tensor", None


def _nearest(base: torch.Tensor, candidate: torch.Tensor, levels: _Levels) -> float:
    """Return the share of entries on the level nearest to the base's value, over up to 64 units.

    The levels of a uniform grid are half a step apart at most from what they round; those of any other unit
    are the values that it holds.
    """
    pairs = list(zip(_units(base, levels), _units(candidate, levels), strict=True))
    if not levels.uniform:
        return _share(pairs, [_reach(wanted.double(), stored.double()) for wanted, stored in pairs], levels)
    lattices = levels.lattices or tuple(
        fit_lattice(stored, levels.epsilon, levels.smallest_normal) for _, stored in pairs
    )
    steps = [0.0 if lattice is None else lattice.step for lattice in lattices]
    reaches = [
        wanted.new_tensor(step / 2, dtype=torch.float64)
        if step > 0
        else _reach(wanted.double(), stored.double())
        for step, (wanted, stored) in zip(steps, pairs, strict=True)
    ]
    return _share(pairs, reaches, levels)


def _share(
    pairs: list[tuple[torch.Tensor, torch.Tensor]], reaches: list[torch.Tensor | None], levels: _Levels
) -> float:
    """Return the share of stored values within a reach of the wanted ones; units without one do not count."""
    kept = [
        (wanted, stored, reach)
        for (wanted, stored), reach in zip(pairs, reaches, strict=True)
        if reach is not None
    ]
    if not kept:
        return 0.0
    wanted, stored = (torch.cat([each[side] for each in kept]).double() for side in (0, 1))
    reach = torch.cat([reach.expand(len(stored)) for _, stored, reach in kept])
    tolerance = 4 * levels.epsilon * torch.maximum(stored.abs(), wanted.abs())
    near = (stored - wanted).abs() <= _SLACK * reach + tolerance
    return int(near.sum()) / len(near)


def _reach(wanted: torch.Tensor, stored: torch.Tensor) -> torch.Tensor | None:
    """Return how far the nearest value of a unit is from each wanted one; ``None`` for a single value."""
    used: torch.Tensor = torch.unique(stored)
    if len(used) < 2:
        return None
    place = torch.searchsorted(used, wanted.contiguous()).clamp(1, len(used) - 1)
    return torch.minimum((used[place] - wanted).abs(), (used[place - 1] - wanted).abs())


def _units(matrix: torch.Tensor, levels: _Levels) -> list[torch.Tensor]:
    if levels.family == "tensor":  # that of the forensics depends on the zeros, which differ between the two
        return [strided(matrix.contiguous(), 65_536)]
    return list(units(matrix.contiguous(), levels.family, levels.group))
