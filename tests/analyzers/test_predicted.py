"""The analyzer predicted: layers beyond the budget against their exact spectra, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rmtaudit.analyzers.base import Analysis, MetricValue
from rmtaudit.analyzers.contract import AnalyzerContract, layer_input
from rmtaudit.analyzers.predicted import Predicted, PredictedOptions
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.memory import StateDictCheckpoint
from rmtaudit.engine.scan.run import scan_checkpoint
from rmtaudit.engine.settings.scan import ScanSettings
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues
from rmtaudit.report.model import Report
from rmtaudit.report.parsing import report_from_dict
from rmtaudit.report.sentences import without_spectrum

SHAPE = (3072, 2304)
SETTINGS = ScanSettings(
    analyzers=("scale", "powerlaw", "noise", "predicted"),
    options={"predicted": {"block": 256}},
    threads=1,
    memory=160_000_000,
)


class TestContract(AnalyzerContract):
    analyzer = Predicted()


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def scan(tensors: dict[str, torch.Tensor], settings: ScanSettings) -> Report:
    return scan_checkpoint(StateDictCheckpoint(tensors), settings)


@pytest.fixture(scope="module")
def report() -> Report:
    return scan({"big": gaussian(*SHAPE), "small": gaussian(60, 40)}, SETTINGS)


def test_a_layer_beyond_the_budget_is_predicted_and_still_not_counted_as_analysed(report: Report) -> None:
    big, small = report.layers
    assert (big.status, small.status) == ("skipped", "ok")
    plain, _, said = big.reason.partition("; ")
    assert plain.startswith("memory: needs about")
    assert plain.endswith("(--memory)")
    assert (
        said.partition(" (")[0] == f"predicted from 4 blocks of 256: {big.metrics['predicted_verdict'].value}"
    )
    for name in ("alpha", "spectral_norm", "noise_p_value"):
        assert (big.metrics[name].status, big.metrics[name].reason) == ("skipped", plain)
    assert not big.spectrum
    assert big.verdict == "unjudged (memory)"
    assert report.coverage.parameters_analyzed == small.parameters
    assert [(skip.name, skip.reason) for skip in report.coverage.skipped] == [("big", big.reason)]
    assert not [name for name in report.summary if name.startswith("predicted")]
    assert report.summary["alpha"].n_skipped == 1


def test_the_intervals_hold_the_exact_numbers(report: Report) -> None:
    metrics = report.layers[0].metrics
    exact = gram_eigenvalues(gaussian(*SHAPE)).eigenvalues
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    low, median, high = torch.quantile(exact, levels).tolist()
    shares = exact / exact.sum()
    rank = float(torch.special.entr(shares).sum().exp()) / len(exact)
    for name, true, within in (
        ("edge", float(exact[-1]), 0.02),
        ("log_det", float(exact.log().mean()), 0.002),
        ("effective_rank_share", rank, 0.01),
        ("lower_decile", low, 0.02),
        ("median", median, 0.02),
        ("upper_decile", high, 0.02),
    ):
        found = metrics[f"predicted_{name}"]
        assert found.value == pytest.approx(true, rel=within)
        assert found.ci is not None
        assert found.ci[0] <= true <= found.ci[1]


def test_the_reports_show_the_numbers_with_their_intervals(report: Report) -> None:
    ((owner, text),) = without_spectrum(report_from_dict(report.to_dict()))
    edge = report.layers[0].metrics["predicted_edge"]
    assert edge.ci is not None
    assert owner == "predicted"
    assert text.startswith("big: verdict ")
    assert f"edge {edge.value:.0f} [{edge.ci[0]:.0f}, {edge.ci[1]:.0f}]" in text


def test_layers_within_the_budget_are_as_without_it(report: Report) -> None:
    tensors = {"small": gaussian(60, 40), "other": gaussian(30, 50, seed=1)}
    standing = scan(tensors, SETTINGS).to_dict()
    without = scan(tensors, replace(SETTINGS, analyzers=("scale", "powerlaw", "noise"), options={})).to_dict()
    for part in ("layers", "summary", "metrics", "coverage", "verdict", "findings"):
        assert standing[part] == without[part]
    assert "predicted" not in standing["timings"]
    row = dict(report.to_dict()["layers"][1])
    predicted = {name for name in row["metrics"] if name.startswith("predicted")}
    assert {row["metrics"][name]["reason"] for name in predicted} == {"the layer has a spectrum of its own"}
    row["metrics"] = {name: value for name, value in row["metrics"].items() if name not in predicted}
    assert row == standing["layers"][0]


def test_a_budget_that_the_blocks_exceed_as_well_is_the_plain_skip() -> None:
    tight = scan({"big": gaussian(900, 800)}, replace(SETTINGS, memory=15_000_000))
    (row,) = tight.layers
    assert row.status == "skipped"
    assert {(metric.value, metric.reason) for metric in row.metrics.values()} == {(None, row.reason)}
    assert row.reason.endswith("(--memory)")
    assert not [name for name in tight.metrics if name.startswith("predicted")]


def said(analysis: Analysis, name: str = "edge") -> MetricValue:
    value = analysis.values[f"predicted_{name}"]
    assert isinstance(value, MetricValue)
    return value


@pytest.mark.slow
def test_rows_with_directions_in_common_are_refused() -> None:
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(640, 60, generator=generator) @ torch.randn(60, 512, generator=generator)
    found = Predicted(PredictedOptions(block=128)).analyze(
        layer_input(W + torch.randn(640, 512, generator=generator))
    )
    assert said(found, "verdict").value == "refused"
    for name in ("edge", "log_det", "median"):
        assert said(found, name).status == "skipped"
        assert said(found, name).reason.startswith("refused: ")
    assert found.remark.startswith("not predicted from 4 blocks of 128: refused: ")


@pytest.mark.slow
def test_sizes_over_three_decades() -> None:
    generator = torch.Generator().manual_seed(1)
    sizes = torch.rand(768, generator=generator).clamp(min=1e-3).pow(-0.5)
    W = torch.randn(1024, 768, generator=generator) * sizes
    found = Predicted().analyze(layer_input(W))
    exact = gram_eigenvalues(W).eigenvalues
    assert said(found, "route").value == "growth by rows"
    assert said(found, "median").value == pytest.approx(float(exact.median()), rel=0.05)
    log_det = said(found, "log_det")
    assert log_det.ci is not None
    assert log_det.ci[0] <= float(exact.log().mean()) <= log_det.ci[1]


@pytest.mark.parametrize(
    ("matrices", "status", "reason"),
    [
        ((gaussian(300, 250),), "skipped", "half of the smaller side is 250, below the minimum of 128"),
        ((gaussian(300, 260), gaussian(300, 260)), "skipped", "the layer is 2 matrices"),
        ((torch.zeros(300, 260),), "failed", "alike"),
        ((gaussian(300, 260).double() * 1e200,), "failed", "the range of float64"),
    ],
    ids=["small", "several", "zero", "huge"],
)
def test_layers_without_a_prediction_say_why(
    matrices: tuple[torch.Tensor, ...], status: str, reason: str
) -> None:
    given = replace(layer_input(*(torch.zeros_like(matrix) for matrix in matrices)), matrices=matrices)
    found = Predicted().analyze(given)
    for metric in Predicted.metrics:
        value = found.values[metric.name]
        assert isinstance(value, MetricValue)
        assert value.status == status
        assert reason in value.reason
    assert found.remark == f"not predicted from blocks: {said(found).reason}"


@pytest.mark.parametrize("wrong", [{"block": 127}, {"blocks": 0}])
def test_options_are_checked(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="block must be at least"):
        PredictedOptions(**wrong)


@pytest.mark.parametrize(
    ("name", "free"),
    [
        pytest.param("pooler.dense.weight", True, marks=pytest.mark.slow),
        ("encoder.layer.1.attention.self.key.weight", False),
    ],
)
def test_a_real_layer(minilm: Path, name: str, free: bool) -> None:
    W = open_checkpoint(minilm).read(name)
    found = Predicted().analyze(layer_input(W))
    if not free:
        assert said(found, "verdict").value == "refused"
        assert said(found).status == "skipped"
        return
    discrepancy = said(found, "discrepancy")
    exact = gram_eigenvalues(W).eigenvalues
    assert said(found, "verdict").value == "determined"
    assert isinstance(discrepancy.value, float)
    assert discrepancy.se is not None
    assert discrepancy.value <= 0.005 + 3 * discrepancy.se
    assert said(found, "median").value == pytest.approx(float(exact.median()), rel=0.05)
    assert said(found, "edge").value == pytest.approx(float(exact[-1]), rel=0.1)
