from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from msgspec import structs

from rmtaudit.analyzers.base import Analyzer, LayerInput, Metric, MetricValue, NoOptions
from rmtaudit.analyzers.registry import build_all
from rmtaudit.checkpoints.memory import StateDictCheckpoint
from rmtaudit.engine.resources.progress import Progress
from rmtaudit.engine.scan import known
from rmtaudit.engine.scan import run as engine
from rmtaudit.engine.scan.run import scan_checkpoint
from rmtaudit.engine.scan.worker import AnalysedLayer, LayerWork, NoSpectrum, analyse_layer
from rmtaudit.engine.settings.scan import ScanSettings, Solver
from rmtaudit.errors import ChangedError, CorruptError
from rmtaudit.matrices.layers import Layer
from rmtaudit.report.document import dumps
from rmtaudit.report.model import LayerResult, Report, StoppedBy

SETTINGS = ScanSettings(threads=2)


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def state() -> dict[str, torch.Tensor]:
    return {
        "conv.weight": gaussian(16, 8, 3, 3, seed=1),
        "lstm.weight_ih_l0": gaussian(64, 24, seed=2),
        "lstm.weight_hh_l0": gaussian(64, 16, seed=3),
        "norm.weight": torch.ones(16),
        "head.weight": gaussian(40, 30, seed=4),
    }


def scan(tensors: Mapping[str, torch.Tensor], settings: ScanSettings = SETTINGS) -> Report:
    return scan_checkpoint(StateDictCheckpoint(dict(tensors)), settings)


def rows(report: Report) -> dict[str, LayerResult]:
    return {layer.name: layer for layer in report.layers}


class Fragile(Analyzer):
    """Fails on the layers that its class says."""

    name = "fragile"
    metrics = (
        Metric(name="fragile_one", description="One.", reference="none"),
        Metric(name="fragile_two", description="Two.", reference="none"),
    )
    Options = NoOptions

    def analyze(self, given: LayerInput) -> Mapping[str, MetricValue | float]:
        if given.layer.name.startswith("head"):
            raise ZeroDivisionError("no\nsuch thing")
        return {"fragile_one": float("inf")}


@pytest.fixture
def with_fragile(monkeypatch: pytest.MonkeyPatch) -> None:
    real = build_all
    monkeypatch.setattr(engine, "build_all", lambda names, options: (*real(names, options), Fragile()))


def test_every_layer_has_a_row_in_stored_order() -> None:
    report = scan(state())
    names = [layer.name for layer in report.layers]
    assert names[:2] == ["conv.weight", "lstm.weight_ih_l0#i"]
    assert names[-1] == "head.weight"
    assert {layer.status for layer in report.layers} == {"ok"}
    assert report.complete
    assert report.coverage.parameters_analyzed == report.coverage.weight_parameters
    assert [skip.name for skip in report.coverage.skipped] == ["norm.weight"]
    assert report.coverage.fraction == pytest.approx(1 - 16 / report.coverage.parameters)


def test_the_numbers_are_those_of_the_matrix() -> None:
    head = rows(scan(state()))["head.weight"].metrics
    sigma = torch.linalg.svdvals(state()["head.weight"].double())
    assert head["spectral_norm"].value == pytest.approx(float(sigma[0]), rel=1e-9)
    assert head["frobenius_norm"].value == pytest.approx(float(sigma.square().sum().sqrt()), rel=1e-9)
    assert head["alpha"].se is not None


def test_threads_and_memory_change_no_byte() -> None:
    documents = []
    for threads, memory in ((1, None), (2, 1 << 28), (4, None)):
        report = scan(state(), replace(SETTINGS, threads=threads, memory=memory))
        documents.append(dumps(structs.replace(report, timings={}).to_dict()))
    assert len(set(documents)) == 1


def test_the_digest_is_of_the_contents() -> None:
    first = scan(state()).subject["digest"]
    shuffled = dict(reversed(list(state().items())))
    changed = state()
    changed["norm.weight"][3] += 1e-3
    assert first is not None
    assert first.startswith("sha256:")
    assert scan(shuffled).subject["digest"] == first
    assert scan(changed).subject["digest"] != first


@pytest.mark.usefixtures("with_fragile")
def test_a_failing_analyzer_loses_nothing_else() -> None:
    found = rows(scan(state()))
    head = found["head.weight"]
    assert head.status == "ok"
    assert head.metrics["alpha"].status == "ok"
    assert head.metrics["fragile_one"].status == head.metrics["fragile_two"].status == "failed"
    assert head.metrics["fragile_one"].reason == "fragile: ZeroDivisionError: no\\x0asuch thing"
    other = found["conv.weight"].metrics
    assert (other["fragile_one"].value, other["fragile_one"].reason) == (None, "not finite: inf")
    assert other["fragile_two"].reason == "fragile returned no such metric"


def test_a_layer_that_is_not_finite_loses_nothing_else() -> None:
    tensors = state()
    tensors["head.weight"][7, 11] = float("nan")
    tensors["head.weight"][9, 1] = float("-inf")
    report = scan(tensors)
    head = rows(report)["head.weight"]
    assert head.status == "failed"
    assert head.reason.startswith("nonfinite: 1 NaN and 1 infinite of 1200 values, the first at [7, 11]")
    assert sum(layer.status == "ok" for layer in report.layers) == len(report.layers) - 1
    assert report.summary["alpha"].n_failed == 1
    json.loads(dumps(report.to_dict()))


def test_what_failed_never_enters_an_average() -> None:
    tensors = {"a": gaussian(40, 30), "zero": torch.zeros(40, 30), "identity": torch.eye(40)}
    summary = scan(tensors).summary["alpha"]
    alone = scan({"a": gaussian(40, 30)}).summary["alpha"]
    assert summary.value == alone.value
    assert (summary.n, summary.n_failed) == (1, 2)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (torch.zeros(9, 9), "zero: every entry is 0"),
        (torch.full((9, 7), 0.5), "constant: every entry has the same value"),
        (gaussian(60, 3) @ gaussian(3, 50), "unresolved: 47 of 50 singular values"),
    ],
)
def test_degenerate_layers_are_analysed_with_a_remark(tensor: torch.Tensor, reason: str) -> None:
    (layer,) = scan({"w": tensor.double()}).layers
    assert layer.status == "ok"
    assert layer.reason.startswith(reason)


def test_the_document_has_reasons_and_verdicts_as_values() -> None:
    broken = torch.full((9, 9), float("nan"))
    tensors = {
        "bias": gaussian(9, 1).reshape(9),
        "codes": torch.ones(9, 9, dtype=torch.int8),
        "broken": broken,
    }
    document = scan(tensors, replace(SETTINGS, analyzers=("scale", "noise"), options={})).to_dict()
    rows = {layer["name"]: layer for layer in document["layers"]}
    assert rows["codes"]["skip"] == "integer"
    why = "integer values (int8), not real weights"
    assert rows["codes"]["judgement"] == {"word": "unjudged", "codes": [], "why": why}
    assert rows["broken"]["skip"] == "nonfinite"
    assert rows["broken"]["judgement"] == {"word": "damaged", "codes": ["RA-SC-001"], "why": ""}
    assert document["judgement"] == {"word": "damaged", "codes": ["RA-SC-001"], "why": ""}
    skipped = {tensor["name"]: tensor["skip"] for tensor in document["coverage"]["skipped"]}
    assert skipped == {"bias": "one_dimensional", "codes": "integer", "broken": "nonfinite"}


def test_copies_are_counted_once_and_constants_are_no_copies() -> None:
    tensors = {
        "a": gaussian(9, 8),
        "b": gaussian(9, 8),
        "zero1": torch.zeros(9, 8),
        "zero2": torch.zeros(9, 8),
    }
    report = scan(tensors)
    found = rows(report)
    assert found["b"].reason == "copy: the same values as 'a', counted once"
    assert found["zero2"].status == "ok"
    assert report.coverage.parameters == 3 * 72
    assert report.coverage.parameters_analyzed == report.coverage.weight_parameters == 3 * 72


def test_a_layer_beyond_the_budget_is_listed() -> None:
    report = scan(state(), replace(SETTINGS, memory=16_000))
    found = rows(report)
    assert found["head.weight"].status == "ok"
    assert found["conv.weight"].status == "ok"
    big = rows(scan({"big": gaussian(400, 300)}, replace(SETTINGS, memory=100_000)))["big"]
    assert big.status == "skipped"
    assert big.reason.startswith("memory: needs about")


@pytest.mark.parametrize("solver", ["gram", "svd", "auto"])
def test_solvers_agree(solver: Solver) -> None:
    settings = replace(SETTINGS, solver=solver)
    for name, row in rows(scan(state(), settings)).items():
        expected = rows(scan(state()))[name].metrics["spectral_norm"].value
        assert row.metrics["spectral_norm"].value == pytest.approx(expected, rel=1e-9)


def test_the_auto_solver_resolves_what_the_gram_matrix_cannot() -> None:
    tensors = {"w": (gaussian(60, 3) @ gaussian(3, 50)).double()}
    (gram,), (auto,) = scan(tensors).layers, scan(tensors, replace(SETTINGS, solver="auto")).layers
    assert gram.spectrum["unresolved"] == 47
    assert auto.spectrum["floor"] < gram.spectrum["floor"]


def test_progress_counts_every_layer_once() -> None:
    steps: list[Progress] = []
    lock = threading.Lock()

    def note(step: Progress) -> None:
        with lock:
            steps.append(step)

    report = scan_checkpoint(StateDictCheckpoint(state()), SETTINGS, progress=note)
    assert sorted(step.done for step in steps) == list(range(1, len(report.layers) + 1))
    assert max(step.parameters_done for step in steps) == steps[0].parameters_total


class Stopped(StateDictCheckpoint):
    """Raises on one tensor, read last: it is the smallest."""

    error: BaseException

    def read(self, name: str) -> torch.Tensor:
        if name == "norm.weight":
            raise self.error
        return super().read(name)


def test_an_interrupted_scan_keeps_what_is_finished() -> None:
    checkpoint = Stopped(state())
    checkpoint.error = KeyboardInterrupt()
    report = scan_checkpoint(checkpoint, SETTINGS)
    assert not report.complete
    assert report.subject["digest"] is None
    assert {layer.status for layer in report.layers} == {"ok"}


def test_an_interrupt_between_layers_lists_what_was_not_reached() -> None:
    class Early(StateDictCheckpoint):
        def read(self, name: str) -> torch.Tensor:
            if name.startswith("lstm"):
                raise KeyboardInterrupt
            return super().read(name)

        read_band = StateDictCheckpoint.read_band

    report = scan_checkpoint(Early(state()), SETTINGS)
    lost = [layer for layer in report.layers if layer.status == "skipped"]
    assert {layer.reason for layer in lost} == {"not reached: the scan was stopped"}
    assert any(layer.name.startswith("lstm") for layer in lost)
    assert {skip.name for skip in report.coverage.skipped} >= {layer.name for layer in lost}


def test_a_file_that_changes_is_an_error_with_what_was_finished() -> None:
    checkpoint = Stopped(state())
    checkpoint.error = ChangedError("RA-IN-099", "the file changed", where="w.safetensors")
    report = scan_checkpoint(checkpoint, SETTINGS)
    assert not report.complete
    assert report.error == StoppedBy(
        code="RA-IN-099", message="the file changed", hint="", where="w.safetensors"
    )
    assert all(layer.status == "ok" for layer in report.layers)


def test_a_tensor_that_cannot_be_read_fails_alone() -> None:
    class Broken(StateDictCheckpoint):
        def read(self, name: str) -> torch.Tensor:
            if name == "head.weight":
                raise CorruptError("RA-IN-098", "3 of 9 bytes")
            return super().read(name)

    found = rows(scan_checkpoint(Broken(state()), SETTINGS))
    assert found["head.weight"].reason == "unreadable: 3 of 9 bytes"
    assert found["conv.weight"].status == "ok"


def test_torch_keeps_its_threads() -> None:
    before = torch.get_num_threads()
    scan({"a": gaussian(5, 4)})
    assert torch.get_num_threads() == before


def test_nothing_to_analyse_is_an_empty_report() -> None:
    report = scan({"bias": torch.ones(3)})
    assert report.layers == ()
    assert report.coverage.fraction == 0
    assert report.summary["alpha"].value is None


def test_a_fault_of_ours_in_one_layer_loses_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    real = analyse_layer

    def faulty(
        layer: Layer, tensors: tuple[torch.Tensor, ...], work: LayerWork, no_spectrum: NoSpectrum | None
    ) -> AnalysedLayer:
        if layer.name == "head.weight":
            raise KeyError("oh")
        return real(layer, tensors, work, no_spectrum)

    monkeypatch.setattr(known, "analyse_layer", faulty)
    found = rows(scan(state()))
    assert found["head.weight"].reason == "internal error: KeyError: 'oh'"
    assert found["conv.weight"].status == "ok"


def test_what_is_beyond_the_budget_is_hashed_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = {"big": gaussian(400, 300), "small": gaussian(9, 8)}
    whole = scan(tensors).subject["digest"]
    read: list[str] = []

    class Watched(StateDictCheckpoint):
        def read(self, name: str) -> torch.Tensor:
            read.append(name)
            return super().read(name)

        def read_band(self, name: str, start: int, stop: int) -> torch.Tensor:
            assert (stop - start) * 300 * 4 <= 10_000
            return super().read(name)[start:stop]

    monkeypatch.setattr(engine, "_SLACK", 10_000)
    report = scan_checkpoint(Watched(tensors), replace(SETTINGS, memory=100_000))
    assert rows(report)["big"].status == "skipped"
    assert report.subject["digest"] == whole
    assert read == ["small"]


@pytest.mark.parametrize("analyzers", [("noise", "forensics"), ("scale",)])
def test_layers_of_one_value_or_not_finite_are_found_by_any_analyzers(analyzers: tuple[str, ...]) -> None:
    broken = gaussian(40, 30)
    broken[7, 11] = float("nan")
    tensors = {"zero": torch.zeros(40, 30), "flat": torch.full((40, 30), 0.5), "broken": broken}
    found = rows(scan(tensors, ScanSettings(threads=2, analyzers=analyzers)))
    assert (found["zero"].reason, found["zero"].verdict) == ("zero: every entry is 0", "unjudged (zero)")
    assert [finding.code for finding in found["zero"].findings] == ["RA-SC-002"]
    assert found["flat"].reason == "constant: every entry has the same value"
    assert found["flat"].verdict == "unjudged (constant)"
    assert found["broken"].verdict == "damaged (RA-SC-001)"
    assert found["broken"].findings[0].message == (
        "The layer holds values that are not finite: 1 NaN and 0 infinite of 1200 values, "
        "the first at [7, 11] of 'broken'."
    )
