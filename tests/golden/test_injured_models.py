"""Ten injuries in ten layers of a trained transformer: a scan finds each, and none beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import rmtaudit
from rmtaudit.report.model import Finding, LayerResult, Report

Shared = Callable[..., Path]
State = dict[str, torch.Tensor]

LOUD = ("error", "warning")


def layer(number: int, part: str) -> str:
    return f"encoder.layer.{number}.{part}.weight"


QUERY, KEY, VALUE = (f"attention.self.{part}" for part in ("query", "key", "value"))
TRUNCATED, FOUR_BITS, TWO_BITS = layer(0, QUERY), layer(0, "intermediate.dense"), layer(1, KEY)
PRUNED, SHUFFLED, FRESH = layer(1, "output.dense"), layer(2, VALUE), layer(2, "intermediate.dense")
ONE_LOUD, DEAD_ROW, COPIED = layer(3, "attention.output.dense"), layer(3, "output.dense"), layer(4, QUERY)
ORIGINAL, SCALED = layer(3, QUERY), layer(4, "intermediate.dense")
INJURED = (TRUNCATED, FOUR_BITS, TWO_BITS, PRUNED, SHUFFLED, FRESH, ONE_LOUD, DEAD_ROW, COPIED, SCALED)


@pytest.fixture(scope="module", params=["minilm", "rxnfp"])
def healthy(request: pytest.FixtureRequest, shared: Shared) -> State:
    if request.param == "minilm":
        path: Path = request.getfixturevalue("minilm")
    else:
        path = shared("models", "rxnfp", "bert_ft.bin")
    with rmtaudit.open_checkpoint(path) as checkpoint:
        return {
            spec.name: checkpoint.read(spec.name)
            for spec in checkpoint.tensors
            if spec.name.startswith(tuple(f"encoder.layer.{number}." for number in range(5)))
        }


def rounded(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """Round to nearest on a symmetric grid, one step a row."""
    top = 2 ** (bits - 1) - 1
    step = weight.abs().amax(dim=1, keepdim=True) / top
    return (weight / step).round().clamp(-top, top) * step


def injure(healthy: State) -> State:
    generator = torch.Generator().manual_seed(0)
    state = {name: tensor.clone() for name, tensor in healthy.items()}
    left, sigma, right = torch.linalg.svd(state[TRUNCATED].double(), full_matrices=False)
    state[TRUNCATED] = (left[:, :64] * sigma[:64] @ right[:64]).float()
    state[FOUR_BITS] = rounded(state[FOUR_BITS], 4)
    state[TWO_BITS] = rounded(state[TWO_BITS], 2)
    half = state[PRUNED].abs().median()
    state[PRUNED][state[PRUNED].abs() <= half] = 0
    flat = state[SHUFFLED].reshape(-1)
    state[SHUFFLED] = flat[torch.randperm(flat.numel(), generator=generator)].reshape(state[SHUFFLED].shape)
    state[FRESH] = 0.02 * torch.randn(state[FRESH].shape, generator=generator)
    state[ONE_LOUD][17, 101] = 40
    state[DEAD_ROW][5] = 0
    state[COPIED] = state[ORIGINAL].clone()
    state[SCALED] *= 1e4
    return state


@pytest.fixture(scope="module")
def before(healthy: State) -> Report:
    return rmtaudit.scan(healthy)


@pytest.fixture(scope="module")
def after(healthy: State) -> Report:
    return rmtaudit.scan(injure(healthy))


def rows(report: Report) -> Mapping[str, LayerResult]:
    return {row.name: row for row in report.layers}


def finding(report: Report, name: str, code: str) -> Finding:
    (found,) = (each for each in rows(report)[name].findings if each.code == code)
    return found


def evidence(report: Report, name: str, code: str) -> Mapping[str, Any]:
    return finding(report, name, code).evidence


def test_nothing_is_found_in_the_healthy_model(before: Report) -> None:
    loud = [(row.name, each.code) for row in before.layers for each in row.findings if each.severity in LOUD]
    assert loud == []
    assert before.verdict == "structured"
    assert {row.verdict for row in before.layers if row.name in INJURED} == {"structured"}


def test_nothing_is_found_in_the_layers_left_alone(after: Report) -> None:
    loud = {row.name for row in after.layers for each in row.findings if each.severity in LOUD}
    # Healthy models have dead channels and layers that were never trained: those are for information.
    # Of two copies, which one is the original cannot be told: the later one is named, and it names the other.
    assert loud - {COPIED, ORIGINAL} == set(INJURED) - {COPIED, DEAD_ROW, FRESH}
    assert len(loud & {COPIED, ORIGINAL}) == 1


def test_the_rank(after: Report) -> None:
    assert evidence(after, TRUNCATED, "RA-FO-001")["rank"] == 64
    assert rows(after)[TRUNCATED].verdict == "damaged (RA-FO-001)"
    assert rows(after)[TRUNCATED].integrity.text == "damaged (RA-FO-001)"
    assert rows(after)[TRUNCATED].signal.text == "structured"
    assert rows(after)[TRUNCATED].metrics["numerical_rank"].value == 64


@pytest.mark.parametrize(("name", "bits"), [(FOUR_BITS, 4), (TWO_BITS, 2)])
def test_the_bits(after: Report, name: str, bits: int) -> None:
    found = evidence(after, name, "RA-FO-002")
    assert (found["bits"], found["unit"], found["symmetric"]) == (bits, "row", True)


def test_the_sparsity(after: Report) -> None:
    assert evidence(after, PRUNED, "RA-FO-004")["zero_share"] == pytest.approx(0.5, abs=1e-3)


def test_the_shuffled_and_the_fresh_layer(after: Report) -> None:
    assert finding(after, SHUFFLED, "RA-FO-012").severity == "warning"
    assert finding(after, FRESH, "RA-FO-011").severity == "info"
    fresh = evidence(after, FRESH, "RA-FO-011")
    assert (fresh["family"], fresh["std"]) == ("normal", pytest.approx(0.02, rel=0.01))
    assert rows(after)[FRESH].verdict == "initial (normal)"
    assert rows(after)[SHUFFLED].verdict == "noise-like"


def test_the_loud_entry(after: Report) -> None:
    found = finding(after, ONE_LOUD, "RA-FO-006")
    assert found.severity == "error"
    assert found.evidence["positions"][0] == [17, 101]
    assert found.evidence["values"][0] == pytest.approx(40)


def test_the_dead_row(after: Report) -> None:
    found = evidence(after, DEAD_ROW, "RA-FO-005")
    assert (found["rows"], found["columns"]) == ([5], [])


def test_the_copy(after: Report) -> None:
    (copy,) = (row for row in after.layers if any(each.code == "RA-MO-001" for each in row.findings))
    assert {copy.name, copy.reason.split("'")[1]} == {COPIED, ORIGINAL}


def test_the_lost_scale(after: Report) -> None:
    found = finding(after, SCALED, "RA-MO-002")
    assert found.severity == "error"
    assert found.evidence["log10_rms"] - found.evidence["median_of_peers"] == pytest.approx(4, abs=0.5)


def test_the_verdict_of_the_model(after: Report) -> None:
    assert after.verdict == "damaged (RA-FO-001, RA-FO-006, RA-MO-001, RA-MO-002)"
