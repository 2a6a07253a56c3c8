"""The weightwatcher analyzer: which metrics, which layers, and a reason wherever the peer says -1.

Its numbers are compared with the peer's in ``tests/golden``.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

from rmtaudit.analyzers.base import LayerInput, MetricValue
from rmtaudit.analyzers.contract import AnalyzerContract
from rmtaudit.analyzers.options import check_options
from rmtaudit.analyzers.weightwatcher import Options, WeightWatcher
from rmtaudit.errors import UsageError
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues, pool, singular_values
from rmtaudit.kernels.spectra.spectrum import Spectrum
from rmtaudit.matrices.layers import Layer, LayerKind

EVERYTHING: dict[str, Any] = {
    "mp_fit": True,
    "randomize": True,
    "detX": True,
    "vectors": True,
    "min_evals": 1,
}


class TestContract(AnalyzerContract):
    analyzer = WeightWatcher()


class TestContractWithEverything(AnalyzerContract):
    analyzer = WeightWatcher(Options(fix_fingers="clip_xmax", **EVERYTHING))


class TestContractInverse(AnalyzerContract):
    analyzer = WeightWatcher(Options(inverse=True, **{**EVERYTHING, "vectors": False}))


class TestContractForced(AnalyzerContract):
    analyzer = WeightWatcher(
        Options(pl_package="powerlaw", xmax="force", fix_fingers="xmin_peak", min_evals=1)
    )


class TestContractCutOff(AnalyzerContract):
    analyzer = WeightWatcher(Options(pl_package="powerlaw", fit="E_TPL", xmax="force", min_evals=1))


class TestContractDropped(AnalyzerContract):
    analyzer = WeightWatcher(Options(xmax=-3, min_evals=1))


def layer_input(
    *matrices: torch.Tensor,
    kind: LayerKind = LayerKind.DENSE,
    slices: int = 1,
    view: str = "as stored",
    solve: Any = singular_values,
    seed: int = 0,
) -> LayerInput:
    rows, cols = matrices[0].shape
    layer = Layer(
        name="layer",
        tensor="layer",
        tensors=("layer",),
        kind=kind,
        view=view,
        shape=(rows, cols),
        matrices=len(matrices),
        parameters=len(matrices) * rows * cols,
        dtype="float32",
        build=lambda tensors: tensors,
        slices=slices,
    )
    return LayerInput(
        layer=layer, spectrum=pool(tuple(solve(matrix) for matrix in matrices)), matrices=matrices, seed=seed
    )


def noise(n: int, m: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, m, generator=torch.Generator().manual_seed(seed))


def low_rank(n: int, m: int, rank: int) -> torch.Tensor:
    return noise(n, rank, 1).double() @ noise(rank, m, 2).double()


@pytest.mark.parametrize(
    ("options", "present", "absent"),
    [
        (Options(), {"alpha", "warning", "fit_status"}, {"sigma_mp", "num_fingers", "detX_num", "num_traps"}),
        (Options(mp_fit=True), {"sigma_mp", "W_scale"}, {"rand_sigma_mp"}),
        (Options(randomize=True), {"num_traps", "ww_softrank", "rand_W_scale"}, {"sigma_mp"}),
        (Options(detX=True), {"ERG_gap"}, {"num_spikes"}),
        (Options(vectors=True), {"bulk_mean_vec_entropy", "tail_var_part_ratio"}, {"detX_num"}),
        (Options(fix_fingers="clip_xmax"), {"num_fingers", "raw_alpha"}, {"detX_num"}),
    ],
)
def test_a_metric_is_in_the_row_only_if_its_option_is_on(
    options: Options, present: set[str], absent: set[str]
) -> None:
    analyzer = WeightWatcher(options)
    found = analyzer.analyze(layer_input(noise(40, 30)))
    assert list(found) == [metric.name for metric in analyzer.active_metrics()]
    assert present <= set(found)
    assert not absent & set(found)


def test_every_metric_is_declared() -> None:
    declared = {metric.name for metric in WeightWatcher.metrics}
    everything = WeightWatcher(Options(fix_fingers="clip_xmax", **EVERYTHING))
    cut_off = WeightWatcher(Options(fit="TPL", pl_package="powerlaw"))
    active = (*everything.active_metrics(), *cut_off.active_metrics())
    assert {metric.name for metric in active} == declared
    summarised = {metric.name for metric in WeightWatcher.metrics if metric.summarised}
    # get_summary() of the peer
    assert summarised == {
        "log_norm",
        "alpha",
        "alpha_weighted",
        "log_alpha_norm",
        "log_spectral_norm",
        "stable_rank",
        "mp_softrank",
    }


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (Options(), "7 eigenvalues, fewer than min_evals=8"),
        (Options(min_evals=1, max_evals=6), "7 eigenvalues, more than max_evals=6"),
        (Options(min_evals=1, max_evals=6, max_N=6), "7 eigenvalues, more than max_evals=6"),
        (Options(min_evals=1, max_evals=0, max_N=9), "the longer side is 10, more than max_N=9"),
    ],
)
def test_a_layer_that_the_peer_leaves_out_is_skipped_with_the_reason(options: Options, reason: str) -> None:
    found = WeightWatcher(options).analyze(layer_input(noise(7, 10)))
    assert set(found.values()) == {MetricValue(value=None, status="skipped", reason=reason)}


def test_pooled_slices_count_together_and_single_ones_alone() -> None:
    slices = [noise(10, 3, seed) for seed in range(4)]
    pooled = layer_input(*slices, kind=LayerKind.CONV2D, slices=4)
    assert WeightWatcher().analyze(pooled)["num_evals"] == 12
    single = layer_input(slices[0], kind=LayerKind.CONV2D, slices=4)
    alpha = WeightWatcher().analyze(single)["alpha"]
    assert isinstance(alpha, MetricValue)
    assert alpha.reason == "3 eigenvalues, fewer than min_evals=8"


@pytest.mark.parametrize(
    ("matrices", "slices", "view", "kind", "factor"),
    [
        (4, 4, "4 slices out x in, pooled", LayerKind.CONV2D, 0.5),
        (1, 4, "slice 0 of 4, out x in", LayerKind.CONV2D, 2.0),
        (1, 1, "1 slices out x in, pooled", LayerKind.CONV2D, 0.5),
        (1, 1, "flattened out x in*1*1", LayerKind.CONV2D, 1.0),
        (1, 1, "as stored", LayerKind.DENSE, 1.0),
        (4, 4, "4 slices out x in, pooled", LayerKind.CONV1D, 1.0),
    ],
)
def test_only_slices_of_2d_convolutions_are_rescaled(
    matrices: int, slices: int, view: str, kind: LayerKind, factor: float
) -> None:
    given = layer_input(
        *(noise(12, 10, seed) for seed in range(matrices)), kind=kind, slices=slices, view=view
    )
    norm = float((torch.stack(given.matrices).double() ** 2).sum())
    assert WeightWatcher().analyze(given)["norm"] == pytest.approx(norm * factor)
    plain = WeightWatcher(Options(conv2d_norm=False)).analyze(given)
    assert plain["norm"] == pytest.approx(norm)
    assert plain["rf"] == slices


def test_metrics_of_one_size_agree() -> None:
    given = layer_input(noise(60, 40))
    found = {
        name: float(value)
        for name, value in WeightWatcher(Options(**EVERYTHING)).analyze(given).items()
        if isinstance(value, int | float)
    }
    assert found["norm"] == pytest.approx(float((given.matrices[0].double() ** 2).sum()))
    assert found["sv_max"] ** 2 == pytest.approx(found["lambda_max"]) == pytest.approx(found["spectral_norm"])
    assert 10 ** found["log_norm"] == pytest.approx(found["norm"])
    assert found["alpha_weighted"] == pytest.approx(found["alpha"] * found["log_spectral_norm"])
    assert found["stable_rank"] == pytest.approx(found["norm"] / found["lambda_max"])
    assert found["bulk_max"] == pytest.approx(found["mp_softrank"] * found["lambda_max"])
    assert (
        found["W_scale"]
        == pytest.approx(math.sqrt(40 / found["norm"]))
        == pytest.approx(found["rand_W_scale"])
    )
    assert found["ERG_gap"] == found["detX_num"] - found["num_pl_spikes"]
    # with fewer than 100 eigenvalues five shuffles are pooled, and the first is compared with the matrix
    assert found["ww_softrank"] * found["lambda_max"] <= found["max_rand_eval"]
    assert found["ww_maxdist"] == pytest.approx(found["lambda_max"] * (1 - found["ww_softrank"]))


def test_random_numbers_follow_the_seed() -> None:
    analyzer = WeightWatcher(Options(randomize=True))
    one, again, other = (analyzer.analyze(layer_input(noise(40, 30), seed=seed)) for seed in (0, 0, 1))
    assert one == again
    assert one["max_rand_eval"] != other["max_rand_eval"]


def test_a_low_rank_is_seen_with_singular_values() -> None:
    found = WeightWatcher().analyze(layer_input(low_rank(40, 30, 12)))
    assert (found["matrix_rank"], found["rank_loss"], found["weak_rank_loss"]) == (12, 18, 18)
    smallest = found["sv_min"]
    assert isinstance(smallest, MetricValue)
    assert smallest.value == 0
    assert smallest.ci is not None
    assert 0 < smallest.ci[1] < 1e-12


def test_what_the_gram_matrix_cannot_resolve_fails_with_the_way_out() -> None:
    found = WeightWatcher().analyze(layer_input(low_rank(40, 30, 12), solve=gram_eigenvalues))
    for name in ("matrix_rank", "rank_loss", "entropy", "sv_min"):
        value = found[name]
        assert isinstance(value, MetricValue)
        assert value.status == "failed"
        assert "18 eigenvalues are below the resolution" in value.reason
        assert "solver 'auto'" in value.reason
    exact = WeightWatcher().analyze(layer_input(low_rank(40, 30, 12)))
    assert found["alpha"] == pytest.approx(exact["alpha"], rel=1e-6)


def test_a_resolution_above_the_bound_of_the_fit_fails_the_fit() -> None:
    given = layer_input(low_rank(40, 30, 12) * 1e6, solve=gram_eigenvalues)
    assert given.spectrum.floor > 1e-5
    alpha = WeightWatcher().analyze(given)["alpha"]
    assert isinstance(alpha, MetricValue)
    assert "below the resolution" in alpha.reason


def test_the_inverse_of_a_singular_matrix_fails() -> None:
    for solve, reason in ((singular_values, "it has no inverse"), (gram_eigenvalues, "below the resolution")):
        found = WeightWatcher(Options(inverse=True)).analyze(layer_input(low_rank(40, 30, 12), solve=solve))
        assert found["N"] == 40
        norm = found["norm"]
        assert isinstance(norm, MetricValue)
        assert reason in norm.reason


def test_an_adapter_has_a_spectrum_but_no_entries_to_shuffle() -> None:
    core = layer_input(noise(8, 8))
    layer = dataclasses.replace(core.layer, kind=LayerKind.ADAPTER, shape=(64, 48))
    values = core.spectrum.eigenvalues
    spectrum = Spectrum(
        eigenvalues=values, rows=64, cols=48, method="exact", floor=core.spectrum.floor, unresolved=0
    )
    found = WeightWatcher(Options(**EVERYTHING)).analyze(
        LayerInput(layer=layer, spectrum=spectrum, matrices=core.matrices)
    )
    assert (found["N"], found["M"], found["num_evals"]) == (64, 48, 8)
    for name in ("max_rand_eval", "num_traps", "bulk_mean_loc_ratio"):
        assert found[name] == MetricValue(
            value=None, status="skipped", reason="the product of an adapter's factors is not formed"
        )


@pytest.mark.parametrize(
    "given",
    [
        {"xmax": 0},
        {"xmax": "force"},
        {"fix_fingers": "xmin_peak"},
        {"fix_fingers": "clip_xmax", "xmax": 3},
        {"max_fingers": 0},
        {"fit": "TPL"},
        {"fit": "E_TPL", "pl_package": "powerlaw", "fix_fingers": "clip_xmax"},
        {"inverse": True, "vectors": True},
        {"min_evals": 10, "max_evals": 10},
        {"max_evals": -1, "min_evals": -2},
        {"max_N": 100},
        {"xmax": "auto"},
        {"pool": False},
    ],
)
def test_options_that_the_peer_refuses_or_fails_on_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        check_options("weightwatcher", Options, given)


def test_options_are_the_peers_by_default() -> None:
    assert check_options("weightwatcher", Options, {}) == Options()
    assert check_options("weightwatcher", Options, {"xmax": -2, "max_evals": 0}) == Options(
        xmax=-2, max_evals=0
    )
