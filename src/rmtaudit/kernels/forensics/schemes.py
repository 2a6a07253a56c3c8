"""The quantisation scheme that a grid or a table belongs to, by its block and by what its scales are."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch

from rmtaudit.kernels.forensics.codebooks import CodeBook
from rmtaudit.kernels.forensics.grids import Grid
from rmtaudit.kernels.forensics.lattices import fit_lattice
from rmtaudit.kernels.forensics.tables import TABLES, Values, fit_table
from rmtaudit.kernels.forensics.units import Family, spread

SUPER_BLOCK = 256
"""Weights of a super-block of llama.cpp (``QK_K``)."""

_K_QUANTS: Mapping[tuple[int, int], tuple[str, int]] = MappingProxyType(
    {
        (2, 16): ("Q2_K", 15), (3, 16): ("Q3_K", 32), (4, 32): ("Q4_K", 63), (5, 32): ("Q5_K", 63),
        (6, 16): ("Q6_K", 128),
    }
)  # fmt: skip
"""Name and largest integer scale by bits and block: the block of largest scale has it (``ggml-quants.c``)."""

_SIGNED: Mapping[tuple[int, int], str] = MappingProxyType({(4, 32): "Q4_0", (5, 32): "Q5_0"})
_AFFINE: Mapping[tuple[int, int], str] = MappingProxyType({(4, 32): "Q4_1", (5, 32): "Q5_1"})
_Q8_0 = (8, 32, 255)

_TABLE_NAMES: Mapping[str, str] = MappingProxyType(
    {"nf4": "NF4", "iq4_nl": "IQ4_NL", "fp4 (bitsandbytes)": "FP4 (bitsandbytes)"}
)
_IQ4_XS = 32
_SEEN = 24
_LEAST = 32
_ALIGNED, _SCORE = 0.3, 6.0
_MOST = 0.9
_HALF = 2.0**-11
_EXACT = 2.0**-20
_POWER = 0.02
_NATS = 20.0


def quantisation_scheme(
    matrix: torch.Tensor, levels: Grid | CodeBook | None, *, epsilon: float, smallest_normal: float
) -> str | None:
    """Return the name of the scheme that a grid or a code book belongs to; ``None`` without one.

    A scheme of llama.cpp is named where block and bits are its own, and its scales are too: integers times
    one number in every 256 weights (Q4_K, IQ4_XS), of the sign that the largest entry asks for (Q4_0), or
    with a minimum of their own (Q4_1); in float32 they must be float16 numbers. fp4 (e2m1) is MXFP4 with
    powers of two as the scales of blocks of 32, and NVFP4 with numbers of e4m3, times one number, as those
    of 16. Other grids are named by their bits, other tables by themselves. A library that stores the same
    numbers as another cannot be told from it.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, real floating dtype, finite: where ``levels`` were found.
    levels
        Of :func:`~rmtaudit.kernels.forensics.quantisation.quantisation`.
    epsilon, smallest_normal
        Unit round-off and smallest normal number of the format that the entries were last rounded to.
    """
    if levels is None:
        return None
    if isinstance(levels, Grid):
        return _of_grid(matrix, levels, epsilon, smallest_normal)
    return _of_book(matrix, levels, epsilon, smallest_normal)


def _of_grid(matrix: torch.Tensor, grid: Grid, epsilon: float, smallest_normal: float) -> str:
    own = f"int{grid.bits} {'symmetric' if grid.symmetric else 'affine'}"
    if grid.group is None or grid.family == "block":
        return own
    key = (grid.bits, grid.group)
    if key in _K_QUANTS:
        name, most = _K_QUANTS[key]

        def step(unit: torch.Tensor) -> float:
            lattice = fit_lattice(unit, epsilon, smallest_normal)
            return 0.0 if lattice is None else lattice.step

        steps = [[step(unit) for unit in parts] for parts in _super_blocks(matrix, grid.family, grid.group)]
        if _are_integers(np.array(steps), most):
            return name
    name = ""
    if grid.signed_step:
        name = _SIGNED.get(key, "")
    elif grid.symmetric:
        name = "Q8_0" if (*key, grid.levels) == _Q8_0 else ""
    elif not grid.through_zero:
        name = _AFFINE.get(key, "")
    halves = epsilon >= _HALF or _are_halves(np.array(grid.steps))
    return name if name and halves else own


def _of_book(matrix: torch.Tensor, book: CodeBook, epsilon: float, smallest_normal: float) -> str:
    if book.table is None:
        return f"code book of {book.values} values"
    if book.table == "fp4 (e2m1)":
        if book.group == 32 and _are_powers(np.array(book.scales)):
            return "MXFP4"
        if book.group == 16 and _are_e4m3(np.array(book.scales), epsilon, smallest_normal):
            return "NVFP4"
    if book.table == "iq4_nl" and book.group == 32:
        levels = TABLES[book.table]

        def scale(unit: torch.Tensor) -> float:
            fit = fit_table(unit, levels, epsilon, smallest_normal)
            return 0.0 if fit is None else fit.scale

        scales = [[scale(unit) for unit in parts] for parts in _super_blocks(matrix, book.family, book.group)]
        if _are_integers(np.array(scales), _IQ4_XS):
            return "IQ4_XS"
    return _TABLE_NAMES.get(book.table, book.table)


def _super_blocks(matrix: torch.Tensor, family: Family, group: int) -> list[torch.Tensor]:
    """Return up to 24 super-blocks, evenly spaced, cut into groups: shape ``(256 / group, group)`` each."""
    lines = matrix if family == "group along rows" else matrix.T
    per_line = lines.shape[1] // SUPER_BLOCK
    chosen = []
    for index in spread(lines.shape[0] * per_line, _SEEN):
        line, place = divmod(index, per_line)
        chosen.append(lines[line, place * SUPER_BLOCK : (place + 1) * SUPER_BLOCK].reshape(-1, group))
    return chosen


def _are_integers(scales: Values, most: int) -> bool:
    """Whether the scales of each row are integers times the one that makes the largest ``most``.

    Null hypothesis: over the largest they are of a smooth density, and the fractional parts of ``most`` times
    the ratio are uniform. Then the mean cosine of their angle has the variance ``1/(2n)`` (Rayleigh's test
    with a known direction); it must exceed 6 standard deviations, and 0.3.

    Parameters
    ----------
    scales
        Shape ``(super-blocks, blocks)``; zeros are left out.
    most
        Largest integer.
    """
    if scales.size == 0:
        return False
    sizes = np.abs(scales)
    largest = sizes.max(axis=1, keepdims=True)
    integers = most * sizes / np.where(largest > 0, largest, 1)
    integers = integers[(integers > 0) & (integers < most - 0.25)]
    if len(integers) < _LEAST:
        return False
    mean = float(np.cos(2 * np.pi * integers).mean())
    return mean > _ALIGNED and mean * np.sqrt(2 * len(integers)) > _SCORE


def _are_halves(steps: Values) -> bool:
    """Whether nine in ten are float16 numbers: of others, one in hundreds is by chance."""
    halves = steps.astype(np.float16).astype(np.float64)
    return bool(np.mean(np.abs(steps - halves) <= _EXACT * steps) >= _MOST)


def _are_powers(scales: Values) -> bool:
    """Whether nine in ten are powers of two: of others, one in 25 is by chance."""
    powers = np.log2(np.abs(scales))
    return bool(np.mean(np.abs(powers - np.rint(powers)) <= _POWER) >= _MOST)


def _are_e4m3(scales: Values, epsilon: float, smallest_normal: float) -> bool:
    levels = TABLES["fp8 (e4m3)"]
    fit = fit_table(torch.from_numpy(scales), levels, epsilon, smallest_normal)
    return fit is not None and fit.evidence > _NATS
