"""Do the points come in random order? Extrapolation presumes it, and the order can be tested.

If the points are exchangeable, any reordering of a few of them is as likely as the given one. So statistics
of the log-determinants of small principal submatrices have an exact null distribution: that over random
orders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

LEVEL = 0.01
"""Of the three tests together."""
MOST_ROWS, MOST_POINTS, LEAST_POINTS = 192, 128, 16
_DRAWS = 666
"""Enough for three two-sided tests to reject at the level together; more would cost seconds."""
_CHUNK = 37
_ENOUGH = 20
"""Draws on the rarer side after which a test is no longer near its level, and ends."""

Principal = Callable[[torch.Tensor], torch.Tensor]
"""From int64 indices of rows to the principal submatrix ``A[indices][:, indices]``, float64."""


@dataclass(frozen=True, slots=True)
class OrderTest:
    """Whether the order of the points differs detectably from a random one.

    Attributes
    ----------
    start
        Two-sided p-value: the sum of the log-determinants of the leading minors of the first points, over
        random orders of the same points.
    spread
        The same for points drawn from all that are used, in their given order.
    rest
        Two-sided p-value: log-determinant of points drawn from those that are used, less that of points drawn
        from the others, over random exchanges between the two. ``None`` where there are no others.
    points
        Points in each of the sets.
    """

    start: float
    spread: float
    rest: float | None
    points: int

    @property
    def p_value(self) -> float:
        """The smallest of the p-values, times their number (Bonferroni); at most 1."""
        found = [each for each in (self.start, self.spread, self.rest) if each is not None]
        return min(1.0, len(found) * min(found))

    @property
    def rejected(self) -> bool:
        """Whether so unusual an order has a chance below 1 % among random ones."""
        return self.p_value < LEVEL


def order_test(
    principal: Principal, used: int, total: int, *, generator: torch.Generator, outputs: int = 1
) -> OrderTest | None:
    """Test the order of the points of a positive definite matrix against random orders.

    Sorted and clustered points have close neighbours early, so their leading minors grow late; points chosen
    to be far from each other do the opposite. Both show in the area under ``log det K_n``.

    Parameters
    ----------
    principal
        Gives principal submatrices; asked for at most three, of at most 192 rows.
    used, total
        Points that the extrapolation starts from, and points of the whole matrix.
    generator
        Source of the orders, on the CPU.
    outputs
        Rows of a point, which stay together.

    Returns
    -------
    OrderTest or None
        ``None`` if fewer than 16 points fit, or a submatrix is not positive definite to working precision.

    Raises
    ------
    ValueError
        If ``used`` is not between 1 and ``total``.

    Notes
    -----
    Randomisation tests with up to 666 orders; one that is clearly not significant ends early (Besag and
    Clifford), which keeps it exact.

    References
    ----------
    Besag, Clifford, *Sequential Monte Carlo p-values*, Biometrika 78 (1991).

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import flodance
    >>> points = torch.linspace(0, 1, 64, dtype=torch.float64)[:, None]  # sorted
    >>> kernel = torch.exp(-8 * torch.cdist(points, points))
    >>> generator = torch.Generator().manual_seed(0)
    >>> flodance.order_test(lambda rows: kernel[rows][:, rows], 32, 64, generator=generator).rejected
    True
    """
    if not 1 <= used <= total:
        raise ValueError(f"the number of points used must lie between 1 and {total}, not {used}")
    count = min(MOST_POINTS, MOST_ROWS // outputs, used)
    if count < LEAST_POINTS:
        return None
    spread = torch.randperm(used, generator=generator)[:count].sort().values
    start, within = (
        _randomised(_area, principal(_rows(chosen, outputs)), count, outputs, generator)
        for chosen in (torch.arange(count), spread)
    )
    rest: float | None = None
    half = min(count, MOST_ROWS // (2 * outputs), total - used)
    if half >= LEAST_POINTS:
        inside = torch.randperm(used, generator=generator)[:half]
        others = used + torch.randperm(total - used, generator=generator)[:half]
        block = principal(_rows(torch.cat([inside, others]), outputs))
        rest = _randomised(_difference, block, 2 * half, outputs, generator)
        if rest is None:
            return None
    if start is None or within is None:
        return None
    return OrderTest(start, within, rest, count)


def _rows(points: torch.Tensor, outputs: int) -> torch.Tensor:
    return (points[..., None] * outputs + torch.arange(outputs)).flatten(-2)


def _minors(block: torch.Tensor, orders: torch.Tensor, outputs: int) -> torch.Tensor:
    """Return the log-determinants after each point, for every order: NaN where one is not definite."""
    rows = _rows(orders, outputs)
    factors, failed = torch.linalg.cholesky_ex(block[rows[:, :, None], rows[:, None, :]])
    every: torch.Tensor = 2 * factors.diagonal(dim1=1, dim2=2).log().cumsum(1)
    minors = every[:, outputs - 1 :: outputs]
    minors[failed > 0] = torch.nan
    return minors


def _area(block: torch.Tensor, orders: torch.Tensor, outputs: int) -> torch.Tensor:
    return _minors(block, orders, outputs).sum(1)


def _difference(block: torch.Tensor, orders: torch.Tensor, outputs: int) -> torch.Tensor:
    half = orders.shape[1] // 2
    first, second = (_minors(block, part, outputs)[:, -1] for part in (orders[:, :half], orders[:, half:]))
    return first - second


def _randomised(
    statistic: Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor],
    block: torch.Tensor,
    points: int,
    outputs: int,
    generator: torch.Generator,
) -> float | None:
    """Return the two-sided p-value of the given order among random ones; ``None`` for a NaN."""
    block = block.to(torch.float64)
    found = statistic(block, torch.arange(points)[None], outputs)
    above = below = drawn = 0
    while drawn < _DRAWS and min(above, below) < _ENOUGH:
        orders = torch.stack([torch.randperm(points, generator=generator) for _ in range(_CHUNK)])
        values = statistic(block, orders, outputs)
        if bool((values.isnan() | found.isnan()).any()):
            return None
        # equal values count on both sides: they never make an order unusual
        above += int((values >= found).sum())
        below += int((values <= found).sum())
        drawn += _CHUNK
    return min(1.0, 2 * (1 + min(above, below)) / (1 + drawn))
