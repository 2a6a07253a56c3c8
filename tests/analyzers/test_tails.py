"""The analyzer tails: what it says of known spectra, and reasons where it says nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rmtaudit.analyzers.base import LayerInput, MetricValue
from rmtaudit.analyzers.contract import AnalyzerContract
from rmtaudit.analyzers.registry import available, build, metric_catalogue
from rmtaudit.analyzers.tails import Tails, TailsOptions
from rmtaudit.kernels.spectra.spectrum import Spectrum
from rmtaudit.kernels.tails.tail import Tail, fit_tail
from rmtaudit.matrices.layers import Layer, LayerKind

LAYER = Layer(
    name="layer",
    tensor="layer",
    tensors=("layer",),
    kind=LayerKind.DENSE,
    view="as stored",
    shape=(400, 400),
    matrices=1,
    parameters=160_000,
    dtype="float32",
    build=lambda tensors: tensors,
)


class TestContract(AnalyzerContract):
    analyzer = Tails()


def layer_input(values: torch.Tensor, unresolved: int = 0) -> LayerInput:
    values = torch.cat([torch.zeros(unresolved, dtype=torch.float64), values.double().sort().values])
    return LayerInput(
        layer=LAYER,
        spectrum=Spectrum(
            eigenvalues=values, rows=400, cols=400, method="exact", floor=1e-12, unresolved=unresolved
        ),
    )


def inverse_gamma(n: int = 3000) -> torch.Tensor:
    return torch.from_numpy(1 / np.random.default_rng(0).gamma(1.5, 1.0, n))


def values_of(found: object) -> dict[str, MetricValue]:
    assert isinstance(found, dict)
    return {
        name: value if isinstance(value, MetricValue) else MetricValue(value=value)
        for name, value in found.items()
    }


def test_an_inverse_gamma_spectrum() -> None:
    found = values_of(Tails(TailsOptions(fraction=0.3)).analyze(layer_input(inverse_gamma())))
    tail = fit_tail(inverse_gamma(), "upper")
    assert isinstance(tail, Tail)
    assert found["upper_alpha"].value == tail.power_law.alpha
    assert found["upper_alpha"].se == tail.power_law.sigma
    assert found["zero_power"].value == pytest.approx(2.5, abs=4 * (found["zero_power"].se or 0))
    assert found["zero_gain"].value > 10  # type: ignore[operator]
    assert found["zero_p_value"].value < 1e-4  # type: ignore[operator]


def test_noise_is_no_law_of_its_own() -> None:
    w = np.random.default_rng(1).standard_normal((300, 300))
    found = values_of(Tails().analyze(layer_input(torch.from_numpy(np.linalg.eigvalsh(w.T @ w)))))
    assert found["lower_law"].value == "like power_law"
    assert found["lower_exponent"].value == pytest.approx(0.5, abs=0.1)
    assert found["upper_law"].value in ("undecided", "like power_law", "like exponential")


def test_the_bootstrap_adds_intervals() -> None:
    given = layer_input(inverse_gamma(200))
    plain = values_of(Tails().analyze(given))
    found = values_of(Tails(TailsOptions(bootstrap=100)).analyze(given))
    for name in ("upper_alpha", "lower_exponent"):
        assert plain[name].ci is None
        assert found[name].value == plain[name].value
        low, high = found[name].ci or (0, 0)
        assert low < high
    assert found["cutoff_p_value"].value >= plain["cutoff_p_value"].value  # type: ignore[operator]


def test_unresolved_eigenvalues_hide_the_lower_tail_alone() -> None:
    found = values_of(Tails().analyze(layer_input(inverse_gamma(300), unresolved=7)))
    assert found["upper_alpha"].status == "ok"
    for name in ("lower_law", "lower_exponent", "zero_power"):
        assert found[name].status == "skipped"
        assert "7 eigenvalues are not resolved" in found[name].reason


@pytest.mark.parametrize(
    ("values", "unresolved", "status"),
    [(torch.ones(40), 0, "failed"), (torch.ones(3), 0, "skipped"), (torch.zeros(0), 40, "failed")],
)
def test_no_tail_has_a_reason(values: torch.Tensor, unresolved: int, status: str) -> None:
    found = values_of(Tails().analyze(layer_input(values, unresolved)))
    assert {value.status for value in found.values()} == {status}
    assert all(value.reason for value in found.values())


@pytest.mark.parametrize(
    "options", [{"bootstrap": 99}, {"bootstrap": -1}, {"min_tail": 1}, {"level": 0.0}, {"fraction": 1.0}]
)
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        TailsOptions(**options)  # type: ignore[arg-type]


def test_it_is_installed_beside_powerlaw_without_a_shared_name() -> None:
    assert "tails" in available()
    metric_catalogue([build("tails"), build("powerlaw"), build("weightwatcher")])  # a shared name is an error
