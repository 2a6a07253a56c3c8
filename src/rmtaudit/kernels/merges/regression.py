"""Regression of a target's change on the changes of candidate parents, with standard errors by clusters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

_COLLINEAR = 1e-10
"""Convention: smallest eigenvalue of the parents' correlation matrix below which they are one direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSums:
    """What a regression needs of the entries, added up over matrices: its size is that of the parents.

    With the score ``s_g = X_g' y_g`` and the Gram matrix ``S_g = X_g' X_g`` of a cluster ``g``, the middle of
    the sandwich, ``sum_g (s_g - S_g b)(s_g - S_g b)'``, is a polynomial in ``b`` whose coefficients are sums
    of products of ``s_g`` and ``S_g``. So no cluster is kept.

    Attributes
    ----------
    entries, clusters
        Number of entries and of clusters that are not all zero.
    xx, xy, yy
        Sums over all entries: shapes ``(p, p)``, ``(p,)`` and ``()``, float64.
    score_score, score_gram, gram_gram
        Sums over clusters of ``s s'``, ``s (x) S`` and ``S (x) S``: shapes ``(p, p)``, ``(p, p, p)`` and
        ``(p, p, p, p)``, float64.
    """

    entries: int
    clusters: int
    xx: torch.Tensor
    xy: torch.Tensor
    yy: torch.Tensor
    score_score: torch.Tensor
    score_gram: torch.Tensor
    gram_gram: torch.Tensor

    def __add__(self, other: MergeSums) -> MergeSums:
        return MergeSums(
            entries=self.entries + other.entries,
            clusters=self.clusters + other.clusters,
            xx=self.xx + other.xx,
            xy=self.xy + other.xy,
            yy=self.yy + other.yy,
            score_score=self.score_score + other.score_score,
            score_gram=self.score_gram + other.score_gram,
            gram_gram=self.gram_gram + other.gram_gram,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficient:
    """One coefficient.

    Attributes
    ----------
    value, standard_error
        Estimate, and its sandwich standard error.
    low, high
        The 95 % interval.
    p_value
        Two-sided, of the hypothesis that the coefficient is 0.
    """

    value: float
    standard_error: float
    low: float
    high: float
    p_value: float

    def p_value_of(self, value: float, *, room: float = 0.0) -> float:
        """Return the two-sided p-value of a coefficient within ``room`` of a value."""
        return _p_value(max(0.0, abs(self.value - value) - room), self.standard_error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """The fitted coefficients.

    Attributes
    ----------
    coefficients
        In the order of the parents.
    total
        The sum of the coefficients, with its own standard error.
    r_squared
        ``1 - residual / yy``, uncentred; ``None`` for a target without change.
    residual
        Sum of squared residuals.
    """

    coefficients: tuple[Coefficient, ...]
    total: Coefficient
    r_squared: float | None
    residual: float


def merge_sums(change: torch.Tensor, parents: Sequence[torch.Tensor]) -> MergeSums:
    """Return the sums of one matrix, with its rows as clusters.

    Parameters
    ----------
    change
        Target minus base, shape ``(rows, cols)``, real floating dtype, finite.
    parents
        Each candidate parent minus base, of the same shape: at least one.
    """
    columns = torch.stack([change.double(), *(parent.double() for parent in parents)], dim=1)
    products = (columns @ columns.mT).cpu()
    score, gram = products[:, 1:, 0], products[:, 1:, 1:]
    return MergeSums(
        entries=change.numel(),
        clusters=int((products.diagonal(dim1=1, dim2=2) != 0).any(1).sum()),
        xx=gram.sum(0),
        xy=score.sum(0),
        yy=products[:, 0, 0].sum(),
        score_score=torch.einsum("ga,gb->ab", score, score),
        score_gram=torch.einsum("ga,gbc->abc", score, gram),
        gram_gram=torch.einsum("gab,gcd->abcd", gram, gram),
    )


def without_first(sums: MergeSums) -> MergeSums:
    """Return the sums of the same change on all columns but the first."""
    return replace(
        sums,
        xx=sums.xx[1:, 1:],
        xy=sums.xy[1:],
        score_score=sums.score_score[1:, 1:],
        score_gram=sums.score_gram[1:, 1:, 1:],
        gram_gram=sums.gram_gram[1:, 1:, 1:, 1:],
    )


def fit_merge(sums: MergeSums) -> Regression | None:
    """Return the least-squares coefficients; ``None`` where the parents do not determine them.

    The standard errors are those of White's sandwich by clusters (Liang and Zeger 1986), times
    ``G / (G - 1)`` for ``G`` clusters. They hold for residuals that depend on each other within a row and
    whose sizes differ. The intervals are normal: there are hundreds of rows or more.

    Parameters
    ----------
    sums
        Of all matrices together.
    """
    solution = _solved(sums)
    if solution is None:
        return None
    values, covariance = solution
    total = float(sums.yy)
    residual = max(0.0, total - float(values @ sums.xy))
    coefficients, whole = _coefficients(values, covariance)
    return Regression(
        coefficients=coefficients,
        total=whole,
        r_squared=1 - residual / total if total > 0 else None,
        residual=residual,
    )


def corrected_for_rounding(regression: Regression, sums: MergeSums) -> Regression:
    """Return the coefficients of a weighted sum without the bias that rounding the target makes.

    The target is ``T = v + e`` with ``v = W + sum c P`` and the rounding error ``e``. Levels that end at the
    largest weight of a block, or that lie apart unevenly, have an ``e`` whose mean depends on ``v``: if it is
    ``a v``, then ``T - W = a W + sum (1 + a) c P`` and a noise without a slope. The regression on base and
    parents estimates ``a`` and ``b = (1 + a) c``; the coefficients are ``b / (1 + a)``, their errors by the
    delta method. For normal weights and changes it is right whatever the mean of ``e`` is (Stein's lemma).

    Not for targets that are no weighted sum: what is left of them may depend on the base for other reasons.

    Parameters
    ----------
    regression
        On the parents alone. Its residual and R² stay.
    sums
        Of the change on the base, then on the parents. Where the base is a combination of the parents'
        changes, the regression is returned as it is.
    """
    solution = _solved(sums)
    if solution is None or float(solution[0][0]) <= -1:
        return regression
    values, covariance = solution
    scale = 1 + float(values[0])
    jacobian = torch.eye(len(values), dtype=torch.float64)[1:] / scale
    jacobian[:, 0] = -values[1:] / scale**2
    coefficients, total = _coefficients(values[1:] / scale, jacobian @ covariance @ jacobian.T)
    return replace(regression, coefficients=coefficients, total=total)


def _solved(sums: MergeSums) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return the coefficients and their covariance."""
    sizes = sums.xx.diagonal().clamp(min=0).sqrt()
    if sums.clusters < 2 or bool((sizes == 0).any()):
        return None
    correlation = sums.xx / sizes[:, None] / sizes[None, :]
    if float(torch.linalg.eigvalsh(correlation)[0]) < _COLLINEAR:
        return None
    inverse = torch.linalg.inv(correlation) / sizes[:, None] / sizes[None, :]
    values = inverse @ sums.xy
    mixed = torch.einsum("abc,c->ab", sums.score_gram, values)
    middle = sums.score_score - mixed - mixed.T + torch.einsum("abcd,b,d->ac", sums.gram_gram, values, values)
    return values, inverse @ middle @ inverse * (sums.clusters / (sums.clusters - 1))


def _coefficients(
    values: torch.Tensor, covariance: torch.Tensor
) -> tuple[tuple[Coefficient, ...], Coefficient]:
    """Return the coefficients, and their sum."""
    each = zip(values.tolist(), covariance.diagonal().tolist(), strict=True)
    whole = _coefficient(float(values.sum()), float(covariance.sum()))
    return tuple(_coefficient(value, variance) for value, variance in each), whole


def _coefficient(value: float, variance: float) -> Coefficient:
    error = math.sqrt(max(variance, 0.0))
    return Coefficient(
        value=value,
        standard_error=error,
        low=value - _NORMAL_95 * error,
        high=value + _NORMAL_95 * error,
        p_value=_p_value(abs(value), error),
    )


def _p_value(distance: float, error: float) -> float:
    if error > 0:
        return math.erfc(distance / error / math.sqrt(2))
    return 0.0 if distance else 1.0


_NORMAL_95 = 1.959963984540054
"""The normal quantile at .975."""
