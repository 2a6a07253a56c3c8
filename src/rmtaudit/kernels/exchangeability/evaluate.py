"""The tests of exchangeability of one matrix, together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from rmtaudit.kernels.exchangeability.moments import (
    BAND,
    gamma_p_value,
    neighbour_products,
    permutation_moments,
    skewed_p_value,
    squared_group_sums,
)

_CLIP = 3.0
"""Scores are clipped at this many robust standard deviations, so that no single entry decides."""

_WITHIN_ONE_SIGMA = 0.6826894921370859
_SAMPLE = 65_536
_DECIDED = 1e-12
"""Once a p-value is this small, the Gram matrices, which cost most, are left out."""


@dataclass(frozen=True, slots=True)
class Exchangeability:
    """The result of testing that every arrangement of the entries is equally likely.

    Attributes
    ----------
    p_value
        The smallest p-value times the number of tests (Bonferroni), at most 1.
    strongest
        The test with the smallest p-value: ``"sizes of rows"``, ``"neighbours along columns"`` …
    p_values
        Two-sided p-value of every test, by name.
    """

    p_value: float
    strongest: str
    p_values: dict[str, float]


def exchangeability(matrix: torch.Tensor, kernel: tuple[int, ...] = ()) -> Exchangeability:
    r"""Test whether the entries of a matrix are in random order, whatever their distribution.

    Null hypothesis: given the values, every arrangement is equally likely, as for independent and
    identically distributed entries. No draw is made: mean and variance of each statistic over all
    permutations have closed forms. The scores are the entries clipped at three robust standard deviations
    ("means") and their squares ("sizes"), both centred.

    - Groups: ``Σ_g S_g²/k_g`` with ``S_g`` the sum of the scores over a group of ``k_g`` places. The
      groups are
      the rows and the columns; of a convolution also the inputs, the kernel positions, the pairs of output
      and position, and those of output and input. Tail: the gamma law with the exact mean and variance.
    - Neighbours: ``Σ a_t a_{t+1}`` along every axis. Tail: the shifted gamma law with the exact mean and
      variance and the skewness of independent scores; products of squared entries are far from normal in
      small kernels.
    - Alignment, of a convolution: ``Σ cos²`` between the unfoldings by kernel position, and by input; between
      random directions of length ``c`` it has mean ``1/c`` and variance ``2(c-1)/(c²(c+2))`` a pair. Rows and
      columns are left to the test of random signs (:func:`rmtaudit.kernels.noise.sign_flip.rectangle_test`).

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, floating, finite.
    kernel
        Sizes of the kernel of a flattened convolution: ``cols`` is inputs times their product. Empty for any
        other matrix.

    Raises
    ------
    ValueError
        If the matrix has fewer than 16 entries, if its entries all have one value, or if the kernel does not
        divide the columns.
    """
    rows, cols = matrix.shape
    positions = math.prod(kernel)
    if matrix.numel() < 16 or cols % positions:
        raise ValueError(f"no tests for {rows} x {cols} with a kernel of {kernel}")
    means, sizes = _scores(matrix)
    if not _vary(means):
        raise ValueError("all entries have the same value")
    shape = (rows, cols // positions, *(size for size in kernel if size > 1))
    found: dict[str, float] = {}
    for kind, scores in (("means", means), ("sizes", sizes)):
        if not _vary(scores):  # all of one size: signs are all there is
            continue
        moments = permutation_moments(scores)
        for name, sums, count in _group_sums(scores.view(shape)):
            statistic = float(sums.square().sum()) / count
            group_sizes = torch.full((sums.numel(),), float(count), dtype=torch.float64)
            found[f"{kind} of {name}"] = gamma_p_value(statistic, *squared_group_sums(moments, group_sizes))
        for name, product, length in _along_axes(scores.view(shape)):
            found[f"{kind} of neighbours along {name}"] = skewed_p_value(
                product, *neighbour_products(moments, length)
            )
    if positions > 1 and min(found.values()) > _DECIDED:
        for name, unfolded in _unfoldings(means.view(rows, -1, positions)):
            found[f"alignment of {name}"] = _alignment(unfolded)
    return _together(found)


def exchangeability_of_nonzeros(matrix: torch.Tensor) -> Exchangeability:
    """Test whether the entries that are not zero are in random order among their own places.

    Null hypothesis: given which entries are zero, every arrangement of the others is equally likely. The
    groups are the rows and the columns, now of unequal sizes.

    Raises
    ------
    ValueError
        If fewer than 16 entries are not zero, or all those have one value.
    """
    occupied = matrix != 0
    values = matrix[occupied]
    if values.numel() < 16:
        raise ValueError(f"only {values.numel()} entries are not zero")
    means, sizes = _scores(values)
    if not bool((means != 0).any()):
        raise ValueError("all nonzero entries have the same value")
    found: dict[str, float] = {}
    places = occupied.nonzero(as_tuple=True)
    for kind, scores in (("means", means), ("sizes", sizes)):
        if not bool((scores != 0).any()):
            continue
        moments = permutation_moments(scores)
        for name, index, lines in zip(("rows", "columns"), places, matrix.shape, strict=True):
            counts = torch.bincount(index, minlength=lines).double()
            sums = torch.zeros(lines, dtype=torch.float64, device=matrix.device).index_add_(0, index, scores)
            held = counts > 0
            statistic = float((sums[held].square() / counts[held]).sum())
            found[f"{kind} of {name}"] = gamma_p_value(
                statistic, *squared_group_sums(moments, counts[held].cpu())
            )
    return _together(found)


def _together(found: dict[str, float]) -> Exchangeability:
    strongest = min(found, key=lambda name: found[name])
    return Exchangeability(min(1.0, len(found) * found[strongest]), strongest, found)


def _scores(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the clipped entries and their squares, centred, flat, float64, in robust standard deviations."""
    flat = values.reshape(-1).double()
    stride = max(1, flat.numel() // _SAMPLE) | 1  # odd: few shapes have lines that it would miss
    sample = flat[::stride].abs()
    sigma = float(sample.kthvalue(math.ceil(_WITHIN_ONE_SIGMA * len(sample))).values)
    if sigma == 0:  # most entries are 0
        sigma = float(flat.abs().max())
    own = values.dtype != torch.float64  # then ``flat`` is a copy
    clipped = (flat.div_(sigma or 1.0) if own else flat / (sigma or 1.0)).clamp_(-_CLIP, _CLIP)
    squares = _centred(clipped.square())
    return clipped.sub_(clipped.mean()), squares


def _vary(scores: torch.Tensor) -> bool:
    """Return whether centred scores are not all 0, without a mask of them."""
    low, high = torch.aminmax(scores)
    return float(low) < 0 or float(high) > 0


def _centred(squares: torch.Tensor) -> torch.Tensor:
    """Take their mean off the squares, in place, and return them: exactly 0 where they all have one value."""
    low, high = torch.aminmax(squares)
    return squares.zero_() if float(low) == float(high) else squares.sub_(squares.mean())


def _group_sums(scores: torch.Tensor) -> Iterator[tuple[str, torch.Tensor, int]]:
    """Yield name, sums and group size of every grouping that is none of the others under another name."""
    rows, inputs = scores.shape[:2]
    if scores.ndim == 2:
        yield from _longer_than_one(("rows", scores.sum(1), inputs), ("columns", scores.sum(0), rows))
        return
    by_position = scores.reshape(rows, inputs, -1)
    positions = by_position.shape[2]
    out_position, out_input = by_position.sum(1), by_position.sum(2)
    groupings = [("rows", out_input.sum(1), inputs * positions), ("columns", by_position.sum(0), rows)]
    if positions > 1 and inputs > 1:
        groupings += [
            ("inputs", out_input.sum(0), rows * positions),
            ("positions", out_position.sum(0), rows * inputs),
            ("outputs and positions", out_position, inputs),
            ("outputs and inputs", out_input, positions),
        ]
    yield from _longer_than_one(*groupings)


def _longer_than_one(*groupings: tuple[str, torch.Tensor, int]) -> Iterator[tuple[str, torch.Tensor, int]]:
    for name, sums, size in groupings:
        if sums.numel() > 1 and size > 1:
            yield name, sums, size


def _along_axes(scores: torch.Tensor) -> Iterator[tuple[str, float, int]]:
    names = (
        "columns",
        "rows" if scores.ndim == 2 else "inputs",
        *(f"kernel side {side}" for side in range(9)),
    )
    for axis, (name, length) in enumerate(zip(names, scores.shape, strict=False)):
        if length > 2:
            ahead, behind = scores.narrow(axis, 1, length - 1), scores.narrow(axis, 0, length - 1)
            step = max(1, BAND // max(1, scores[0].numel()))
            bands = [slice(start, start + step) for start in range(0, len(ahead), step)]
            # no product of the whole
            products = torch.stack([(ahead[band] * behind[band]).sum() for band in bands])
            yield name, float(products.sum()), length


def _unfoldings(scores: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    rows, inputs, positions = scores.shape
    if inputs > 1:
        yield "positions", scores.permute(2, 0, 1).reshape(positions, -1)
    if 1 < inputs <= rows * positions:
        yield "inputs", scores.permute(1, 0, 2).reshape(inputs, -1)


def _alignment(unfolded: torch.Tensor) -> float:
    """Return the two-sided p-value of the squared cosines between the rows."""
    lengths = unfolded.norm(dim=1, keepdim=True)
    held = unfolded[lengths[:, 0] > 0] / lengths[lengths[:, 0] > 0]
    count, size = held.shape
    pairs = count * (count - 1) / 2
    cosines = float((held @ held.T).square().sum() - held.square().sum(1).square().sum()) / 2
    return gamma_p_value(cosines, pairs / size, pairs * 2 * (size - 1) / (size**2 * (size + 2)))
