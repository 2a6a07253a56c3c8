"""The powerlaw analyzer: what enters, what its options add, and reasons where there is no fit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from rmtaudit.analyzers.base import LayerInput, MetricValue, Scalar
from rmtaudit.analyzers.contract import AnalyzerContract
from rmtaudit.analyzers.powerlaw import PowerLaw, PowerLawOptions
from rmtaudit.kernels.powerlaw.bootstrap import PowerLawBootstrap, bootstrap_power_law
from rmtaudit.kernels.powerlaw.fit import PowerLawFit, fit_power_law
from rmtaudit.kernels.powerlaw.interval import exponent_interval
from rmtaudit.kernels.spectra.spectrum import Spectrum
from rmtaudit.matrices.layers import Layer, LayerKind

LAYER = Layer(
    name="layer",
    tensor="layer",
    tensors=("layer",),
    kind=LayerKind.DENSE,
    view="as stored",
    shape=(200, 200),
    matrices=1,
    parameters=40_000,
    dtype="float32",
    build=lambda tensors: tensors,
)


class TestContract(AnalyzerContract):
    analyzer = PowerLaw()


class TestContractWithBootstrap(AnalyzerContract):
    analyzer = PowerLaw(PowerLawOptions(bootstrap=4, stability=False, min_tail=2))


def layer_input(values: torch.Tensor, unresolved: int = 0, seed: int = 0) -> LayerInput:
    values = torch.cat([torch.zeros(unresolved, dtype=torch.float64), values.double().sort().values])
    return LayerInput(
        layer=LAYER,
        spectrum=Spectrum(
            eigenvalues=values, rows=200, cols=200, method="exact", floor=1e-12, unresolved=unresolved
        ),
        seed=seed,
    )


def pareto(n: int = 200, alpha: float = 3.0) -> torch.Tensor:
    return torch.from_numpy((1 - np.random.default_rng(0).random(n)) ** (-1 / (alpha - 1)))


def analyze(given: LayerInput, analyzer: PowerLaw | None = None) -> Mapping[str, MetricValue | Scalar]:
    return (analyzer or PowerLaw()).analyze(given).values


def value(found: object) -> MetricValue:
    assert isinstance(found, MetricValue)
    return found


@pytest.mark.parametrize(
    "options",
    [
        PowerLawOptions(),
        PowerLawOptions(stability=False),
        PowerLawOptions(bootstrap=5),
        PowerLawOptions(bootstrap=5, stability=False),
    ],
)
@pytest.mark.parametrize("values", [pareto(), pareto(5), torch.ones(50), torch.zeros(50)])
def test_every_active_metric_and_no_other(options: PowerLawOptions, values: torch.Tensor) -> None:
    analyzer = PowerLaw(options)
    active = [metric.name for metric in analyzer.active_metrics()]
    assert sorted(analyze(layer_input(values), analyzer)) == sorted(active)
    assert ("alpha_low" in active) == options.stability
    assert ("p_value" in active) == (options.bootstrap > 0)


def test_values_are_the_kernels() -> None:
    values = pareto()
    fit = fit_power_law(values, min_tail=8)
    assert isinstance(fit, PowerLawFit)
    found = analyze(layer_input(values))
    interval = exponent_interval(values)
    assert interval is not None
    alpha = value(found["alpha"])
    assert (alpha.value, alpha.ci) == (fit.alpha, (interval.low, interval.high))
    assert alpha.se == pytest.approx((interval.high - interval.low) / (2 * 1.6448536))
    assert found["alpha_unstable"] is False
    assert (found["xmin"], found["ks_distance"], found["tail_size"]) == (
        fit.xmin,
        fit.ks_distance,
        fit.tail_size,
    )
    assert (found["alpha_low"], found["alpha_high"]) == (fit.alpha_low, fit.alpha_high)
    weighted = value(found["alpha_weighted"])
    assert weighted.value == pytest.approx(fit.alpha * math.log10(values.max()))


def test_only_resolved_eigenvalues_enter() -> None:
    assert analyze(layer_input(pareto(), unresolved=50)) == analyze(layer_input(pareto()))


def test_few_resolved_eigenvalues_are_skipped() -> None:
    for found in analyze(layer_input(pareto(7), unresolved=100)).values():
        assert value(found).status == "skipped"
        assert "7 resolved eigenvalues" in value(found).reason


@pytest.mark.parametrize("differ", [0.0, 1e-13])
def test_equal_eigenvalues_fail_with_the_reason(differ: float) -> None:
    """The resolution floor of these spectra is 1e-12: a smaller difference is no difference."""
    values = 1 + differ * torch.arange(8, dtype=torch.float64)
    for found in analyze(layer_input(values)).values():
        assert value(found).status == "failed"
        assert "equal" in value(found).reason


def test_a_tail_of_equal_eigenvalues_fails_with_the_reason() -> None:
    values = torch.cat([0.5 * torch.ones(3, dtype=torch.float64), torch.ones(8, dtype=torch.float64)])
    assert value(analyze(layer_input(values[3:]))["alpha"]).status == "failed"
    assert value(analyze(layer_input(values))["alpha"]).status == "ok"


def test_a_zero_matrix_fails_with_the_reason() -> None:
    for found in analyze(layer_input(torch.zeros(64), unresolved=0)).values():
        assert (value(found).status, value(found).reason) == ("failed", "the matrix is zero")


def test_bootstrap_adds_intervals_and_a_p_value() -> None:
    given = layer_input(pareto())
    found = analyze(given, PowerLaw(PowerLawOptions(bootstrap=30, confidence=0.8)))
    fit = fit_power_law(pareto(), min_tail=8)
    assert isinstance(fit, PowerLawFit)
    kernel = bootstrap_power_law(
        pareto(), fit, replicas=30, generator=given.generator("powerlaw bootstrap"), confidence=0.8
    )
    assert isinstance(kernel, PowerLawBootstrap)
    interval = exponent_interval(pareto(), confidence=0.8)
    assert interval is not None
    assert value(found["alpha"]).ci == (interval.low, interval.high)
    assert found["xmin"] == MetricValue(value=fit.xmin, ci=kernel.xmin_ci)
    assert found["p_value"] == MetricValue(value=kernel.p_value, se=kernel.p_value_se)
    assert found["sigma"] == fit.sigma


def test_bootstrap_depends_on_the_seed_alone() -> None:
    analyzer = PowerLaw(PowerLawOptions(bootstrap=10))
    first, again, other = (analyze(layer_input(pareto(), seed=seed), analyzer) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_an_unstable_exponent_is_observed() -> None:
    """Quantiles of a power law of exponent 1.5, whose 40 largest values follow one of exponent 6."""
    whole = (1 - (np.arange(400) + 0.5) / 400) ** -2.0
    steep = 10**2 * (1 - (np.arange(40) + 0.5) / 40) ** (-1 / 5)
    values = torch.from_numpy(np.concatenate([whole[:360], steep]))
    found = PowerLaw().analyze(layer_input(values))
    assert found.values["alpha_unstable"] is True
    (observation,) = found.observations
    assert observation.code == "RA-PL-001"
    assert observation.evidence["rivals"][0]["tail_size"] != observation.evidence["tail_size"]


@pytest.mark.parametrize(
    "changed",
    [{"bootstrap": -1}, {"bootstrap": 1}, {"min_tail": 1}, {"confidence": 0.0}, {"confidence": 1.0}],
)
def test_options_that_make_no_sense_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changed))):
        dataclasses.replace(PowerLawOptions(), **changed)
