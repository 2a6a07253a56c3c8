"""Rows of the table of kernels: spectra, noise, determinants, products, random linear algebra, quadrature."""

from __future__ import annotations

from typing import Any

import torch
from kernel_inputs import Put, Row, covariance, normal, pareto, seeded, spectrum, weight

from rmtaudit.kernels import alignment, farms, lanczos, operators
from rmtaudit.kernels import covariance as matern
from rmtaudit.kernels.determinants import factorisations, tile_algebra, triangular
from rmtaudit.kernels.noise import (
    floor,
    inertia,
    marchenko_pastur,
    mp_fit,
    shuffle,
    sign_flip,
    spike_bound,
    traps,
)
from rmtaudit.kernels.noise import variance_profile as profiles
from rmtaudit.kernels.ntk import products
from rmtaudit.kernels.ntk.contraction import contract
from rmtaudit.kernels.ntk.pieces import Factors
from rmtaudit.kernels.phases import classify, null
from rmtaudit.kernels.randnla import (
    interpolative,
    krylov,
    least_squares,
    leverage,
    norms,
    nystrom,
    orthonormal,
    qb,
    rank,
    residual,
    sketch,
    trace,
)
from rmtaudit.kernels.slq import (
    density,
    distribution,
    estimate,
    functionals,
    integrands,
    precondition,
    quadrature,
    samplers,
)
from rmtaudit.kernels.spectra import eigenvalues, gram, scale

_EFFORT = estimate.Effort(probes=2, steps=8, most=4)


def _spectra(put: Put) -> Any:
    tall, wide = put(weight()), put(weight(48, 80))
    symmetric = gram.gram(tall)
    mirrored = symmetric.triu()
    gram.mirror(mirrored)
    return [
        eigenvalues.gram_eigenvalues(tall),
        eigenvalues.gram_eigenvalues(wide),
        eigenvalues.gram_eigenvalues(put(1e100 * normal(20, 10))),
        eigenvalues.singular_values(wide),
        eigenvalues.spectrum_and(wide, torch.trace),
        mirrored,
        eigenvalues.symmetric_eigenvalues(symmetric.clone()),
        gram.gram(tall, dtype=torch.float32),
        gram.principal_gram(tall, torch.tensor([3, 5, 7])),
        gram.squared_norm(symmetric),
        gram.eigenvalues(symmetric),
    ]


def _scales(put: Put) -> Any:
    values = put(spectrum())
    return [
        scale.spectral_norm(values),
        scale.frobenius_norm(values),
        scale.stable_rank(values),
        scale.spectral_entropy(values),
        scale.effective_rank(values),
    ]


def _profiles(put: Put) -> Any:
    W = put(weight())
    profile = profiles.sinkhorn(W)
    equalised = profiles.equalised_gram(W, profile)
    smooth = profiles.dyson(W, profile)
    return [
        profile,
        smooth,
        equalised,
        sign_flip.rectangle_test(W, profile, equalised),
        sign_flip.edge_test(W, profile, 300.0, draws=2, width=1.0, generator=seeded()),
        sign_flip.flipped_gram(W, profile, seeded()),
        sign_flip.largest_eigenvalue(equalised),
        spike_bound.noise_ceiling(W, profile, level=0.01, draws=19, generator=seeded()),
        spike_bound.equalised_squares(W, profile),
        inertia.eigenvalues_above(equalised, 300.0),
    ]


def _noise(put: Put) -> Any:
    W, values = put(weight()), torch.linalg.svdvals(weight().double()).square().flip(0)
    fit = marchenko_pastur.fit_bulk(put(values), 96, 64)
    law = marchenko_pastur.MarchenkoPastur(variance=fit.variance, ratio=64 / 96)
    return [
        floor.noise_floor(W, put(values), generator=seeded()),
        floor.noise_test(W, generator=seeded()),
        floor.power_of_two(W),
        fit,
        marchenko_pastur.ks_distance(put(values[:-3]), law),
        mp_fit.fit_marchenko_pastur(put(values), 96, 64),
        shuffle.shuffled(W, seeded()),
        traps.randomised_by_shuffle(W, seeded()),
        traps.randomised_by_signs(W, seeded()),
        null.null_test(W, generator=seeded()),
    ]


def _phases(put: Put) -> Any:
    values = put(spectrum())
    statistics = classify.phase_statistics(values, 400, 200, rank=200)
    return statistics, classify.phase_confidence(values, 400, 200, statistics, generator=seeded(), draws=20)


def _farms(put: Put) -> Any:
    return farms.farms_alpha(put(weight(240, 120)), side=40, grid=2), farms.hill_alpha(put(pareto()))


def _determinants(put: Put) -> Any:
    A = covariance()
    return [
        factorisations.lu_determinant(put(normal(30, 30))),
        factorisations.ldl_determinant(put(A - 0.5 * torch.eye(40, dtype=torch.float64))),
        triangular.gram_log_determinant(put(normal(60, 30))),
    ]


def _tiles(put: Put) -> Any:
    A, B = put(normal(20, 8)), put(normal(30, 8, seed=1))
    C, D, E = put(normal(20, 30, seed=2)), put(covariance(20)), put(covariance(20))
    tile_algebra.subtract_product(C, A, B)
    status = tile_algebra.cholesky(D)
    factor = D.clone()
    X = put(normal(12, 20))
    tile_algebra.solve_right(factor.tril(), X)
    tile_algebra.invert(D)
    F = E + 100 * put(torch.eye(20, dtype=torch.float64))
    tile_algebra.subtract_gram(F, A)
    failing = put(torch.diag(torch.tensor([1.0, 2.0, -1.0, 1.0], dtype=torch.float64)))
    return C, status, factor.tril(), X, D.tril(), F.tril(), tile_algebra.cholesky(failing)[0]


def _matern(put: Put) -> Any:
    out = put(torch.zeros(6, 5, dtype=torch.float64))
    for nu in (0.5, 1.5, 2.5):
        matern.matern_into(put(normal(6, 3)), put(normal(5, 3, seed=1)), out, nu=nu, length=2.0)
    return out


def _products(put: Put) -> Any:
    A, W = put(covariance()), put(weight())
    one = operators.shifted(operators.dense(A), 0.5)
    two = operators.gram(W, "cols")
    three = operators.linear(W)
    four = operators.symmetric(lambda X: A @ X, 40, device=A.device)
    X, Y = put(normal(40, 3)), put(normal(64, 3))
    processes = [
        lanczos.start(operators.dense(A), put(normal(2, 40) / 40**0.5)),
        lanczos.start(operators.gram(W.double()), put(normal(2, 64) / 8)),
    ]
    return [
        one.matmul(X),
        two.transposed(two.matmul(Y.float())),
        three.transposed(three.matmul(Y)),
        four.matmul(X),
        *(process.extend(6) for process in processes),
    ]


def _low_rank(put: Put) -> Any:
    A = put(normal(30, 4) @ normal(4, 20, seed=1) + 1e-3 * normal(30, 20, seed=2))
    W = operators.linear(A)
    symmetric = put(covariance(20))
    chosen = interpolative.interpolative(A, 4, 0)
    return [
        chosen,
        interpolative.cur(A, 4, 0),
        krylov.top_singular(W, 2, 0, steps=4),
        krylov.top_eigenpairs(operators.linear(symmetric), 2, 0, steps=4).values,
        qb.find_range(W, 4, 0),
        qb.qb(W, 0.1, 0),
        rank.rank_bounds(W, 0.1, 0),
        norms.norm_bounds(W, 0, steps=4),
        norms.eigenvalue_bounds(operators.linear(symmetric), 0, steps=4),
        norms.singular_bounds(W, 0, steps=4),
        nystrom.nystrom(lambda X: symmetric @ X, 20, 6, 0, device=A.device),
        nystrom.pivoted_cholesky(lambda i: symmetric[:, i], symmetric.diagonal(), 8, seeded()),
        orthonormal.beyond(torch.linalg.qr(A[:, :4])[0], A[:, 4:6], 1e-10),
        residual.residual_norm(
            lambda X: symmetric @ X, 20, 0, transposed=lambda X: symmetric @ X, device=symmetric.device
        ),
    ]


def _regression(put: Put) -> Any:
    A = put(normal(200, 10))
    reduced = leverage.reduced(A, 4.0, 0)
    return [
        least_squares.least_squares(A, put(normal(200, 1, seed=1)[:, 0]), 0).solution,
        leverage.leverage(A),
        leverage.sketched_leverage(A, 0).scores,
        reduced,
        leverage.eased(operators.linear(A), torch.linalg.qr(reduced).R).matmul(put(normal(10, 2))),
        sketch.Sketch(rows=40, size=200, seed=0, kind="gaussian").apply(A),
        sketch.Sketch(rows=40, size=200, seed=0, kind="sparse").apply(A),
        sketch.Sketch(rows=40, size=200, seed=0, kind="hadamard").apply(A),
    ]


def _traces(put: Put) -> Any:
    A = put(covariance())
    return [
        each(lambda X: A @ X, 40, 12, 0, device=A.device)
        for each in (trace.hutchinson, trace.hutch_plus_plus, trace.xtrace, trace.xnystrace)
    ]


def _quadrature(put: Put) -> Any:
    operator = operators.dense(put(covariance()), smallest=1e-3, largest=10.0)
    gram_operator = operators.gram(put(weight().double()))
    sampler = samplers.Sampler(0)
    whole = distribution.distribution(operator, 0, steps=6, probes=2)
    return [
        estimate.trace(operator, integrands.exponential(1.0), sampler, _EFFORT),
        estimate.log_determinant(gram_operator, sampler, _EFFORT),
        estimate.count(operator, 1.0, sampler, _EFFORT),
        density.kernel_polynomial(operator, sampler, moments=8, probes=2).moments,
        density.lanczos_density(
            operator, torch.linspace(0, 3, 5, dtype=torch.float64), 0.1, sampler, steps=6, probes=2
        ),
        functionals.of_products(whole, semidefinite=True),
        estimate.trace(
            operator,
            integrands.custom("square", lambda x: x**2, lambda x: 2 * x, at_zero=0.0, positive=True),
            sampler,
            _EFFORT,
        ),
    ]


def _small_pieces(put: Put) -> Any:
    values = put(spectrum())
    return [
        functionals.of_eigenvalues(values),
        functionals.snapped(values),
        quadrature.away_from_zero(values - values[3], put(torch.ones(200, dtype=torch.float64))),
        distribution.shares_between(
            put(torch.tensor([0.1, 0.4])).double(), put(torch.tensor([0.2, 0.5])).double(), 100, 8, 0.01
        ),
    ]


def _preconditioned(put: Put) -> Any:
    A = put(covariance())
    operator = operators.shifted(operators.dense(A), 0.5)
    values, vectors = torch.linalg.eigh(A)
    factor = put(normal(40, 5))
    shifted = A + 0.5 * put(torch.eye(40, dtype=torch.float64))
    by = [
        precondition.from_eigenvectors(vectors[:, -5:], values[-5:], 0.5),
        precondition.from_factor(factor, 0.5),
        precondition.low_precision_cholesky(shifted),
    ]
    sampler = samplers.Sampler(0)
    return [
        precondition.preconditioned(operator, by[0]).matmul(put(normal(40, 2))),
        *(precondition.preconditioned_log_determinant(operator, each, sampler, _EFFORT).value for each in by),
    ]


def _alignment(put: Put) -> Any:
    values = put(normal(12).square())
    return [
        alignment.overlap(values[:3], float(values.sum()), 12),
        alignment.random_overlap(values, 12, 3),
        alignment.share_below(1.1, values, size=12, directions=3, draws=20, generator=seeded()),
    ]


def _tangent_kernels(put: Put) -> Any:
    first = Factors(inputs=put(normal(3, 4, 5)), gradients=put(normal(3, 2, 4, 6, seed=1)))
    second = Factors(inputs=put(normal(2, 4, 5, seed=2)), gradients=put(normal(2, 2, 4, 6, seed=3)))
    similar = put(normal(3, 4, 2, 4, seed=4))
    total, rows = put(normal(8, 8, seed=5)), put(normal(8, 3, seed=6))
    products.add_lower(total, rows)
    products.mirror(total)
    return [
        contract(first, second),
        products.by_jacobians(first, second),
        products.by_jacobians(first, first),
        products.weighted(similar, first.gradients, second.gradients),
        products.weighted(similar, first.gradients[:, :1], second.gradients[:, :1]),
        total,
    ]


ROWS: dict[str, Row] = {
    "alignment": _alignment,
    "spectra": _spectra,
    "scales": _scales,
    "variance profiles": _profiles,
    "noise": _noise,
    "phases": _phases,
    "farms": _farms,
    "determinants": _determinants,
    "tiles": _tiles,
    "matern": _matern,
    "products": _products,
    "low rank": _low_rank,
    "regression": _regression,
    "traces": _traces,
    "quadrature": _quadrature,
    "small pieces of quadrature": _small_pieces,
    "preconditioned": _preconditioned,
    "tangent kernels": _tangent_kernels,
}
