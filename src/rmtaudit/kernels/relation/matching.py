"""Units matched without their labels, on one half of the features and compared on the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rmtaudit.kernels.relation.scores import unit_cosines


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedSimilarity:
    """How alike units are that were matched on other features. Evidence without a calibrated null.

    Attributes
    ----------
    cosine
        Mean cosine of matched units on the features that the matching has not seen, above the mean of all
        pairs, in both directions of the split.
    moved
        Share of units whose match has another label.
    """

    cosine: float
    moved: float


def matched_similarity(
    first: torch.Tensor, second: torch.Tensor, generator: torch.Generator
) -> MatchedSimilarity:
    """Match the units of two matrices by linear assignment on half of their features; compare the rest.

    Networks that were trained independently on the same data learn similar units, so their matched
    similarity is above 0 too: there is no exact null, and this is no test.

    Parameters
    ----------
    first, second
        Weights of each unit, shape ``(n, features)``, the same features in the same order, at least 2.
    generator
        Draws the halves.
    """
    from scipy.optimize import linear_sum_assignment

    n, features = first.shape
    order = torch.randperm(features, generator=generator).to(first.device)
    halves = (order[: features // 2], order[features // 2 :])
    rows = torch.arange(n, device=first.device)
    cosines, moved = [], []
    for seen, unseen in (halves, halves[::-1]):
        matching = unit_cosines(first[:, seen], second[:, seen])[0]
        _, labels = linear_sum_assignment(matching.cpu().numpy(), maximize=True)
        matched = torch.as_tensor(labels, device=first.device)
        compared = unit_cosines(first[:, unseen], second[:, unseen])[0]
        cosines.append(float(compared[rows, matched].mean() - compared.mean()))
        moved.append(float((matched != rows).double().mean()))
    return MatchedSimilarity(cosine=sum(cosines) / 2, moved=sum(moved) / 2)
