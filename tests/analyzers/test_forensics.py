"""``forensics``: the contract, each trace made on purpose, and clean layers that stay clean."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

from rmtaudit.analyzers.base import LayerInput, MetricValue, Observation
from rmtaudit.analyzers.contract import AnalyzerContract, layer_input
from rmtaudit.analyzers.forensics import Forensics
from rmtaudit.matrices.layers import LayerKind


class TestContract(AnalyzerContract):
    analyzer = Forensics()


def trained(rows: int = 192, cols: int = 128, seed: int = 0) -> torch.Tensor:
    """Return a matrix like a trained one: uneven rows and columns, a few strong directions, heavy tails."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    noise = normal(rows, cols) * (0.3 * normal(rows, 1)).exp() * (0.3 * normal(1, cols)).exp()
    return 0.02 * noise + 0.02 * normal(rows, 5) @ normal(5, cols)


def changed(given: LayerInput, **facts: Any) -> LayerInput:
    return dataclasses.replace(given, layer=dataclasses.replace(given.layer, **facts))


def seen(given: LayerInput | torch.Tensor, *more: torch.Tensor) -> dict[str, Observation]:
    if isinstance(given, torch.Tensor):
        given = layer_input(given, *more)
    return {observation.code: observation for observation in Forensics().analyze(given).observations}


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_seen_in_a_clean_layer(seed: int) -> None:
    assert seen(trained(seed=seed)) == {}


@pytest.mark.parametrize(
    ("dtype", "name"), [(torch.bfloat16, "bfloat16"), (torch.float8_e4m3fn, "float8_e4m3fn")]
)
def test_nor_in_one_stored_in_a_coarse_format(dtype: torch.dtype, name: str) -> None:
    W = trained().to(dtype).float()
    given = dataclasses.replace(changed(layer_input(W), dtype=name), epsilon=torch.finfo(dtype).eps / 2)
    assert seen(given) == {}
    assert set(seen(W)) == {"RA-FO-003"}


def test_truncation() -> None:
    U, S, V = torch.linalg.svd(trained().double(), full_matrices=False)
    found = seen(((U[:, :20] * S[:20]) @ V[:20]).float())
    assert set(found) == {"RA-FO-001"}
    assert (found["RA-FO-001"].evidence["rank"], found["RA-FO-001"].evidence["possible"]) == (20, 128)
    assert found["RA-FO-001"].evidence["gap"] > 100


def test_truncation_of_one_of_several_matrices() -> None:
    low = trained(40, 4) @ trained(4, 30)
    found = seen(trained(40, 30), low)
    assert (found["RA-FO-001"].evidence["matrix"], found["RA-FO-001"].evidence["rank"]) == (1, 4)


def test_pruning() -> None:
    W = trained()
    W[W.abs() < W.abs().median()] = 0
    found = seen(W)
    assert set(found) == {"RA-FO-004"}
    assert found["RA-FO-004"].evidence["zero_share"] == pytest.approx(0.5, abs=1e-3)
    assert found["RA-FO-004"].evidence["pattern"] == "unstructured"


def test_in_fp8_only_what_its_rounding_cannot_make() -> None:
    def stored(W: torch.Tensor) -> LayerInput:
        given = changed(layer_input(W.to(torch.float8_e4m3fn).float()), dtype="float8_e4m3fn")
        return dataclasses.replace(given, epsilon=2.0**-4)

    W = trained()
    W[W.abs() < W.abs().median()] = 0
    assert set(seen(stored(W))) == {"RA-FO-004"}
    U, S, V = torch.linalg.svd(trained(), full_matrices=False)
    found = seen(stored((U[:, :4] * S[:4]) @ V[:4]))
    assert found["RA-FO-001"].evidence["rank"] == 4
    assert seen(stored(0.003 * trained(seed=1) / trained(seed=1).std())).keys() <= {"RA-FO-004", "RA-FO-005"}


def test_dead_rows_columns_and_heads() -> None:
    W = trained()
    W[7] = 0
    W[:, 64:96] = 0
    found = seen(W)
    assert set(found) == {"RA-FO-005"}
    evidence = found["RA-FO-005"].evidence
    assert (evidence["rows"], evidence["dead_columns"]) == ([7], 32)
    assert evidence["blocks"] == {"of": "columns", "size": 32, "starts": [64]}


def test_padding_of_an_embedding() -> None:
    W = trained()
    W[0] = 0
    assert set(seen(changed(layer_input(W), kind=LayerKind.EMBEDDING))) == {"RA-FO-013"}
    assert set(seen(W)) == {"RA-FO-005"}
    W[0], W[100] = W[1] / 2, 0
    assert set(seen(changed(layer_input(W), kind=LayerKind.EMBEDDING))) == {"RA-FO-005"}


def test_copied_rows() -> None:
    W = trained()
    W[30] = W[20]
    found = seen(W)
    assert set(found) == {"RA-FO-007"}
    assert found["RA-FO-007"].evidence == {"of": "rows", "copies": 1, "groups": [[20, 30]]}


def test_an_entry_that_dwarfs_the_layer() -> None:
    W = trained()
    W[11, 13] = -40
    found = seen(W)
    assert set(found) == {"RA-FO-006", "RA-FO-014"}
    assert found["RA-FO-006"].evidence["positions"][0] == [11, 13]
    assert found["RA-FO-006"].p_value is not None
    assert found["RA-FO-006"].p_value < 1e-4
    assert found["RA-FO-014"].evidence["position"] == [11, 13]
    assert found["RA-FO-014"].evidence["share"] > 0.9
    assert found["RA-FO-014"].evidence["inverse_participation_ratio"] > 0.9


def test_constant_range_and_denormals() -> None:
    assert set(seen(torch.full((20, 30), 0.25))) == {"RA-FO-008"}
    W = trained()
    W[0, 0], W[1, :3] = 1e5, 1e-40
    found = seen(W)
    assert found["RA-FO-009"].evidence["overflowing"] == 1
    assert found["RA-FO-010"].evidence["denormals"] == 3
    assert "become zero in float16" in seen(trained() * 1e-9)["RA-FO-009"].message


@pytest.mark.parametrize("family", ["normal", "uniform", "orthogonal"])
def test_initialisation(family: str) -> None:
    generator = torch.Generator().manual_seed(0)
    W = torch.empty(192, 128)
    if family == "normal":
        torch.nn.init.normal_(W, std=0.02, generator=generator)
    elif family == "uniform":
        torch.nn.init.xavier_uniform_(W, generator=generator)
    else:
        torch.nn.init.orthogonal_(W, gain=math.sqrt(2), generator=generator)
    found = seen(W)
    assert set(found) == {"RA-FO-011"}
    evidence = found["RA-FO-011"].evidence
    assert evidence["family"] == family
    if family == "orthogonal":
        assert evidence["gain"] == pytest.approx(math.sqrt(2), rel=1e-4)
    else:
        expected = {"normal": "normal, std 0.02", "uniform": "Xavier uniform, fans 128 and 192"}[family]
        assert evidence["initialisations"] == [expected]


def test_shuffling() -> None:
    W = trained()
    order = torch.randperm(W.numel(), generator=torch.Generator().manual_seed(0))
    found = seen(W.flatten()[order].view(W.shape))
    assert set(found) == {"RA-FO-012"}
    assert found["RA-FO-012"].evidence["kurtosis"] > 3.5


def test_an_adapters_core_and_other_computed_weights_are_not_taken_for_stored_ones() -> None:
    W = trained().bfloat16().float()
    assert seen(changed(layer_input(W), kind=LayerKind.ADAPTER)) == {}
    assert seen(changed(layer_input(W), tensors=("v", "g"))) == {}


def test_metrics() -> None:
    W = trained()
    W[3] = 0
    values = Forensics().analyze(layer_input(W)).values
    assert values["log10_rms"] == pytest.approx(math.log10(float(W.double().square().mean().sqrt())))
    assert values["zero_share"] == pytest.approx(1 / 192)
    assert (values["dead_rows"], values["dead_columns"]) == (1, 0)
    assert isinstance(values["grid_bits"], MetricValue)
    assert values["grid_bits"].status == "skipped"
    assert isinstance(values["entry_outlier_p"], float)
    assert isinstance(values["exchangeable_p"], float)
    assert values["exchangeable_p"] < 1e-6


def test_a_zero_matrix_has_reasons() -> None:
    found = Forensics().analyze(layer_input(torch.zeros(8, 6)))
    assert found.observations == ()
    assert all(isinstance(value, MetricValue) and value.status == "failed" for value in found.values.values())


@pytest.mark.parametrize("factor", [1e-25, 1e-6, 1e6, 1e25])
def test_scale_changes_no_finding_but_the_range(factor: float) -> None:
    W = trained().double()
    W[7] = 0
    W[11, 13] = 40
    plain = set(seen(W)) - {"RA-FO-009", "RA-FO-010"}
    assert plain == {"RA-FO-005", "RA-FO-006", "RA-FO-014"}
    assert set(seen(W * factor)) - {"RA-FO-009", "RA-FO-010"} == plain


def test_a_truncation_is_an_error_and_a_collapse_is_not() -> None:
    def severity(W: torch.Tensor, **changes: object) -> str | None:
        given = changed(layer_input(W), **changes)
        return seen(given)["RA-FO-001"].severity

    U, S, V = torch.linalg.svd(trained().double(), full_matrices=False)
    n = len(S)
    assert severity(((U[:, :20] * S[:20]) @ V[:20]).float()) == "error"
    single = trained()
    U1, S1, V1 = torch.linalg.svd(single, full_matrices=False)
    assert severity((U1[:, :20] * S1[:20]) @ V1[:20]) == "warning"
    assert severity(((U[:, : n - 4] * S[: n - 4]) @ V[: n - 4]).float()) == "info"


def test_facts_that_change_little_are_information() -> None:
    W = trained()
    W[: len(W) // 2] = 0
    assert seen(W)["RA-FO-005"].severity == "info"
    W[len(W) // 2] = 0
    assert seen(W)["RA-FO-005"].severity == "warning"
    W = trained()
    W[30] = W[20]
    assert seen(W)["RA-FO-007"].severity is None
    assert seen(changed(layer_input(W), kind=LayerKind.EMBEDDING))["RA-FO-007"].severity == "info"
    assert seen(trained() * 1e-12)["RA-FO-009"].severity == "info"
    assert seen(trained() * 1e9)["RA-FO-009"].severity is None
