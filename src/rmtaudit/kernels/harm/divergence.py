"""Distances between what a network returns before and after a change, a number for each row."""

from __future__ import annotations

import torch


def divergence_of_logits(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of the softmax of ``after`` from that of ``before``, in nats.

    If the labels were drawn from the distribution before the change, this is the expected increase of the
    cross-entropy.

    Parameters
    ----------
    before, after
        Shape ``(rows, classes)``, real floating dtypes.

    Returns
    -------
    Tensor
        Shape ``(rows,)``, float64, at least 0.
    """
    reference = before.double().log_softmax(1)
    other = after.double().log_softmax(1)
    change = other - reference
    # The sum of p (exp(d) - 1 - d), whose terms are at least 0: p log(p / q) would cancel to small values.
    terms = torch.where(reference.isneginf(), other.exp(), reference.exp() * (change.expm1() - change))
    divergence: torch.Tensor = terms.sum(1)
    return divergence.clamp(min=0)


def cosine_distance(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Return one minus the cosine of the angle between the rows.

    Computed as half the squared distance of the unit vectors, which is accurate for small angles.

    Parameters
    ----------
    before, after
        Shape ``(rows, columns)``, real floating dtypes. The angle with a row of zeros counts as a right one.

    Returns
    -------
    Tensor
        Shape ``(rows,)``, float64, from 0 to 2.
    """
    first, second = before.double(), after.double()
    units = torch.nn.functional.normalize(first, dim=1) - torch.nn.functional.normalize(second, dim=1)
    distance: torch.Tensor = units.square().sum(1) / 2
    empty = (first == 0).all(1) ^ (second == 0).all(1)
    return torch.where(empty, torch.ones_like(distance), distance)


def squared_error(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Return the squared Euclidean distance of the rows.

    Parameters
    ----------
    before, after
        Shape ``(rows, columns)``, real floating dtypes.

    Returns
    -------
    Tensor
        Shape ``(rows,)``, float64.
    """
    distance: torch.Tensor = (after.double() - before.double()).square().sum(1)
    return distance
