"""Symmetric matrices of every kind that a spectrum is asked of: free and not, with atoms, gaps and tails.

Every family is a function of the order and a numpy generator, and returns a symmetric float64 matrix of that
order. ``FREE`` names those that are asymptotically free of their coordinates; the others are not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Family = Callable[[int, np.random.Generator], Matrix]

FREE = frozenset(
    {
        "semicircle",
        "wigner-signs",
        "marchenko-pastur",
        "marchenko-pastur-atom",
        "compound-free-poisson",
        "uniform-spectrum",
        "arcsine-spectrum",
        "two-bulks",
        "lognormal-spectrum",
        "pareto-spectrum",
        "decades",
        "near-singular",
        "two-atoms-rotated",
        "three-atoms-rotated",
        "near-zero-rotated",
        "bulk-and-atom-rotated",
        "spiked",
        "projector-rotated",
    }
)


def families() -> dict[str, Family]:
    """Return every family by its name."""
    return {
        # free of their coordinates
        "semicircle": semicircle,
        "wigner-signs": wigner_signs,
        "marchenko-pastur": lambda n, rng: wishart(n, 3 * n, rng),
        "marchenko-pastur-atom": lambda n, rng: wishart(n, max(1, n // 2), rng),
        "compound-free-poisson": compound_free_poisson,
        "uniform-spectrum": lambda n, rng: rotated(np.linspace(1, 3, n), rng),
        "arcsine-spectrum": lambda n, rng: rotated(np.cos(np.linspace(0, np.pi, n)), rng),
        "two-bulks": lambda n, rng: rotated(np.r_[rng.random(n // 3), 5 + rng.random(n - n // 3)], rng),
        "lognormal-spectrum": lambda n, rng: rotated(np.exp(rng.standard_normal(n)), rng),
        "pareto-spectrum": lambda n, rng: rotated(1 + rng.pareto(2.0, n), rng),
        "decades": lambda n, rng: rotated(np.logspace(-6, 0, n), rng),
        "near-singular": lambda n, rng: rotated(
            np.r_[np.full(n // 10, 1e-13), 1 + rng.random(n - n // 10)], rng
        ),
        "two-atoms-rotated": lambda n, rng: rotated(atoms(n, (1.0, 4.0), (0.3, 0.7)), rng),
        "three-atoms-rotated": lambda n, rng: rotated(atoms(n, (0.5, 1.0, 3.0), (0.3, 0.4, 0.3)), rng),
        "near-zero-rotated": lambda n, rng: rotated(
            np.r_[np.full(3 * n // 10, 1e-8), 1 + rng.random(n - 3 * n // 10)], rng
        ),
        "bulk-and-atom-rotated": lambda n, rng: rotated(
            np.r_[np.full(n // 4, 2.0), 3 * rng.random(n - n // 4)], rng
        ),
        "spiked": spiked,
        "projector-rotated": lambda n, rng: rotated(atoms(n, (0.0, 1.0), (0.4, 0.6)), rng),
        # not free
        "zero": _fixed(lambda n: np.zeros((n, n))),
        "identity": _fixed(lambda n: np.eye(n)),
        "identity-rounded": lambda n, rng: rotated(np.ones(n), rng),
        "rank-one": lambda n, rng: _outer(rng.standard_normal(n)),
        "ones": _fixed(lambda n: np.ones((n, n))),
        "projector-on-coordinates": _fixed(lambda n: np.diag(atoms(n, (0.0, 1.0), (0.4, 0.6)))),
        "diagonal": lambda n, rng: np.diag(rng.standard_normal(n)),
        "diagonal-plus-wigner": lambda n, rng: np.diag(np.linspace(-2, 2, n)) + 0.3 * semicircle(n, rng),
        "diagonal-atoms-plus-wigner": lambda n, rng: (
            np.diag(atoms(n, (0.0, 3.0), (0.5, 0.5))) + 0.1 * semicircle(n, rng)
        ),
        "tridiagonal-toeplitz": _fixed(lambda n: banded(n, (2.0, -1.0))),
        "pentadiagonal-toeplitz": _fixed(lambda n: banded(n, (6.0, -4.0, 1.0))),
        "anderson": lambda n, rng: banded(n, (0.0, 1.0)) + np.diag(4 * rng.random(n) - 2),
        "path-laplacian": _fixed(lambda n: laplacian(banded(n, (0.0, 1.0)))),
        "circulant": _fixed(circulant),
        "exponential-decay": _fixed(lambda n: 0.5 ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))),
        "hilbert": _fixed(lambda n: 1 / (1 + np.add.outer(np.arange(n), np.arange(n)).astype(float))),
        "block-diagonal": block_diagonal,
        "arrowhead": arrowhead,
        "sparse-graph": lambda n, rng: laplacian(random_graph(n, 3.0, rng)),
        "very-sparse-graph": lambda n, rng: random_graph(n, 0.7, rng),
        "dense-graph": lambda n, rng: normalised(random_graph(n, n / 4, rng)),
        "star": _fixed(lambda n: laplacian(_star(n))),
        "grid-graph": _fixed(lambda n: laplacian(_grid(n))),
        "geometric-graph": lambda n, rng: normalised(geometric_graph(n, rng)),
        "small-world": lambda n, rng: laplacian(small_world(n, rng)),
        "gaussian-kernel": lambda n, rng: kernel(n, rng, lambda d: np.exp(-8 * d**2)),
        "laplace-kernel": lambda n, rng: kernel(n, rng, lambda d: np.exp(-d / 0.3)),
        "row-scaled-wishart": row_scaled,
        "slanted-wishart": slanted,
        "heavy-tailed-wishart": lambda n, rng: _gram(rng.standard_t(3, (n, 2 * n))),
        "levy": lambda n, rng: _mirrored(rng.standard_cauchy((n, n))),
        "band-wigner": band_wigner,
        "sparse-wigner": sparse_wigner,
        "low-rank-plus-noise": lambda n, rng: wishart(n, max(1, n // 20), rng) + 1e-6 * semicircle(n, rng),
        "huge": lambda n, rng: 1e150 * wishart(n, 2 * n, rng),
        "tiny": lambda n, rng: 1e-300 * wishart(n, 2 * n, rng),
        "negative": lambda n, rng: -wishart(n, 2 * n, rng),
        "rounding-negative": lambda n, rng: _mirrored_float32(wishart(n, max(1, n // 2), rng)),
    }


def rotated(values: Matrix, rng: np.random.Generator) -> Matrix:
    """Return ``Q diag(values) Qᵀ`` with a uniform orthogonal ``Q``, exactly symmetric."""
    q, r = np.linalg.qr(rng.standard_normal((len(values), len(values))))
    q = q * np.sign(np.diag(r))
    found = (q * values) @ q.T
    return np.asarray((found + found.T) / 2)


def atoms(n: int, places: tuple[float, ...], shares: tuple[float, ...]) -> Matrix:
    """Return n eigenvalues at a few places, in these shares; the last takes what is left."""
    counts = [round(share * n) for share in shares[:-1]]
    counts.append(n - sum(counts))
    return np.repeat(np.asarray(places, dtype=np.float64), counts)


def semicircle(n: int, rng: np.random.Generator) -> Matrix:
    """Return a matrix of the Gaussian orthogonal ensemble with the spectrum [-2, 2]."""
    return _mirrored(rng.standard_normal((n, n))) / np.sqrt(n)


def wigner_signs(n: int, rng: np.random.Generator) -> Matrix:
    """Return a matrix of random signs."""
    return _mirrored(rng.choice([-1.0, 1.0], (n, n))) / np.sqrt(n)


def wishart(n: int, samples: int, rng: np.random.Generator) -> Matrix:
    """Return ``X Xᵀ / samples`` of Gaussian ``X`` with n rows."""
    return _gram(rng.standard_normal((n, samples)))


def compound_free_poisson(n: int, rng: np.random.Generator) -> Matrix:
    """Return ``X D Xᵀ`` with jumps of 1 and 5 in ``D``."""
    samples = 2 * n
    weights = rng.choice([1.0, 5.0], samples, p=[0.75, 0.25])
    return _gram(rng.standard_normal((n, samples)) * np.sqrt(weights))


def spiked(n: int, rng: np.random.Generator) -> Matrix:
    """Return a Wishart matrix with three outliers."""
    q = np.linalg.qr(rng.standard_normal((n, min(3, n))))[0]
    return wishart(n, 2 * n, rng) + _gram_of(q * np.sqrt([10.0, 20.0, 40.0][: q.shape[1]]))


def banded(n: int, bands: tuple[float, ...]) -> Matrix:
    """Return a symmetric Toeplitz matrix with these bands from the diagonal outwards."""
    found = np.zeros((n, n))
    for offset, value in enumerate(bands[:n]):
        found += value * (np.eye(n, k=offset) + (np.eye(n, k=-offset) if offset else 0))
    return found


def circulant(n: int) -> Matrix:
    """Return a symmetric circulant matrix with a decaying first row."""
    distance = np.minimum(np.arange(n), n - np.arange(n))
    first = np.exp(-distance / 5) * (1 + 0.1 * np.cos(distance))
    return first[np.abs(np.subtract.outer(np.arange(n), np.arange(n)))]


def block_diagonal(n: int, rng: np.random.Generator) -> Matrix:
    """Return copies of one small symmetric matrix down the diagonal."""
    side = max(1, min(8, n // 2))
    small = _mirrored(rng.standard_normal((side, side)))
    found = np.kron(np.eye(-(-n // side)), small)[:n, :n]
    return np.asarray(found)


def arrowhead(n: int, rng: np.random.Generator) -> Matrix:
    """Return a diagonal with one full row and column."""
    found = np.diag(rng.random(n))
    found[0, 1:] = found[1:, 0] = rng.standard_normal(n - 1) / np.sqrt(n)
    return found


def random_graph(n: int, degree: float, rng: np.random.Generator) -> Matrix:
    """Return the adjacency matrix of an Erdos-Renyi graph with this mean degree."""
    upper = np.triu(rng.random((n, n)) < degree / max(1, n - 1), 1).astype(np.float64)
    return upper + upper.T


def geometric_graph(n: int, rng: np.random.Generator) -> Matrix:
    """Return the adjacency matrix of points in the square that are near each other."""
    points = rng.random((n, 2))
    near = _distances(points) < np.sqrt(8 / (np.pi * n))
    return near.astype(np.float64) - np.eye(n)


def small_world(n: int, rng: np.random.Generator) -> Matrix:
    """Return the adjacency matrix of a ring with a tenth of random edges beside."""
    ring = banded(n, (0.0, 1.0, 1.0)[: max(1, n)])
    return np.asarray(np.minimum(1, ring + random_graph(n, 0.4, rng)) * (1 - np.eye(n)))


def laplacian(adjacency: Matrix) -> Matrix:
    """Return ``D - A``."""
    return np.diag(adjacency.sum(1)) - adjacency


def normalised(adjacency: Matrix) -> Matrix:
    """Return ``I - D^-1/2 A D^-1/2``; the row of an isolated vertex is 0."""
    degrees = adjacency.sum(1)
    root = np.where(degrees > 0, 1 / np.sqrt(np.maximum(degrees, 1)), 0.0)
    return np.diag((degrees > 0).astype(np.float64)) - root[:, None] * adjacency * root


def kernel(n: int, rng: np.random.Generator, function: Callable[[Any], Any]) -> Matrix:
    """Return a kernel matrix of uniform points in the square."""
    return np.asarray(function(_distances(rng.random((n, 2)))))


def row_scaled(n: int, rng: np.random.Generator) -> Matrix:
    """Return a Wishart matrix whose rows differ in size."""
    return _gram(rng.standard_normal((n, 2 * n)) * np.exp(0.7 * rng.standard_normal((n, 1))))


def slanted(n: int, rng: np.random.Generator) -> Matrix:
    """Return a Wishart matrix of correlated columns and scaled rows, as trained layers have."""
    columns = np.arange(1, 2 * n + 1) ** -0.4
    return _gram(rng.standard_normal((n, 2 * n)) * columns * np.exp(0.3 * rng.standard_normal((n, 1))))


def band_wigner(n: int, rng: np.random.Generator) -> Matrix:
    """Return a Wigner matrix of which only a band is not 0."""
    width = max(1, n // 20)
    near = np.abs(np.subtract.outer(np.arange(n), np.arange(n))) <= width
    return np.asarray(_mirrored(rng.standard_normal((n, n))) * near / np.sqrt(2 * width))


def sparse_wigner(n: int, rng: np.random.Generator) -> Matrix:
    """Return a Wigner matrix with two per cent of its entries."""
    return _mirrored(rng.standard_normal((n, n)) * (rng.random((n, n)) < 0.02))


def _fixed(make: Callable[[int], Matrix]) -> Family:
    """Return a family whose members are fixed by their order."""
    return lambda n, _: make(n)


def _gram(rows: Matrix) -> Matrix:
    return _gram_of(rows) / rows.shape[1]


def _gram_of(rows: Matrix) -> Matrix:
    found = rows @ rows.T
    return np.asarray((found + found.T) / 2)


def _outer(vector: Matrix) -> Matrix:
    return np.outer(vector, vector)


def _mirrored(matrix: Matrix) -> Matrix:
    lower = np.tril(matrix)
    return np.asarray(lower + np.tril(matrix, -1).T)


def _mirrored_float32(matrix: Matrix) -> Matrix:
    return matrix.astype(np.float32).astype(np.float64)


def _distances(points: Matrix) -> Matrix:
    squares = (points**2).sum(1)
    found = np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0))
    np.fill_diagonal(found, 0)
    return np.asarray((found + found.T) / 2)


def _star(n: int) -> Matrix:
    found = np.zeros((n, n))
    found[0, 1:] = found[1:, 0] = 1
    return found


def _grid(n: int) -> Matrix:
    side = max(1, int(np.sqrt(n)))
    found = np.zeros((n, n))
    for index in range(n):
        for other in (index + 1 if (index + 1) % side else n, index + side):
            if other < n:
                found[index, other] = found[other, index] = 1
    return found
