"""The analyzer htmp: what it says of layers whose law is known, and what it refuses to say."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from rmtaudit.analyzers.base import LayerInput, MetricValue
from rmtaudit.analyzers.contract import AnalyzerContract, layer_input
from rmtaudit.analyzers.htmp import ACCEPTED, BULK_ONLY, OUTDONE, REJECTED, HTMPFit, HTMPOptions
from rmtaudit.kernels.htmp.ensemble import Ensemble
from rmtaudit.kernels.spectra.spectrum import Spectrum
from rmtaudit.matrices.layers import LayerKind


class TestContract(AnalyzerContract):
    analyzer = HTMPFit()


class TestContractOfMoments(AnalyzerContract):
    analyzer = HTMPFit(HTMPOptions(estimator="moment", compare=False, bootstrap=5, level=0.2))


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def of_ensemble(kappa: float, size: int, longer: int, seed: int = 0) -> LayerInput:
    """A layer whose spectrum is a draw of the ensemble; it has no matrix."""
    values = torch.from_numpy(Ensemble(kappa, size, longer).draw(torch.Generator().manual_seed(seed)))
    return replace(
        layer_input(gaussian(4, 3)),
        spectrum=Spectrum(
            eigenvalues=values, rows=size, cols=longer, method="exact", floor=0.0, unresolved=0
        ),
    )


def value(found: object, name: str) -> MetricValue:
    assert isinstance(found, dict)
    result = found[name]
    return result if isinstance(result, MetricValue) else MetricValue(value=result)


def number(found: object, name: str) -> float:
    result = value(found, name).value
    assert isinstance(result, float | int), (name, value(found, name).reason)
    return float(result)


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (200, 200)])
def test_gaussian_noise_has_kappa_n(shape: tuple[int, int]) -> None:
    found = HTMPFit().analyze(layer_input(0.02 * gaussian(*shape)))
    kappa = value(found, "kappa_full")
    assert kappa.se is not None
    assert kappa.ci is not None
    assert number(found, "kappa_full") == pytest.approx(200, abs=4 * kappa.se)
    assert kappa.ci[0] < number(found, "kappa_full") < kappa.ci[1]
    assert number(found, "kappa_index") == pytest.approx(number(found, "kappa_full") / 200)
    assert number(found, "htmp_a") == pytest.approx(number(found, "kappa_full") * max(shape) / 400)
    assert value(found, "htmp_verdict").value == ACCEPTED
    assert value(found, "htmp_best_law").value == "MP"
    # the mean is fitted by both, kappa by one
    assert 0 < number(found, "htmp_delta_bic") < 10


def test_a_few_spikes_take_kappa_down_and_the_bulk_keeps_it() -> None:
    left, right = (torch.linalg.qr(gaussian(size, 4, seed=size)).Q for size in (400, 300))
    found = HTMPFit().analyze(layer_input(gaussian(400, 300) + 150 * left @ right.T))
    assert number(found, "kappa_spikes") == 4
    assert number(found, "kappa_full") < 20
    assert number(found, "kappa_bulk") == pytest.approx(296, rel=0.35)
    assert number(found, "htmp_p_value") < 0.01
    assert number(found, "htmp_bulk_p_value") > 0.01
    assert value(found, "htmp_verdict").value == BULK_ONLY
    assert value(found, "htmp_best_law").value == "MP with spikes"


@pytest.mark.parametrize("kappa", [0.5, 3.0, 30.0])
def test_spectra_of_the_law_are_not_rejected(kappa: float) -> None:
    found = HTMPFit().analyze(of_ensemble(kappa, 400, 800))
    error = value(found, "kappa_full").se
    assert error is not None
    assert number(found, "kappa_full") == pytest.approx(kappa, abs=4 * error)
    assert value(found, "htmp_verdict").value == ACCEPTED


def test_what_is_no_htmp_is_said_to_be_none() -> None:
    scales = torch.ones(300, 1)
    scales[:150] = 8
    found = HTMPFit().analyze(layer_input(gaussian(300, 600) * scales))
    assert value(found, "htmp_verdict").value == REJECTED
    assert number(found, "htmp_delta_bic") > 10
    assert "half of the eigenvalues" in value(found, "kappa_bulk").reason


def test_a_law_that_fits_better_is_told_where_htmp_is_not_rejected() -> None:
    ranks = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    lognormal = torch.exp(1.2 * torch.special.ndtri(ranks))
    given = replace(
        layer_input(gaussian(4, 3)),
        spectrum=Spectrum(eigenvalues=lognormal, rows=64, cols=256, method="exact", floor=0.0, unresolved=0),
    )
    found = HTMPFit().analyze(given)
    assert number(found, "htmp_p_value") >= 0.01
    assert number(found, "htmp_delta_bic") > 10
    assert value(found, "htmp_verdict").value == OUTDONE


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_the_bootstrap_agrees_with_the_table(seed: int) -> None:
    given = of_ensemble(3.0, 100, 200, seed)
    table = number(HTMPFit(HTMPOptions(compare=False)).analyze(given), "htmp_p_value")
    drawn = value(HTMPFit(HTMPOptions(compare=False, bootstrap=200)).analyze(given), "htmp_p_value")
    assert drawn.se is not None
    assert table < 0.5
    assert drawn.value == pytest.approx(table, abs=4 * drawn.se)


def test_every_estimator_is_near() -> None:
    given = of_ensemble(5.0, 300, 600, seed=3)
    for estimator in ("joint", "moment", "marginal", "ks"):
        found = HTMPFit(HTMPOptions(estimator=estimator, compare=False)).analyze(given)
        assert number(found, "kappa_full") == pytest.approx(5.0, rel=0.5), estimator
        # the goodness of fit is that of the joint fit whatever the estimator
        assert number(found, "htmp_ks_distance") == pytest.approx(
            number(HTMPFit().analyze(given), "htmp_ks_distance")
        )


def layer_of(
    eigenvalues: torch.Tensor, longer: int, dtype: torch.dtype, epsilon: float, seed: int = 0
) -> LayerInput:
    """A layer with these eigenvalues and random singular vectors, rounded to ``dtype``."""
    size = len(eigenvalues)
    source = torch.Generator().manual_seed(seed)
    left, right = (
        torch.linalg.qr(torch.randn(side, size, generator=source, dtype=torch.float64)).Q
        for side in (size, longer)
    )
    matrix = ((left * eigenvalues.sqrt()) @ right.T).to(dtype)
    return replace(layer_input(matrix.float()), epsilon=epsilon)


@pytest.mark.parametrize(
    ("kappa", "dtype", "epsilon"),
    [
        (0.3, torch.float32, 2.0**-24),
        (1.0, torch.float16, 2.0**-11),
        (20.0, torch.bfloat16, 2.0**-8),
    ],
)
def test_square_layers_in_low_precision_have_the_kappa_of_their_law(
    kappa: float, dtype: torch.dtype, epsilon: float
) -> None:
    deviates = []
    for seed in range(6):
        values = torch.from_numpy(Ensemble(kappa, 128, 128).draw(torch.Generator().manual_seed(40 + seed)))
        found = HTMPFit(HTMPOptions(compare=False)).analyze(layer_of(values, 128, dtype, epsilon, seed))
        estimate = value(found, "kappa_full")
        assert estimate.se is not None
        deviates.append(math.log(number(found, "kappa_full") / kappa) * kappa / estimate.se)
        assert str(value(found, "kappa_method").value).startswith("joint")
        assert number(found, "htmp_p_value") > 0.001
    # with rounding noise taken for eigenvalues, kappa = 0.3 read 0.36: 2.3 standard errors here, every time
    assert abs(sum(deviates) / len(deviates)) < 1.5


def test_censored_eigenvalues_are_counted_in_the_method_and_need_no_other_law() -> None:
    values = torch.from_numpy(Ensemble(0.3, 48, 48).draw(torch.Generator().manual_seed(1)))
    found = HTMPFit().analyze(layer_of(values, 48, torch.float32, 2.0**-24))
    assert "eigenvalues below the resolution floor" in str(value(found, "kappa_method").value)
    assert value(found, "htmp_best_law").status == "skipped"
    drawn = HTMPFit(HTMPOptions(compare=False, bootstrap=100)).analyze(
        layer_of(values, 48, torch.float32, 2.0**-24)
    )
    assert 0 < number(drawn, "htmp_p_value") <= 1


def test_estimators_that_fail_fall_back_to_moments_and_say_so() -> None:
    noise = layer_input(gaussian(60, 40))
    values = noise.spectrum.eigenvalues.clone()
    values[10] = values[11]
    equal = replace(noise, spectrum=replace(noise.spectrum, eigenvalues=values))
    found = HTMPFit().analyze(equal)
    moments = HTMPFit(HTMPOptions(estimator="moment")).analyze(equal)
    assert number(found, "kappa_full") == number(moments, "kappa_full") > 0
    assert value(found, "kappa_method").value == (
        "moment, because joint failed: two eigenvalues are equal: the likelihood is 0 for every kappa"
    )
    assert value(moments, "kappa_method").value == "moment"
    assert value(found, "htmp_verdict").status == "failed"
    zeros = noise.spectrum.eigenvalues.clone()
    zeros[:3] = 0
    unresolved = replace(noise, spectrum=replace(noise.spectrum, eigenvalues=zeros, unresolved=3))
    marginal = HTMPFit(HTMPOptions(estimator="marginal")).analyze(unresolved)
    assert "because marginal failed: 3 eigenvalues" in str(value(marginal, "kappa_method").value)


def test_what_cannot_be_known_says_why() -> None:
    noise = layer_input(gaussian(60, 40))
    orthogonal = layer_input(torch.linalg.qr(gaussian(60, 40)).Q)
    assert "equal within the stored precision" in value(HTMPFit().analyze(orthogonal), "kappa_full").reason
    pairs = torch.linspace(1.0, 1.1, 20, dtype=torch.float64).repeat_interleave(2)
    none = HTMPFit().analyze(replace(noise, spectrum=replace(noise.spectrum, eigenvalues=pairs)))
    assert value(none, "kappa_full").value is None
    assert value(none, "kappa_method").reason == value(none, "kappa_full").reason != ""
    adapter = replace(noise, layer=replace(noise.layer, kind=LayerKind.ADAPTER))
    assert "adapter" in value(HTMPFit().analyze(adapter), "kappa_full").reason
    assert (
        "below the calibrated minimum of 32"
        in value(HTMPFit().analyze(layer_input(gaussian(60, 20))), "kappa_full").reason
    )


def test_options_that_could_not_reject_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot reject"):
        HTMPOptions(bootstrap=20)
    with pytest.raises(ValueError, match="request a bootstrap"):
        HTMPOptions(level=0.001)
