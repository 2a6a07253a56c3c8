"""Rows of the table of kernels: deterministic equivalents, HTMP, tails, penalties, minors, edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from kernel_inputs import Put, Row, covariance, normal, pareto, seeded, spectrum, weight

from rmtaudit.kernels import flodance, gamma_law
from rmtaudit.kernels.difference import subspaces
from rmtaudit.kernels.equivalents import (
    activations,
    companion,
    feature_kernel,
    hermite,
    inversion,
    population,
    random_features,
    row_scales,
    sample_law,
    spikes,
    support,
)
from rmtaudit.kernels.flodance import orderings
from rmtaudit.kernels.htmp import censored, product, rivals
from rmtaudit.kernels.htmp import fit as htmp_fit
from rmtaudit.kernels.htmp.law import HTMP
from rmtaudit.kernels.noise import krylov, spike_bound
from rmtaudit.kernels.noise import variance_profile as profiles
from rmtaudit.kernels.penalties import heavy_tail, norm
from rmtaudit.kernels.powerlaw import fit as powerlaw
from rmtaudit.kernels.tails import bootstrap, near_zero, tail

_RIDGES = torch.tensor([0.1, 1.0], dtype=torch.float64)


def _equivalents(put: Put) -> Any:
    law = population.population(put(torch.tensor([1.0, 3.0])), put(torch.tensor([0.5, 0.5])))
    z = put(torch.tensor([1.0 + 0.1j, 2.0 + 0.01j], dtype=torch.complex128))
    sample = sample_law.SampleLaw(law, 0.1)
    at = put(torch.tensor([0.8, 1.0, 3.2], dtype=torch.float64))
    return [
        law,
        companion.companion_transform(law, 0.1, z),
        sample_law.marchenko_pastur_stieltjes(z, 0.5),
        spikes.spiked_outliers(law, 0.1, put(torch.tensor([4.0, 9.0]))),
        support.outlier_map(law, 0.1, put(torch.tensor([4.0, 9.0], dtype=torch.float64))),
        sample.bands,
        sample.pdf(at),
        sample.cdf(at),
        sample.quantiles(5).values,
        sample.stieltjes(z),
        inversion.corrected_log_mean(put(spectrum(50)), 100),
        inversion.estimate_population(put(spectrum(50)), 100),
    ]


def _row_scales(put: Put) -> Any:
    scales = put(torch.linspace(0.2, 3.0, 40, dtype=torch.float64))
    scales = scales / scales.mean()
    rows = put(normal(40, 16).double()) * scales[:, None].sqrt()
    z = np.array([1.0 + 0.5j, 2.0 + 0.5j])
    v = np.array([-1 / value for value in z])
    return [
        row_scales.scale_variance(rows),
        row_scales.squared_scales(rows.square().sum(1), 0.3),
        *row_scales.log_mean_bias(0.4, scales),
        *(torch.from_numpy(each) for each in row_scales.dual_transforms(v, z, scales)),
    ]


def _random_features(put: Put) -> Any:
    inputs, after = put(normal(24, 8) / 8**0.5), put(normal(6, 8, seed=1) / 8**0.5)
    kernel = feature_kernel.feature_kernel("relu", inputs)
    cross = feature_kernel.feature_kernel("relu", after, inputs)
    problem = random_features.ridge_problem(
        kernel,
        inputs[:, 0],
        cross=cross,
        variances=feature_kernel.feature_variances("relu", after),
        test_targets=after[:, 0],
    )
    train, test = (inputs, inputs[:, 0]), (after, after[:, 0])
    ridges = put(_RIDGES)
    return [
        feature_kernel.feature_kernel("tanh", inputs),
        feature_kernel.feature_variances("gelu", inputs),
        random_features.ridge_errors(problem, 20, ridges),
        random_features.simulate_ridge("relu", train, test, 20, ridges, generator=seeded()),
        random_features.trained_ridge(inputs.T, inputs[:, 0], after.T, after[:, 0], ridges),
        activations.normal_density(inputs),
        hermite.hermite_functions(inputs[0], 4),
    ]


def _htmp(put: Put) -> Any:
    values = put(HTMP(gamma=0.75, kappa=2.0).draw(30, seeded()).sort().values)
    return [
        censored.fit_joint_censored(values, 40, 30, floor=1e-3 * float(values[0])),
        htmp_fit.fit_marginal(values, 40, 30),
        htmp_fit.fit_ks(values, 40, 30),
        product.product_pdf(HTMP(gamma=0.5, kappa=2.0), values[:4], values[-3:]),
        rivals.compare(values, 40, 30, start=5.0),
    ]


def _tails(put: Put) -> Any:
    values = put(pareto())
    upper = tail.fit_tail(values, "upper", stability=False)
    assert isinstance(upper, tail.Tail)
    lowest = near_zero.fit_near_zero(values - 0.999)
    assert isinstance(lowest, near_zero.NearZero)
    return [
        bootstrap.bootstrap_tail(values, upper, replicas=2, generator=seeded()),
        near_zero.bootstrap_near_zero(values - 0.999, lowest, replicas=2, generator=seeded()),
        powerlaw.fit_power_law(values),
        gamma_law.gamma_quantile(put(torch.tensor([1.0, 7.0, 300.0])), 0.05),
    ]


def _penalties(put: Put) -> Any:
    W = put(weight(24, 16).double())
    return [
        heavy_tail.alpha_penalty(W, alpha=2.5),
        heavy_tail.kappa_penalty(W, kappa=3.0),
        norm.norm_penalty(W),
        norm.power_iteration(W, put(normal(16)), steps=5),
    ]


def _series_of_minors(put: Put) -> Any:
    matrix = put(covariance(60))
    average = orderings.ordering_average(matrix, orderings=2, generator=seeded())
    pieces = list(flodance.grow_minors(lambda start, stop: matrix[start:stop, :stop], [20, 40, 60]))
    series = flodance.MinorSeries.from_minors(torch.cat(pieces))
    return [
        flodance.extrapolate_until(pieces, 90, 1e-9).extrapolation,
        flodance.extrapolate(series, 90),
        flodance.extrapolate(series, 90, averaged=average),
    ]


def _edges(put: Put) -> Any:
    W = put(normal(96, 64).float())
    profile = profiles.sinkhorn(W)
    equalised = profiles.equalised_gram(W, profile)
    values = torch.linspace(0, 1, 600, dtype=torch.float64)
    values[-3:] = torch.tensor([4.0, 5.0, 6.0])
    diagonal = put(values)[:, None]
    return [
        krylov.largest_count(lambda X: diagonal * X, diagonal.T, 2.0, expected=3),
        spike_bound.edge_without_draws(W, profile, 0.9 * float(torch.linalg.eigvalsh(equalised)[-1])),
        subspaces.leaders_of(put(covariance(40)))[0],
    ]


ROWS: dict[str, Row] = {
    "equivalents": _equivalents,
    "scales of rows": _row_scales,
    "random features": _random_features,
    "htmp": _htmp,
    "tails": _tails,
    "penalties": _penalties,
    "series of minors": _series_of_minors,
    "edges": _edges,
}
