"""Orthogonal starts: whole, in blocks, with a scale for each block, and one block of a larger one."""

from __future__ import annotations

import math

import torch

_LEAST = 8
_MOST_BLOCKS = 64
_COARSEST = 0.1
_COMPUTED, _COMPUTED_PER_LENGTH = 64 * 2.0**-24, 8 * 2.0**-24
"""How far the singular values of a float32 QR factorisation, and of cosines of float32 angles, are from 1."""

_NOISE = 0.5
"""Largest tolerance, in units of what independent entries give.

The Gram matrix of ``n x m`` independent entries, ``n <= m``, differs from a multiple of the identity by
``n (n + 1)/2`` normal numbers of standard deviation ``1/√m`` (``√2/√m`` on the diagonal). For all to be below
half of that has probability 1e-16 for ``n = 8``. Their eigenvalues spread over about ``√(n/m)`` and more.
"""

_BY_CHANCE = 1e-9
"""Probability with which independent entries may pass for orthogonal blocks."""


def spread_tolerance(rows: int, cols: int, epsilon: float) -> float:
    """Return by how much ``σ_max/σ_min`` of a stored orthogonal matrix may exceed 1.

    Rounding with unit round-off ``epsilon`` changes an entry of ``σ/√max(rows, cols)`` by at most ``epsilon``
    times that, and so a singular value by at most about ``epsilon σ (√rows + √cols)/√max(rows, cols)``. Where
    one side is much longer, that is more than the spread of independent entries, and the errors average out:
    then half of the spread of noise is the tolerance.
    """
    return min(_rounding(rows, cols, epsilon), _NOISE * math.sqrt(min(rows, cols) / max(rows, cols)))


def _rounding(rows: int, cols: int, epsilon: float) -> float:
    sides = (math.sqrt(rows) + math.sqrt(cols)) / math.sqrt(max(rows, cols))
    return 8 * epsilon * sides + _COMPUTED + _COMPUTED_PER_LENGTH * max(rows, cols)


def is_orthogonal(eigenvalues: torch.Tensor, rows: int, cols: int, epsilon: float) -> bool:
    """Whether all singular values of a matrix are equal within rounding.

    Parameters
    ----------
    eigenvalues
        Of ``WᵀW``, ascending, shape ``(n,)`` with ``n >= min(rows, cols)``; the last ``min(rows, cols)``
        count.
    rows, cols
        Number of rows and columns that hold anything.
    epsilon
        Unit round-off of the stored entries.

    Notes
    -----
    Needs at least 8 singular values, and says no where rounding alone may spread them by 0.1 (fp8).
    """
    tolerance = spread_tolerance(rows, cols, epsilon)
    values = eigenvalues[len(eigenvalues) - min(rows, cols) :]
    if len(values) < _LEAST or _rounding(rows, cols, epsilon) > _COARSEST or not values[0] > 0:
        return False
    return math.sqrt(float(values[-1]) / float(values[0])) - 1 <= tolerance


def is_block_of_orthogonal(eigenvalues: torch.Tensor, rows: int, cols: int, whole: int) -> bool:
    """Whether a matrix looks like ``rows x cols`` entries of a random orthogonal matrix of size ``whole``.

    The gates of a recurrent layer, initialised together, are such blocks: their singular values follow the
    Jacobi law, not that of noise. Compared are ``tr (WᵀW)²/(tr WᵀW)²``, to 3 parts in ``min(rows, cols)`` of
    its exact mean (4 standard deviations), and the largest eigenvalue, with the edge of the law.

    References
    ----------
    Collins, Śniady, *Integration with respect to the Haar measure on unitary, orthogonal and symplectic
    group*, Comm. Math. Phys. 264 (2006), for the fourth moments; Wachter, Ann. Statist. 8 (1980), for the
    edge.
    """
    p, q, n = rows, cols, whole
    if max(p, q) > n or min(p, q) < _LEAST or min(p, q) == n:
        return False
    same, crossed = n * (n + 2), n * (n - 1) * (n + 2)
    second = p * q * (3 + (p - 1) + (q - 1)) / same - p * (p - 1) * q * (q - 1) / crossed
    trace = float(eigenvalues.sum())
    ratio = float(eigenvalues.square().sum()) / trace**2 / (second / (p * q / n) ** 2)
    a, b = p / n, q / n
    edge = (math.sqrt(a * (1 - b)) + math.sqrt(b * (1 - a))) ** 2 if a + b < 1 else 1.0
    largest = float(eigenvalues[-1]) / trace * p * q / n
    small = min(p, q)
    return abs(ratio - 1) <= 3 / small and largest <= edge * (1 + 6 * small ** (-2 / 3))


def orthogonal_blocks(matrix: torch.Tensor, epsilon: float) -> int | None:
    """Return the number of equal blocks of rows that are each orthogonal, or ``None`` if there are none.

    Each block may have a scale of its own, as the heads of an attention layer have.
    """
    rows, cols = matrix.shape
    for count in range(2, _MOST_BLOCKS + 1):
        height, rest = divmod(rows, count)
        if rest or height < _LEAST:
            continue
        if not _beyond_chance(count, height, cols, epsilon):
            continue
        blocks = matrix.reshape(count, height, cols)
        if _block_is_orthogonal(blocks[0], epsilon) and all(
            _block_is_orthogonal(block, epsilon) for block in blocks[1:]
        ):
            return count
    return None


def scaled_orthogonal(matrix: torch.Tensor, epsilon: float) -> int | None:
    """Return how many equal blocks of rows were scaled apart after an orthogonal start, or ``None``.

    If ``W = DQ`` with ``QᵀQ = 1`` and one scale a block, then ``Σ_b W_bᵀW_b/d_b² = 1``: linear in the weights
    ``1/d_b²``, which are found by least squares; then all singular values of ``D⁻¹W`` must be equal.
    With no more rows than columns, ``W`` scaled to rows of one length is tested.
    """
    rows, cols = matrix.shape
    wide = matrix.double()
    if rows <= cols:
        lengths = wide.norm(dim=1, keepdim=True)
        even = wide / lengths.clamp(min=1e-300)
        sure = _beyond_chance(1, rows, cols, epsilon, scales=rows)
        return rows if sure and _block_is_orthogonal(even, epsilon) else None
    for count in (count for count in range(2, _MOST_BLOCKS + 1) if rows % count == 0):
        if rows // count < _LEAST or count * cols * cols > 1 << 24:
            continue
        if not _beyond_chance(1, rows, cols, epsilon, scales=count):
            continue
        blocks = wide.reshape(count, -1, cols)
        grams = (blocks.mT @ blocks).reshape(count, -1)
        identity = torch.eye(cols, dtype=torch.float64, device=matrix.device).reshape(-1)
        weights = torch.linalg.lstsq((grams @ grams.T), (grams @ identity)[:, None]).solution[:, 0]
        if not bool((weights > 0).all()):
            continue
        if _flat((weights @ grams).view(cols, cols), rows, cols, epsilon):
            return count
    return None


def _block_is_orthogonal(block: torch.Tensor, epsilon: float) -> bool:
    wide = block.double()
    product = wide @ wide.T if wide.shape[0] <= wide.shape[1] else wide.T @ wide
    return _flat(product, block.shape[0], block.shape[1], epsilon)


def _flat(product: torch.Tensor, rows: int, cols: int, epsilon: float) -> bool:
    """Whether the Gram matrix of ``rows x cols`` entries is a multiple of the identity within rounding."""
    scale = float(product.diagonal().mean())
    if not scale > 0 or _rounding(rows, cols, epsilon) > _COARSEST:
        return False
    identity = torch.eye(len(product), dtype=product.dtype, device=product.device)
    return float((product / scale - identity).abs().max()) <= _gram_tolerance(rows, cols, epsilon)


def _gram_tolerance(rows: int, cols: int, epsilon: float) -> float:
    """Return by how much the entries of a Gram matrix of mean diagonal 1 may differ from the identity."""
    return min(2 * _rounding(rows, cols, epsilon), _NOISE / math.sqrt(max(rows, cols)))


def _beyond_chance(blocks: int, rows: int, cols: int, epsilon: float, *, scales: int = 1) -> bool:
    """Whether blocks of independent entries would not pass for orthogonal ones.

    ``scales`` is the number of scales that are fitted to each block: as many comparisons say nothing.
    """
    small, large = min(rows, cols), max(rows, cols)
    comparisons = blocks * (small * (small + 1) // 2 - scales)
    each = 2 / math.sqrt(2 * math.pi) * _gram_tolerance(rows, cols, epsilon) * math.sqrt(large)
    return comparisons > 0 and each**comparisons <= _BY_CHANCE
