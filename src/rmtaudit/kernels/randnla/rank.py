"""The number of singular values above a threshold, bracketed, without the others."""

from __future__ import annotations

from dataclasses import dataclass

from rmtaudit.kernels.operators import Linear
from rmtaudit.kernels.randnla.krylov import top_singular


@dataclass(frozen=True, slots=True)
class RankBounds:
    """Bounds of the number of singular values above ``threshold``.

    Attributes
    ----------
    lower
        For certain.
    upper
        With probability ``1 - failure``; ``min(rows, cols)`` where the computed triples do not reach down to
        the threshold.
    threshold, failure
        See above.
    """

    lower: int
    upper: int
    threshold: float
    failure: float


def rank_bounds(
    operator: Linear, threshold: float, seed: int, *, most: int = 64, failure: float = 1e-3
) -> RankBounds:
    """Bracket the rank at a threshold: triples are doubled in number until one lies below it.

    Parameters
    ----------
    threshold
        Positive.
    most
        Largest number of triples that is computed.
    failure
        Probability that the upper end is too low; each of the attempts gets an equal share of it.
    """
    if not threshold > 0 or most < 1:
        raise ValueError("a positive threshold and at least one triple are needed")
    limit = min(most, operator.rank)
    attempts = [min(8 << k, limit) for k in range(max(1, (max(limit - 1, 1) // 8).bit_length() + 1))]
    low, high = 0, operator.rank
    for rank in dict.fromkeys(attempts):
        triples = top_singular(operator, rank, seed, failure=failure / len(attempts))
        low = max(low, int((triples.lower > threshold).sum()))
        if triples.following <= threshold or rank == operator.rank:
            high = min(high, int((triples.upper > threshold).sum()))
        if low < rank and high < operator.rank:
            break
    return RankBounds(low, high, threshold, failure)
