"""The noise analyzer: what it calls noise, which null it takes, and what it refuses to count."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from rmtaudit.analyzers.base import Analysis, LayerInput, MetricValue
from rmtaudit.analyzers.contract import AnalyzerContract, layer_input
from rmtaudit.analyzers.noise import Noise, NoiseOptions
from rmtaudit.kernels.noise.floor import Sharp
from rmtaudit.kernels.signal import Signal, SignalWord

SHARPS: tuple[Sharp, ...] = ("auto", "plain", "sinkhorn", "dyson", "sign-flip")


class TestContract(AnalyzerContract):
    analyzer = Noise()


class TestContractOfSignFlips(AnalyzerContract):
    analyzer = Noise(NoiseOptions(sharp="sign-flip", draws=2))


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def codes(analysis: Analysis) -> list[str]:
    return [observation.code for observation in analysis.observations]


def number(analysis: Analysis, name: str) -> float:
    value = analysis.values[name]
    assert isinstance(value, float | int)
    return value


def spiked(rows: int, cols: int, *strengths: float) -> torch.Tensor:
    """Noise of σ = 0.02 and additive spikes; strength 1 is σ√(longer side)."""
    size = len(strengths)
    left, right = (torch.linalg.qr(gaussian(side, size, seed=side)).Q for side in (rows, cols))
    signal = (left * torch.tensor(strengths, dtype=torch.float64)) @ right.T
    return 0.02 * (gaussian(rows, cols) + math.sqrt(max(rows, cols)) * signal)


def trained_like(rows: int, cols: int) -> torch.Tensor:
    """Σ^{1/2} G with a broad population spectrum: no bulk of noise anywhere."""
    basis = torch.linalg.qr(gaussian(cols, cols, seed=5)).Q
    scales = torch.logspace(-1, 1, cols, dtype=torch.float64)
    return gaussian(rows, cols) @ (basis * scales) @ basis.T


@pytest.mark.parametrize("shape", [(192, 192), (96, 400)])
@pytest.mark.parametrize("sharp", SHARPS)
def test_noise_is_noise_by_every_null(shape: tuple[int, int], sharp: Sharp) -> None:
    found = Noise(NoiseOptions(sharp=sharp)).analyze(layer_input(0.05 * gaussian(*shape)))
    assert codes(found) == ["RA-NF-001", "RA-FO-011"]
    assert found.signal == Signal(SignalWord.INITIAL, "normal")
    assert found.values["bulk_null"] == f"accepted: {'plain' if sharp == 'auto' else sharp}"
    assert number(found, "noise_sigma") == pytest.approx(0.05, rel=0.03)
    assert number(found, "lambda_plus") == pytest.approx(
        0.0025 * (shape[0] ** 0.5 + shape[1] ** 0.5) ** 2, rel=0.06
    )
    assert number(found, "noise_p_value") >= 0.01
    assert (found.values["spikes"], found.values["signal_share"]) == (0, 0.0)
    assert found.observations[0].p_value == found.values["noise_p_value"]


def test_spikes_in_even_noise() -> None:
    strengths = (2.0, 3.0, 5.0)
    matrix = spiked(400, 200, *strengths)
    found = Noise().analyze(layer_input(matrix))
    assert codes(found) == ["RA-NF-004"]
    assert found.values["bulk_null"] == "accepted: plain"
    assert found.values["spikes"] == 3
    assert number(found, "noise_sigma") == pytest.approx(0.02, rel=0.03)
    listed = found.observations[0].evidence["spikes"]
    assert [spike["strength"] for spike in listed] == pytest.approx([5, 3, 2], rel=0.08)
    assert all(0 < spike["cosine2_long"] <= spike["cosine2_short"] < 1 for spike in listed)
    signal = 0.02**2 * 400 * sum(strength**2 for strength in strengths)
    assert number(found, "signal_share") == pytest.approx(signal / float(matrix.square().sum()), rel=0.08)
    # the edge (1 + √½)² over the square of the strongest singular value, (5 + 1/5)(5 + ½/5)
    assert number(found, "mp_softrank") == pytest.approx((1 + 0.5**0.5) ** 2 / (5.2 * 5.1), rel=0.05)
    assert found.observations[0].p_value == pytest.approx(0, abs=1e-6)


def test_one_spike_just_above_the_transition_is_found() -> None:
    """The rectangle statistic alone would miss it; the edge does not."""
    found = Noise().analyze(layer_input(spiked(300, 300, 1.6)))
    assert number(found, "noise_p_value") < 0.01
    assert found.values["spikes"] == 1


def test_uneven_rows_need_a_null_that_knows_them() -> None:
    matrix = gaussian(300, 200) * torch.exp(gaussian(300, 1, seed=1))
    found = Noise().analyze(layer_input(matrix))
    assert codes(found) == ["RA-NF-005"]
    assert found.signal == Signal(SignalWord.SCALES)
    assert found.values["bulk_null"] == "accepted: sinkhorn"
    plain = Noise(NoiseOptions(sharp="plain")).analyze(layer_input(matrix))
    assert codes(plain) == ["RA-NF-002", "RA-NF-005"]
    assert plain.values["bulk_null"] == "rejected"


def test_a_lower_bound_where_no_null_fits() -> None:
    found = Noise().analyze(layer_input(trained_like(300, 150)))
    assert codes(found) == ["RA-NF-002"]
    assert found.values["bulk_null"] == "rejected"
    share, spikes = found.values["signal_share"], found.values["spikes"]
    assert isinstance(share, MetricValue)
    assert share.status == "skipped"
    assert "every noise model" in share.reason
    assert isinstance(spikes, MetricValue)
    assert spikes.ci is not None
    assert list(spikes.ci) == [spikes.value, 150]
    assert found.observations[0].evidence["least_spikes"] == spikes.value
    assert number(found, "bulk_p_value") == found.observations[0].p_value
    assert number(found, "bulk_p_value") < 0.01


def test_dyson_is_tried_where_it_may_help_and_left_out_where_it_cannot() -> None:
    far = Noise().analyze(layer_input(trained_like(300, 150)))
    assert _tried(far) == ["plain", "sinkhorn"]
    # a few strong localised directions pull Sinkhorn's scales, and Dyson's see through them
    left, right = torch.zeros(300, 1), torch.zeros(200, 1)
    left[:30], right[:20] = gaussian(30, 1, seed=2), gaussian(20, 1, seed=3)
    spike = 20 * 300**0.5 * (left / left.norm()) @ (right / right.norm()).T
    uneven = torch.exp(0.35 * gaussian(300, 1, seed=4)) * torch.exp(0.35 * gaussian(1, 200, seed=5))
    near = Noise().analyze(layer_input((gaussian(300, 200) + spike) * uneven))
    assert near.values["bulk_null"] == "accepted: dyson"
    assert near.values["spikes"] == 1


def _tried(found: Analysis) -> list[str]:
    (rejected,) = (o for o in found.observations if o.code == "RA-NF-002")
    return [null["name"] for null in rejected.evidence["nulls"]]


def test_columns_more_even_than_noise_are_no_noise() -> None:
    found = Noise().analyze(layer_input(torch.linalg.qr(gaussian(200, 100)).Q))
    assert number(found, "noise_z") < -10
    assert "RA-NF-001" not in codes(found)


def test_the_unit_of_the_weights_plays_no_part() -> None:
    matrix = spiked(200, 100, 3.0)
    one = Noise().analyze(layer_input(matrix))
    for unit in (1e-40, 1e40):
        other = Noise().analyze(layer_input(matrix * unit))
        assert number(other, "noise_sigma") == pytest.approx(unit * number(one, "noise_sigma"))
        assert number(other, "lambda_plus") == pytest.approx(unit**2 * number(one, "lambda_plus"))
        for name in ("noise_z", "n_ks", "mp_softrank", "signal_share", "noise_p_value"):
            assert number(other, name) == pytest.approx(number(one, name), rel=1e-3)
        assert other.values["spikes"] == one.values["spikes"] == 1


def test_dead_rows_and_columns_are_left_out() -> None:
    matrix = gaussian(200, 100)
    matrix[:20] = 0
    matrix[:, 7] = 0
    found = Noise().analyze(layer_input(matrix))
    assert codes(found) == ["RA-NF-001", "RA-FO-011"]
    assert number(found, "noise_sigma") == pytest.approx(1, rel=0.05)


def test_a_truncated_layer_has_no_bulk() -> None:
    found = Noise().analyze(layer_input(gaussian(100, 20) @ gaussian(20, 80, seed=1)))
    assert codes(found) == ["RA-NF-002"]
    sigma = found.values["noise_sigma"]
    assert isinstance(sigma, MetricValue)
    assert sigma.status == "failed"


@pytest.mark.parametrize(
    ("matrix", "words", "signal"),
    [
        (gaussian(15, 40), "40 x 15 rows", "too small (15)"),
        (torch.zeros(40, 40), "zero", None),
        (torch.diag(gaussian(40)), "signs", "too small (40 entries are not 0)"),
        (torch.diag(gaussian(400)), "signs", "initial (sparse normal)"),
        (torch.eye(40), "signs", "initial (identity)"),
    ],
)
def test_layers_without_a_bulk_are_refused(matrix: torch.Tensor, words: str, signal: str | None) -> None:
    found = Noise().analyze(layer_input(matrix))
    refused = {name: value for name, value in found.values.items() if name != "exchangeable_p"}
    assert all(isinstance(value, MetricValue) and words in value.reason for value in refused.values())
    assert (found.signal.text if found.signal else None) == signal


@pytest.mark.parametrize("rest", [1e-300, 1e-40, 1e-25])
def test_rows_that_vanish_beside_the_others_do_not_count(rest: float) -> None:
    """The analyzer once counted them, and the scaling to even rows, in float32, did not: a ValueError."""
    matrix = gaussian(40, 40)
    matrix[12:] *= rest
    found = Noise().analyze(layer_input(matrix))
    assert found.signal == Signal(SignalWord.TOO_SMALL, "12")
    value = found.values["noise_p_value"]
    assert isinstance(value, MetricValue)
    assert value.status == "skipped"
    assert "40 x 12" in value.reason


def test_the_false_alarms_of_a_fixed_sample() -> None:
    """96 layers of four kinds of noise: more than 5 below 0.01 has probability 1e-3."""
    generator = torch.Generator().manual_seed(11)
    rejected = 0
    for index in range(96):
        matrix = torch.randn(96, 64, generator=generator, dtype=torch.float64)
        if index % 4 == 1:
            matrix = matrix.sign()
        elif index % 4 == 2:
            below = torch.randn(5, 96, 64, generator=generator, dtype=torch.float64).square().mean(0)
            matrix = matrix / below.sqrt()
        if index % 4 >= 2:
            rows, cols = (torch.randn(size, generator=generator, dtype=torch.float64) for size in (96, 64))
            matrix = matrix * torch.exp(rows)[:, None] * torch.exp(cols)
        rejected += number(Noise().analyze(layer_input(matrix)), "noise_p_value") < 0.01
    assert rejected <= 4


def test_options_are_checked() -> None:
    for options in ({"draws": 0}, {"level": 0.0}, {"level": 1.0}):
        with pytest.raises(ValueError, match="must"):
            NoiseOptions(**options)


def test_the_unused_pooler_of_minilm_is_noise_and_its_neighbour_is_not(minilm: Path) -> None:
    """The model pools by the mean of its tokens: its pooler was never trained."""
    from safetensors import safe_open

    def analyse(name: str) -> Analysis:
        with safe_open(minilm, framework="pt") as file:
            given: LayerInput = layer_input(file.get_tensor(name))
        return Noise().analyze(given)

    pooler = analyse("pooler.dense.weight")
    assert codes(pooler) == ["RA-NF-001", "RA-FO-011"]
    assert pooler.signal == Signal(SignalWord.INITIAL, "normal")
    assert pooler.values["bulk_null"] == "accepted: plain"
    assert number(pooler, "spikes") == 0
    query = analyse("encoder.layer.3.attention.self.query.weight")
    assert codes(query) == ["RA-NF-002"]
    assert query.signal == Signal(SignalWord.STRUCTURED)
    assert number(query, "noise_p_value") < 1e-100
