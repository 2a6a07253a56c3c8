"""The comparison of two checkpoints: sentence, rows, document."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import torch
from edits import EDITS, noisy, pruned, quantised, with_update, wrong_numbers
from safetensors.torch import load_file, save_file

import rmtaudit
from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.report.comparison import Comparison, LayerComparison, comparison_schema

State = dict[str, torch.Tensor]


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _matrix(rows: int, cols: int, seed: int) -> torch.Tensor:
    generator = _generator(seed)
    left, right = torch.randn(rows, 6, generator=generator), torch.randn(6, cols, generator=generator)
    return 0.03 * (torch.randn(rows, cols, generator=generator) + left @ right / 2)


@pytest.fixture
def state() -> State:
    model: State = {}
    for index in range(3):
        for place, name in enumerate(("query", "key", "value")):
            model[f"encoder.layer.{index}.{name}.weight"] = _matrix(64, 64, 10 * index + place)
            model[f"encoder.layer.{index}.{name}.bias"] = _matrix(64, 2, 10 * index + place)[:, 0].clone()
    return model


def _changed(state: State, word: str, edit: object) -> State:
    assert callable(edit)
    return {
        name: edit(tensor) if word in name and tensor.dim() > 1 else tensor for name, tensor in state.items()
    }


def _row(comparison: Comparison, name: str) -> LayerComparison:
    return next(layer for layer in comparison.layers if layer.name == name)


def test_a_copy_is_identical(state: State) -> None:
    comparison = rmtaudit.compare(state, dict(state))

    assert comparison.summary.sentence == "All 18 pairs of tensors are identical."
    assert comparison.summary.distortion == 1.0
    assert comparison.coverage.fraction == 1.0
    assert not comparison.summary.exceptions


def test_a_merged_adapter_is_described_by_role_rank_and_size(state: State) -> None:
    generator = _generator(1)
    tuned = _changed(state, "query", lambda tensor: with_update(tensor, 4, 0.031, generator))
    comparison = rmtaudit.compare(state, tuned)

    assert comparison.summary.sentence == (
        "All 3 query layers carry an update of rank 4 and relative norm 0.03100; "
        "the other weight matrices are equal."
    )
    row = _row(comparison, "encoder.layer.1.query.weight")
    assert row.diagnosis is not None
    assert row.diagnosis.numbers["rank"] == 4
    assert row.change is not None
    assert row.change.relative_frobenius == pytest.approx(0.031, rel=1e-3)
    assert row.distortion is not None
    assert row.distortion.value is not None
    assert 0.99 < row.distortion.value < 1
    assert _row(comparison, "encoder.layer.1.key.weight").diagnosis is not None


def test_a_few_layers_that_do_not_fit_are_listed(state: State) -> None:
    edited = {name: quantised(tensor, 8) if tensor.dim() > 1 else tensor for name, tensor in state.items()}
    for number, (index, name) in enumerate(((0, "key"), (1, "value"), (2, "query"))):
        key = f"encoder.layer.{index}.{name}.weight"
        edited[key] = (pruned(state[key], 0.5), noisy(state[key], 0.1, _generator(1)), 3 * state[key])[number]
    comparison = rmtaudit.compare(state, edited, metrics=False)

    assert comparison.summary.kinds["quantised"] == 6
    assert comparison.summary.sentence.startswith(
        "6 of the 9 key, query and value layers were quantised to int8 symmetric"
    )
    assert len(comparison.summary.exceptions) == 2


def test_metrics_come_with_their_change(state: State) -> None:
    comparison = rmtaudit.compare(
        state, _changed(state, "key", lambda tensor: noisy(tensor, 0.5, _generator(2)))
    )
    metrics = _row(comparison, "encoder.layer.0.key.weight").metrics

    stable = metrics["stable_rank"]
    assert isinstance(stable.base.value, float)
    assert isinstance(stable.candidate.value, float)
    assert stable.change == pytest.approx(stable.candidate.value - stable.base.value)
    alpha = metrics["alpha"]
    assert alpha.ci is not None
    assert alpha.change is not None
    assert alpha.ci[0] < alpha.change < alpha.ci[1]
    assert not _row(comparison, "encoder.layer.0.query.weight").metrics  # equal: nothing to compare


def test_the_numbers_are_those_of_a_scan(state: State) -> None:
    comparison = rmtaudit.compare(
        state, _changed(state, "key", lambda tensor: noisy(tensor, 0.5, _generator(2)))
    )
    report = rmtaudit.scan(state, preset="fast")

    for layer in report.layers:
        for name, change in _row(comparison, layer.name).metrics.items():
            assert change.base == layer.metrics[name]


def test_the_relation_of_the_two_models_is_named() -> None:
    shapes = {"fc1.weight": (60, 30), "fc2.weight": (50, 60), "fc3.weight": (10, 50)}
    base = {name: torch.randn(shape, generator=_generator(1)) for name, shape in shapes.items()}
    other = {name: torch.randn(shape, generator=_generator(2)) for name, shape in shapes.items()}
    tuned = {name: value + 0.5 * other[name] for name, value in base.items()}
    words = []
    for candidate in (base, tuned, other):
        comparison = rmtaudit.compare(base, candidate)
        assert comparison.relation is not None
        words.append(comparison.relation["word"])
        assert f"relation: {comparison.relation['sentence']}" in repr(comparison)
    assert words == ["identical", "derived", "independent"]
    assert "would have been detected" in repr(comparison)


def test_the_document_follows_its_schema_and_is_reproducible(state: State) -> None:
    edited = {
        name: EDITS[edit][0](tensor, _generator(3)) if tensor.dim() > 1 else tensor + 1
        for (name, tensor), edit in zip(state.items(), [*EDITS][: len(state)], strict=True)
    }
    edited["new.weight"] = _matrix(20, 20, 5)
    texts = [rmtaudit.compare(state, edited, threads=threads).to_json() for threads in (1, 3)]

    assert texts[0] == texts[1]
    document = json.loads(texts[0])
    jsonschema.validate(document, comparison_schema())
    assert list(document) == [
        "schema", "tool", "base", "candidate", "summary", "coverage", "relation", "claim", "layers", "notes",
    ]  # fmt: skip
    assert document["coverage"]["only_candidate"] == [
        {"name": "new.weight", "shape": [20, 20], "weight": True}
    ]


def test_a_permutation_is_undone_before_the_distortion_is_measured(state: State) -> None:
    order = torch.randperm(64, generator=_generator(4))
    row = _row(
        rmtaudit.compare(state, _changed(state, "value", lambda tensor: tensor[order])),
        "encoder.layer.0.value.weight",
    )

    assert row.diagnosis is not None
    assert row.diagnosis.kind == "rearranged"
    assert row.distortion is not None
    assert row.distortion.value == 1.0
    assert row.change is not None
    assert row.change.relative_frobenius == 0


def test_what_is_beyond_the_budget_is_skipped_and_counts_against_the_coverage(state: State) -> None:
    state["large.weight"] = _matrix(300, 300, 0)
    comparison = rmtaudit.compare(state, dict(state), memory=2_000_000)

    assert _row(comparison, "large.weight").status == "skipped"
    assert "budget" in _row(comparison, "large.weight").reason
    assert comparison.coverage.fraction < 0.5


def test_values_that_are_not_finite_stop_nothing(state: State) -> None:
    broken = {name: tensor.clone() for name, tensor in state.items()}
    broken["encoder.layer.0.key.weight"][3, 3] = torch.nan
    comparison = rmtaudit.compare(state, broken)

    row = _row(comparison, "encoder.layer.0.key.weight")
    assert row.diagnosis is not None
    assert row.diagnosis.numbers["reason"] == "nonfinite"
    comparison.to_json()


def test_it_prints_and_renders_as_a_table(state: State) -> None:
    named = {f"<b>{name}": tensor for name, tensor in state.items()}
    comparison = rmtaudit.compare(named, _changed(named, "key", lambda tensor: tensor.bfloat16()))

    assert repr(comparison).startswith("All 3 key layers were cast to bfloat16")
    page = comparison._repr_html_()
    assert page.count("<tr>") == 4
    assert "<b>" not in page
    assert "| \\<b\\>encoder.layer.0.key.weight |" in comparison.to_markdown()
    frame = comparison.to_pandas()
    assert len(frame) == len(state)
    assert set(frame["diagnosis"]) == {"cast", "identical"}


def test_unrelated_architectures_have_nothing_to_compare() -> None:
    comparison = rmtaudit.compare({"a": _matrix(30, 20, 0)}, {"b": _matrix(10, 10, 0)})

    assert comparison.coverage.compared == 0
    assert comparison.summary.sentence == "No tensors of the two could be compared."


def _run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rmtaudit", "compare", *args], capture_output=True, text=True, check=False
    )


def test_the_command_writes_the_table_and_the_document(tmp_path: Path, state: State) -> None:
    base, candidate, report = (tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.json"))
    save_file(state, base)
    save_file(_changed(state, "query", lambda tensor: pruned(tensor, 0.5)), candidate)
    done = _run(str(base), str(candidate), "-o", str(report), "--no-metrics")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("All 3 query layers were pruned to 50.0 % zeros by magnitude;")
    assert max(map(len, done.stdout.splitlines())) <= 160
    assert json.loads(report.read_text())["summary"]["kinds"]["pruned"] == 3


@pytest.mark.parametrize("flags", [(), ("--no-metrics",)])
def test_the_command_says_that_a_layer_of_zeros_is_pruned(
    tmp_path: Path, state: State, flags: tuple[str, ...]
) -> None:
    base, candidate, report = (tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.json"))
    save_file(state, base)
    name = "encoder.layer.1.key.weight"
    save_file({**state, name: torch.zeros_like(state[name])}, candidate)

    assert run(cli, ["compare", str(base), str(candidate), "-o", str(report), "-q", *flags]) == 0
    document = json.loads(report.read_text())
    assert document["summary"]["kinds"] == {"identical": 17, "pruned": 1}
    row = next(layer for layer in document["layers"] if layer["name"] == name)
    assert row["diagnosis"]["kind"] == "pruned"
    assert row["diagnosis"]["numbers"]["sparsity"] == 1.0
    assert row["change"]["relative_frobenius"] == 1.0
    assert row["change"]["relative_spectral"] == pytest.approx(1.0, abs=1e-3)
    assert row["distortion"]["value"] == 0.0


def test_the_command_says_what_cannot_be_read_or_compared(tmp_path: Path) -> None:
    base, other, missing = (
        tmp_path / name for name in ("a.safetensors", "b.safetensors", "none.safetensors")
    )
    save_file({"a": _matrix(30, 20, 0)}, base)
    save_file({"b": _matrix(10, 10, 0)}, other)

    assert _run(str(base), str(other)).returncode == 3
    unreadable = _run(str(base), str(missing))
    assert unreadable.returncode == 2
    assert "none.safetensors" in unreadable.stderr


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_fits_the_terminal(width: int, state: State) -> None:
    from rich.console import Console

    from rmtaudit.cli.compare_table import draw_comparison

    comparison = rmtaudit.compare(state, _changed(state, "key", lambda tensor: quantised(tensor, 4, 64)))
    console = Console(width=width, record=True, file=io.StringIO())
    draw_comparison(console, comparison, top=2)
    text = console.export_text()

    assert max(map(len, text.splitlines())) <= width
    assert "… 1 more" in text


_SMALL = ("bf16", "int8 a row", "int2 g64", "2:4", "rank 64", "LoRA 8, .5 %, bf16", "noise 10 %", "new",
          "shuffled", "times 3", "one entry", "rows permuted")  # fmt: skip


def _of_real_layers(state: State, edits: list[str], seed: int) -> tuple[State, dict[str, str]]:
    """Edit one layer for each of the edits; return the state and the edit of each layer."""
    square = [name for name, tensor in state.items() if tensor.dim() == 2 and min(tensor.shape) >= 128]
    done = dict(zip(square[1:], edits, strict=False))
    assert len(done) == len(edits)
    edited = {
        name: EDITS[done[name]][0](tensor, _generator(seed + number)).contiguous() if name in done else tensor
        for number, (name, tensor) in enumerate(state.items())
    }
    return edited, done


def _check(comparison: Comparison, done: dict[str, str]) -> None:
    wrong = {}
    for layer in comparison.layers:
        assert layer.diagnosis is not None
        kind, expected = EDITS[done[layer.name]][1:] if layer.name in done else ("identical", {})
        if layer.diagnosis.kind != kind:
            wrong[layer.name] = (done.get(layer.name), layer.diagnosis.sentence)
        elif numbers := wrong_numbers(expected, dict(layer.diagnosis.numbers)):
            wrong[layer.name] = (done.get(layer.name), str(numbers))
    assert not wrong


@pytest.mark.slow
def test_edits_of_minilm_get_their_diagnoses(minilm: Path) -> None:
    state = load_file(minilm)
    edited, done = _of_real_layers(state, list(_SMALL), seed=0)

    _check(rmtaudit.compare(minilm, edited, metrics=False), done)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["minilm", "rxnfp"])
def test_all_edits_of_real_layers_get_their_diagnoses(model: str, request: pytest.FixtureRequest) -> None:
    """Every edit on a layer of MiniLM and of rxnfp, five at a time."""
    if model == "minilm":
        state = load_file(request.getfixturevalue("minilm"))
    else:
        state = torch.load(request.getfixturevalue("shared")("models", "rxnfp", "bert_pretrained.bin"))
    for start in range(0, len(EDITS), 5):
        edits = [*EDITS][start : start + 5]
        edited, done = _of_real_layers(state, edits, seed=1000 * start)
        _check(rmtaudit.compare(state, edited, metrics=False), done)
