"""Log-determinants of all leading minors while a matrix grows: an up-looking Cholesky in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def grow_minors(rows: Callable[[int, int], torch.Tensor], ends: Iterable[int]) -> Iterator[torch.Tensor]:
    """Yield, step by step, the log-determinants of the leading minors up to each of ``ends``.

    Only rows that are needed are asked for, and once: for the whole of a large matrix this is the work of one
    Cholesky factorisation, and stopping early saves the rest. The factor is held in memory.

    Parameters
    ----------
    rows
        ``rows(start, stop)``: entries ``[start:stop, :stop]`` of a positive definite matrix, of shape
        ``(stop - start, stop)``, in a real floating dtype.
    ends
        Growing sizes, in rows.

    Yields
    ------
    torch.Tensor
        Shape ``(stop - start,)``, float64: log-determinant, in nats, of each new leading minor.

    Raises
    ------
    ArithmeticError
        If a leading minor is not positive definite to working precision, with its size.
    ValueError
        If ``ends`` do not grow or ``rows`` returns another shape.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import flodance
    >>> matrix = torch.tensor([[4.0, 2.0], [2.0, 2.0]], dtype=torch.float64)
    >>> steps = flodance.grow_minors(lambda start, stop: matrix[start:stop, :stop], [1, 2])
    >>> [round(float(step.exp()), 9) for step in steps]  # the minors themselves
    [4.0, 4.0]
    """
    factor: torch.Tensor | None = None
    start, total = 0, 0.0
    for stop in ends:
        if stop <= start:
            raise ValueError(f"ends must increase, but {stop} follows {start}")
        new = rows(start, stop).to(torch.float64)
        if new.shape != (stop - start, stop):
            raise ValueError(
                f"rows({start}, {stop}) must have shape {(stop - start, stop)}, not {tuple(new.shape)}"
            )
        factor = _with_room(new.new_empty(0, 0) if factor is None else factor, start, stop)
        left = torch.linalg.solve_triangular(factor[:start, :start], new[:, :start].T, upper=False).T
        corner, failed = torch.linalg.cholesky_ex(new[:, start:] - left @ left.T)
        if int(failed):
            raise ArithmeticError(
                f"the leading minor of size {start + int(failed)} is not positive definite to float64"
            )
        factor[start:stop, :start], factor[start:stop, start:stop] = left, corner
        minors = total + 2 * corner.diagonal().log().cumsum(0)
        yield minors
        start, total = stop, float(minors[-1])


def _with_room(factor: torch.Tensor, used: int, needed: int) -> torch.Tensor:
    if needed <= len(factor):
        return factor
    side = max(needed, 2 * len(factor))
    larger = factor.new_zeros(side, side)
    larger[:used, :used] = factor[:used, :used]
    return larger
