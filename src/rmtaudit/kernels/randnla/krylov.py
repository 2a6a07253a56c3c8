"""The largest singular values and vectors by block Krylov iteration, each with an interval that holds it.

The triples ``(u, θ, v)`` come from ``QᵀA``, ``Q`` a basis of the Krylov space: no ``θ_i`` is above the i-th
singular value of ``A``, and ``Aᵀu = θ v`` holds but for rounding. So in the bases that begin with the first p
left and right vectors ``A`` is ``diag(θ_1 … θ_p, H)`` and one coupling block, the residual ``R = A V - U θ``.
By Weyl's inequality the i-th singular value is at most ``max(θ_i, |H|) + |R|``, and where θ_i is above
``|H|`` by η, at most ``θ_i + 2 |R|²/(η + √(η² + 4 |R|²))`` (Li, Li 2005, theorem 2, of the Jordan-Wielandt
matrix). ``|H|`` is bounded by :func:`rmtaudit.kernels.randnla.norms.norm_bounds`. The best p is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.counter import normals
from rmtaudit.kernels.operators import Linear
from rmtaudit.kernels.randnla.norms import NormBounds, eigenvalue_bounds, norm_bounds
from rmtaudit.kernels.randnla.orthonormal import beyond

_START, _FILLING = 5, 11  # purposes of random streams, see rmtaudit.kernels.counter.stream
_EPSILON, _SINGLE = 2.0**-52, 2.0**-23  # the spacing of float64 and float32 at 1
_BOUND_STEPS = 12  # of the bound of the norm of what is left: a convention
_LOOK = 1.3  # the basis grows by this factor between two decompositions: a convention
_NOISE = 1e-12  # relative norm below which a direction of a block is rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """The leading singular triples, ``A ≈ U diag(σ) Vᵀ``, or eigenpairs, ``A ≈ U diag(λ) Uᵀ``.

    Attributes
    ----------
    left, values, right
        Shapes ``(rows, k)``, ``(k,)``, ``(cols, k)``, float64; values descending.
    residuals
        ``√((|Av - σu|² + |Aᵀu - σv|²)/2)`` of every triple (``|Au - λu|`` of a pair): some singular value
        lies within it of σ, not always the i-th one.
    lower, upper
        Interval that holds the i-th largest: below for certain, above with probability ``1 - rest.failure``
        for all of them together.
    rest
        Bounds of the norm of ``H``, what is left of ``A`` without the triples; of its largest eigenvalue,
        with zeros in the place of the pairs.
    following
        Bound of the value after the last, with the same probability.
    energy, tail
        Squared Frobenius norm of ``A`` and of what the k triples leave out of it: exact but for rounding;
        ``None`` where the operator does not know its own.
    products
        Products with single vectors.
    """

    left: torch.Tensor
    values: torch.Tensor
    right: torch.Tensor
    residuals: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    rest: NormBounds
    following: float
    energy: float | None
    tail: float | None
    products: int


def top_singular(
    operator: Linear,
    rank: int,
    seed: int,
    *,
    block: int | None = None,
    steps: int = 12,
    tolerance: float = 1e-6,
    failure: float = 1e-3,
) -> Partial:
    """Return the ``rank`` largest singular triples (Musco, Musco 2015; Golub, Luk, Overton 1981).

    Equivalent to the leading part of ``torch.linalg.svd`` within ``lower`` and ``upper``.

    Parameters
    ----------
    rank
        From 1 to ``min(rows, cols)``.
    block
        Columns of the start; ``None`` for ``rank + 8``. A start narrower than a cluster finds it slowly.
    steps
        Most blocks of the basis, which takes ``block * steps`` columns of float64 on either side.
    tolerance
        Blocks end where every residual is below this share of the largest value.
    failure
        Probability that one of the upper ends is too low.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators, randnla
    >>> matrix = torch.diag(torch.tensor([-9.0, 1.0, 2.0, 3.0], dtype=torch.float64))
    >>> randnla.top_singular(operators.linear(matrix), 2, seed=0).values.round(decimals=6)
    tensor([9., 3.], dtype=torch.float64)
    """
    if not 1 <= rank <= operator.rank:
        raise ValueError(f"the rank must lie between 1 and {operator.rank}, not {rank}")
    if steps < 1 or not tolerance > 0:
        raise ValueError("at least one step, and a positive tolerance, are needed")
    width = min(block or rank + 8, operator.rank)
    if width < rank and width * steps < rank:
        raise ValueError(f"{steps} blocks of {width} columns hold no {rank} triples")
    sketch = normals(seed, _START, range(width), operator.cols).T.to(operator.device)
    Q, B, columns = _krylov(operator.fast or operator, sketch, rank, steps, tolerance)
    if operator.fast is not None:
        B, columns = operator.transposed(Q), columns + Q.shape[1]
    # B = (R)ᵀ(orthonormal)ᵀ: the values of a small square matrix
    inner, R = torch.linalg.qr(B)
    left, theta, right = torch.linalg.svd(R.T)
    U, V = Q @ left[:, :rank], inner @ right.T[:, :rank]
    coupling = operator.matmul(V) - U * theta[:rank]
    other = operator.transposed(U) - V * theta[:rank]
    residuals = ((_squares(coupling) + _squares(other)) / 2).sqrt()
    rest = _outside(operator, U, V, seed, failure)
    slack = 32 * _EPSILON * math.sqrt(operator.rank) * float(theta[0])
    hidden = rest.upper + (64 * _SINGLE * float(theta[0]) if operator.fast is not None else 0.0)
    if operator.energy is not None:
        missing = operator.energy - float((theta[:rank] ** 2).sum()) + 64 * _EPSILON * operator.energy
        hidden = min(hidden, math.sqrt(max(missing, 0.0)))
    upper = _upper(theta[:rank], coupling, hidden) + slack
    following = hidden + float(torch.linalg.matrix_norm(coupling, 2)) + slack
    values = theta[:rank]
    tail = None if operator.energy is None else max(operator.energy - float((values**2).sum()), 0.0)
    return Partial(
        left=U,
        values=values.cpu(),
        right=V,
        residuals=residuals.cpu(),
        lower=(values - slack).clamp(min=0).cpu(),
        upper=upper.cpu(),
        rest=rest,
        following=following,
        energy=operator.energy,
        tail=tail,
        products=columns + 2 * rank + rest.products,
    )


def top_eigenpairs(
    operator: Linear,
    rank: int,
    seed: int,
    *,
    block: int | None = None,
    steps: int = 12,
    tolerance: float = 1e-6,
    failure: float = 1e-3,
) -> Partial:
    """Return the pairs of the ``rank`` largest eigenvalues (not in modulus) of a symmetric matrix.

    Equivalent to the trailing part of ``torch.linalg.eigh`` within ``lower`` and ``upper``; parameters as of
    :func:`top_singular`.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators, randnla
    >>> matrix = torch.diag(torch.tensor([-9.0, 1.0, 2.0, 3.0], dtype=torch.float64))
    >>> randnla.top_eigenpairs(operators.linear(matrix), 2, seed=0).values.round(decimals=6)
    tensor([3., 2.], dtype=torch.float64)
    """
    n = operator.rows
    if operator.cols != n or not 1 <= rank <= n:
        raise ValueError(f"a square matrix and a rank of 1 to its order are needed, not rank {rank}")
    width = min(block or rank + 8, n)
    Q = torch.empty(n, 0, dtype=torch.float64, device=operator.device)
    AQ = Q
    fresh = torch.linalg.qr(normals(seed, _START, range(width), n).T.to(operator.device))[0]
    while True:
        Q = torch.cat([Q, fresh], dim=1)
        image = operator.matmul(fresh)
        AQ = torch.cat([AQ, image], dim=1)
        H = Q.T @ AQ
        values, vectors = torch.linalg.eigh((H + H.T) / 2)
        values, vectors = values.flip(0)[:rank], vectors.flip(1)[:, :rank]
        U = Q @ vectors
        coupling = AQ @ vectors - U * values
        residuals = _squares(coupling).sqrt()
        scale = float(values.abs().max().clamp(min=1e-300))
        enough = len(values) == rank and bool((residuals <= tolerance * scale).all())
        if enough or Q.shape[1] >= min(width * steps, n):
            break
        fresh = _grown(Q, image, rank)[:, : n - Q.shape[1]]
        if not fresh.shape[1]:
            break
    if len(values) < rank:
        raise ValueError(f"{steps} blocks of {width} columns hold no {rank} pairs")

    def deflated(X: torch.Tensor) -> torch.Tensor:
        Y: torch.Tensor = operator.matmul(X - U @ (U.T @ X))
        return Y.sub(U @ (U.T @ Y))

    hidden = Linear(rows=n, cols=n, matmul=deflated, transposed=deflated, device=operator.device)
    slack = 32 * _EPSILON * math.sqrt(n) * scale
    rest = eigenvalue_bounds(hidden, seed, failure=failure, floor=slack)
    # the deflated matrix has a 0 where the pairs were: a looser bound where all eigenvalues are negative
    upper = _upper(values, coupling, rest.upper) + slack
    following = rest.upper + float(torch.linalg.matrix_norm(coupling, 2)) + slack
    return Partial(
        left=U,
        values=values.cpu(),
        right=U,
        residuals=residuals.cpu(),
        lower=(values - slack).cpu(),
        upper=upper.cpu(),
        rest=rest,
        following=following,
        energy=None,
        tail=None,
        products=Q.shape[1] + rest.products,
    )


def _krylov(
    operator: Linear, sketch: torch.Tensor, rank: int, steps: int, tolerance: float
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return the basis, ``AᵀQ``, and the products; the residuals of the triples come with the next block."""
    limit = min(sketch.shape[1] * steps, operator.rank)
    empty = torch.empty(operator.rows, 0, dtype=torch.float64, device=operator.device)
    # Householder's columns are orthonormal whatever the rank of the block
    fresh = torch.linalg.qr(operator.matmul(sketch))[0]
    Q, B = torch.cat([empty, fresh], dim=1), operator.transposed(fresh)
    products, look = 2 * sketch.shape[1], float(rank)
    while Q.shape[1] < limit:
        last = B[:, -fresh.shape[1] :]
        image = operator.matmul(last)
        products += last.shape[1]
        if Q.shape[1] >= look:
            look = _LOOK * Q.shape[1]  # a decomposition costs as much as several blocks
            left, theta, _ = torch.linalg.svd(torch.linalg.qr(B).R.T)
            # E v = (I - QQᵀ) A Bᵀ u/θ, and only the last block of Bᵀ leaves the space
            parts = image @ left[-fresh.shape[1] :, :rank]
            parts = parts - Q @ (Q.T @ parts)
            sizes = _squares(parts).sqrt() / theta[:rank].clamp(min=1e-300)
            if bool((sizes <= tolerance * theta[0]).all()):
                break
        fresh = _grown(Q, image, rank)[:, : limit - Q.shape[1]]
        if not fresh.shape[1]:
            break
        Q = torch.cat([Q, fresh], dim=1)
        B = torch.cat([B, operator.transposed(fresh)], dim=1)
        products += fresh.shape[1]
    return Q, B, products


def _grown(Q: torch.Tensor, image: torch.Tensor, rank: int) -> torch.Tensor:
    """Return the next block; of an exhausted space one that is random, while there are too few columns."""
    fresh = beyond(Q, image, _NOISE * float(torch.linalg.matrix_norm(image)))
    if fresh.shape[1] or Q.shape[1] >= rank:
        return fresh
    filling = normals(0, _FILLING, range(rank - Q.shape[1]), Q.shape[0]).T.to(Q.device)
    return beyond(Q, filling, 0.0)


def _squares(columns: torch.Tensor) -> torch.Tensor:
    return (columns**2).sum(dim=0)


def _outside(operator: Linear, U: torch.Tensor, V: torch.Tensor, seed: int, failure: float) -> NormBounds:
    whole = operator.fast or operator

    def matmul(X: torch.Tensor) -> torch.Tensor:
        Y = whole.matmul(X - V @ (V.T @ X))
        return Y - U @ (U.T @ Y)

    def transposed(Y: torch.Tensor) -> torch.Tensor:
        X = whole.transposed(Y - U @ (U.T @ Y))
        return X - V @ (V.T @ X)

    left = Linear(
        rows=operator.rows, cols=operator.cols, matmul=matmul, transposed=transposed, device=operator.device
    )
    return norm_bounds(left, seed, steps=_BOUND_STEPS, failure=failure)


def _upper(theta: torch.Tensor, coupling: torch.Tensor, hidden: float) -> torch.Tensor:
    """Return upper ends: for every p, the first p values against a block that holds the others."""
    best = torch.full_like(theta, math.inf)
    gram = coupling.T @ coupling

    def norm(first: int, last: int) -> float:
        if first == last:
            return 0.0
        return math.sqrt(max(float(torch.linalg.eigvalsh(gram[first:last, first:last])[-1]), 0.0))

    rank = len(theta)
    for p in range(1, rank + 1):
        gap_bound = max(float(theta[p]) if p < rank else -math.inf, hidden) + norm(p, rank)
        bounds = [float(value) + _shift(norm(0, p), float(value), gap_bound) for value in theta[:p]]
        best[:p] = torch.minimum(best[:p], torch.tensor(bounds, dtype=best.dtype, device=best.device))
    return best


def _shift(norm: float, value: float, hidden: float) -> float:
    """Return how far the i-th value can lie above ``value``, given a block whose values are below hidden."""
    if value <= hidden:
        return hidden - value + norm
    gap = value - hidden
    return 2 * norm**2 / (gap + math.sqrt(gap**2 + 4 * norm**2)) if norm else 0.0
