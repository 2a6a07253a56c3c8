"""Rows of the table of kernels: power laws, tails, series of minors, free probability, ridge regression."""

from __future__ import annotations

from typing import Any

import torch
from kernel_inputs import Put, Row, covariance, pareto, seeded, spectrum, weight

from rmtaudit.kernels import flodance
from rmtaudit.kernels.flodance import orderings
from rmtaudit.kernels.htmp import estimate, goodness
from rmtaudit.kernels.powerlaw import bootstrap, interval
from rmtaudit.kernels.powerlaw import fit as powerlaw
from rmtaudit.kernels.ridge import population, sample
from rmtaudit.kernels.tails import near_zero, tail
from rmtaudit.kernels.ww import determinant, scale, shuffled, vectors
from rmtaudit.kernels.ww import tail as ww_tail


def _power_laws(put: Put) -> Any:
    values = put(pareto())
    law = powerlaw.fit_power_law(values)
    assert isinstance(law, powerlaw.PowerLawFit)
    return [
        law,
        bootstrap.bootstrap_power_law(values, law, replicas=5, generator=seeded()),
        interval.exponent_interval(values),
        tail.fit_tail(values, "upper", stability=False),
        tail.side_values(values, "upper"),
        near_zero.fit_near_zero(values - 0.999),
        near_zero.lowest_values_problem(values - 0.999, 0.1),
    ]


def _weightwatcher(put: Put) -> Any:
    values = put(spectrum(100))
    return [
        determinant.determinant_tail(values),
        scale.matrix_rank(values, 200),
        scale.weak_rank_loss(values),
        scale.matrix_entropy(values, 200),
        scale.log_alpha_norm(values, 2.0),
        shuffled.shuffled_eigenvalues([put(weight())], 1.0, seeded()),
        shuffled.jensen_shannon_distance(values, values.square()),
        ww_tail.fit_tail(values),
        vectors.localisation([put(weight())], 5),
    ]


def _kappa(put: Put) -> Any:
    values = put(pareto(40, alpha=1.6).sort().values)
    moment = estimate.fit_moment(values, 60, 40)
    return [
        moment,
        estimate.checked(values, 60, 40)[0],
        estimate.fit_joint(values, 60, 40),
        goodness.distance(values, moment),
    ]


def _minors(put: Put) -> Any:
    matrix = put(covariance(40))
    steps = list(flodance.grow_minors(lambda start, stop: matrix[start:stop, :stop], [10, 25, 40]))
    average = orderings.ordering_average(matrix, orderings=2, generator=seeded())
    return [
        steps,
        average(20),
        flodance.order_test(
            lambda rows: matrix[rows.to(matrix.device)][:, rows.to(matrix.device)],
            40,
            40,
            generator=seeded(),
        ),
    ]


def _ridge(put: Put) -> Any:
    values, mu = put(spectrum(50)), put(torch.tensor([0.1, 1.0], dtype=torch.float64))
    return [
        population.population_risk(values, put(torch.ones(50, dtype=torch.float64)), mu, samples=100),
        sample.ridge_bias(values, mu),
        sample.ridge_risk(values, mu, samples=100),
        sample.bootstrap_ridge(
            lambda drawn: sample.ridge_risk(drawn, mu, samples=100), values, draws=3, generator=seeded()
        ),
    ]


ROWS: dict[str, Row] = {
    "power laws": _power_laws,
    "numbers of weightwatcher": _weightwatcher,
    "kappa": _kappa,
    "minors": _minors,
    "ridge": _ridge,
}
