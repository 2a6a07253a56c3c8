"""Rows of the table of kernels: free probability, and predictions of larger matrices from blocks."""

from __future__ import annotations

from typing import Any

import torch
from kernel_inputs import Put, Row, normal, seeded, spectrum

from rmtaudit.kernels import extrapolation, operators
from rmtaudit.kernels.extrapolation import atomic, parts, spikes
from rmtaudit.kernels.free import (
    convolution,
    cumulants,
    decompression,
    deformed,
    determination,
    empirical,
    ended,
    evolution,
    fit,
    forms,
    freeness,
    grids,
    heights,
    identify,
    laws,
    measure,
    nonnegative,
    replicas,
    ridge,
    transforms,
    validation,
)

_LEVELS = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)


def _block(size: int = 160, seed: int = 0) -> torch.Tensor:
    """Return a block of a larger Gram matrix, with one direction that all vectors share."""
    X = normal(size, 3 * size, seed=seed) + 0.3 * normal(1, 3 * size, seed=seed + 1)
    return X @ X.T / (3 * size)


def _measure(put: Put) -> measure.LevyMeasure:
    at = torch.tensor([0.5, 1.5, 2.0], dtype=torch.float64)
    mass = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
    return measure.LevyMeasure(left=put(at), right=put(at + 0.25), mass=put(mass), mean=1.5)


def _measures(put: Put) -> Any:
    levy = _measure(put)
    s, v = put(torch.linspace(3, 5, 6, dtype=torch.float64)), put(torch.full((6,), 0.5, dtype=torch.float64))
    above = put(torch.complex(torch.linspace(-1, 4, 6).double(), torch.full((6,), 0.7).double()))
    return [
        measure.inverse_square(levy, s),
        measure.real_transform(levy, s, v),
        measure.complex_transform(levy, above),
        measure.cauchy_real(levy.left, levy.right, s, v),
        measure.cauchy_imaginary(levy.left, levy.right, s, v),
        measure.potential(levy, s, v, 2.0),
        heights.heights(levy, s, 2.0),
        transforms.r_transform(levy, 0.05 * above),
        transforms.stieltjes(levy, above, 2.0),
        laws.compound_free_poisson(2.0, put(torch.tensor([1.0, 3.0])), put(torch.tensor([0.4, 0.6]))),
        laws.decompress(levy, 2.0),
        grids.interpolate(s, s + 0.1, v),
    ]


def _evolved(put: Put) -> Any:
    law = evolution.evolve(_measure(put), 2.0, points=200)
    return [
        law.quantiles(9),
        law.cdf(law.x[::40]),
        law.log_det(0.1),
        law.edges,
        law.mass,
        validation.wasserstein(law, law.quantiles(9) + 0.1),
    ]


def _convolutions(put: Put) -> Any:
    one, other = put(spectrum(40)), put(spectrum(50, seed=1))
    z = put(torch.tensor([1.0 + 0.5j, 2.0 + 1.0j], dtype=torch.complex128))
    parts_ = convolution.sum_transform(one, other, z), convolution.product_transform(one, other, z)
    return [1.0 * each for each in parts_]


def _cumulants(put: Put) -> Any:
    moments = put(torch.tensor([1.0, 2.0, 5.0, 14.0], dtype=torch.float64))
    known = cumulants.free_cumulants(moments)
    return [
        known,
        cumulants.moments_of(known),
        cumulants.evolved_cumulants(known, 2.0),
        cumulants.cumulant_laws(put(spectrum())),
    ]


def _fits(put: Put) -> Any:
    values = put(spectrum(64))
    transform = empirical.empirical_transform(values)
    one = fit.fit_levy(values, positive=True, cells=32)[0]
    system = fit.levy_system(values, positive=True, cells=32)
    gram, right = system.normal()
    masses = nonnegative.nonnegative_least_squares(gram, right)
    return [
        transform,
        empirical.empirical_stieltjes(values, values[:4] + 0.1, put(torch.full((4,), 0.1)).double()),
        empirical.point_mass_at_zero(values),
        one.measure.variance,
        one.measure.mean,
        one.chi_square,
        evolution.evolve(one.measure, 2.0, 200).quantiles(9),
        evolution.evolve(fit.fit_many([values], positive=True, cells=32)[0][0].measure, 2.0, 200).quantiles(
            9
        ),
        ((gram @ masses / 2 - right) @ masses),
        fit.roughness(8, 9, values),
        ended.one_atom_with_end(values),
    ]


def _laws_of_few_numbers(put: Put) -> Any:
    values = put(spectrum(64))
    smooth = fit.fit_levy(values, positive=True)[0]
    extremes = identify.extreme_measures(values, 8.0)
    regular = evolution.evolve(laws.kesten_mckay(8.0).levy(), 1.0).quantiles(64)  # a law with an end
    return [
        ended.fit_ended(put(regular)),
        forms.find_form(values, smooth),
        [evolution.evolve(each, 2.0, 200).quantiles(9) for each in extremes],
        _variance(identify.fewest_atoms(values, smooth)),
        [each.f for each in replicas.redrawn(values[None], smooth.measure, 2.0, 2, seeded())],
    ]


def _variance(levy: measure.LevyMeasure | None) -> float | None:
    return None if levy is None else levy.variance


def _deformed(put: Put) -> Any:
    values = put(spectrum(40))
    return [
        deformed.companion(values, 60),
        deformed.deformed_quantiles(values, 60, 2.0, 9),
        deformed.companion_power(values, 1.5).quantiles(9),
        deformed.nevanlinna(values),
    ]


def _ridge(put: Put) -> Any:
    values = put(spectrum(50))
    return ridge.resolvable_scale(values, 2.0), ridge.ridge_log_det(values, 2.0, 3.0)


def _freeness(put: Put) -> Any:
    block = put(_block(64))
    values, vectors = torch.linalg.eigh(block)
    return [
        freeness.freeness_evidence(block, seeded()),
        freeness.rank_statistic(vectors, values),
        freeness.rotated(block, seeded()),
        validation.freeness(block, seeded()),
        validation.free_block(values, 20, seeded()),
        validation.ks_distance(values, values + 0.1),
    ]


def _decompression(put: Put) -> Any:
    values = put(spectrum(128))
    prediction = decompression.decompress_spectrum(values, 2.0, generator=seeded(), replicas=0)
    chosen = validation.choose(values, positive=True, index=0.0, generator=seeded())
    assert chosen is not None
    return [
        prediction.verdict,
        prediction.quantiles(9),
        chosen.slack,
        chosen.scores,
    ]


def _pieces_of_a_decompression(put: Put) -> Any:
    return [
        decompression.beyond_noise(put(normal(4)), put(normal(5, 4, seed=1))),
        *decompression.take_spikes(put(torch.linalg.eigvalsh(_block()))[None]),
    ]


def _determination(put: Put) -> Any:
    answer = determination.determine(put(spectrum(64)), 2.0, search=False)
    return answer.outcome.value, answer.positive, [level.width for level in answer.levels]


def _shared_directions(put: Put) -> Any:
    block = put(_block())
    values, places = spikes.shared_spikes(block)
    bulk = spikes.without(values[None], places)
    law = extrapolation.grown_gram(bulk[0], 480, 2.0, points=400, cells=64)
    return [
        values,
        places,
        spikes.cleaned(values[None]),
        spikes.deflated(block),
        spikes.carried(bulk[0], law, 480, 2.0, float(values[-1])),
        law.quantiles(9),
        extrapolation.growth.missed_variance(spikes.deflated(block), 480, 2.0),
        atomic.atoms_alone(put(torch.tensor([0.0] * 40 + [1.0] * 60, dtype=torch.float64))),
        parts.principal_part(block, 20, seeded()),
        parts.diagonal_share(block, values[None]),
    ]


def _nested(put: Put) -> Any:
    return extrapolation.nested_scores(put(_block(128)), seeded(), positive=True)


def _prediction(put: Put) -> Any:
    X = put(normal(150, 300))
    block = X[:100] @ X[:100].T / 300
    prediction = extrapolation.predict(
        torch.linalg.eigvalsh(block), 1.5, generator=seeded(), matrix=block, dimension=300, replicas=0
    )
    return [
        prediction.verdict.word,
        prediction.numbers(),
        prediction.quantiles(9),
        prediction.band(_LEVELS),
        extrapolation.witness(prediction, operators.gram(X / 300**0.5, "rows"), 0),
    ]


ROWS: dict[str, Row] = {
    "measures": _measures,
    "evolved laws": _evolved,
    "free convolutions": _convolutions,
    "free cumulants": _cumulants,
    "fits of measures": _fits,
    "laws of few numbers": _laws_of_few_numbers,
    "deformed laws": _deformed,
    "ridge of a larger matrix": _ridge,
    "freeness": _freeness,
    "decompression": _decompression,
    "pieces of a decompression": _pieces_of_a_decompression,
    "determination": _determination,
    "shared directions": _shared_directions,
    "quarters of a block": _nested,
    "prediction of a larger matrix": _prediction,
}
