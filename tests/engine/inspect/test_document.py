"""The decisions on tensors from the header are those of a scan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import rmtaudit
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.memory import StateDictCheckpoint
from rmtaudit.engine.inspect.document import ANALYSED, inspect_checkpoint, inspection_of
from rmtaudit.matrices.layers import ConvPolicy
from rmtaudit.report.document import dumps

MODEL = {
    "embed_tokens.weight": torch.randn(40, 24),
    "rnn.weight_ih_l0": torch.randn(32, 6),
    "rnn.weight_hh_l0": torch.randn(32, 8),
    "conv.weight": torch.randn(8, 4, 3, 3),
    "fc.weight_v": torch.randn(12, 7),
    "fc.weight_g": torch.randn(12, 1),
    "norm.weight": torch.ones(24),
    "steps": torch.tensor(3),
    "attn.mask": torch.ones(1, 1, 9, 9),
    "ids": torch.arange(12).reshape(3, 4),
    "empty": torch.zeros(0, 4),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_file(MODEL, tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


@pytest.mark.parametrize("conv", ["flattened", "slices-pooled", "slices"])
def test_layers_and_skips_are_those_of_a_scan(path: Path, conv: ConvPolicy) -> None:
    with open_checkpoint(path) as checkpoint:
        document = inspect_checkpoint(checkpoint, conv=conv)
    report = rmtaudit.scan(path, analyzers=["scale"], conv=conv)
    layers = [layer for tensor in document["tensors"] for layer in tensor["layers"]]
    rows = {
        layer.name: (layer.kind, layer.view, list(layer.shape), layer.matrices) for layer in report.layers
    }
    assert {
        layer["name"]: (layer["kind"], layer["view"], layer["shape"], layer["matrices"]) for layer in layers
    } == {name: row for name, row in rows.items() if row[0] != "none"}
    left = {tensor["name"]: tensor["reason"] for tensor in document["tensors"] if not tensor["layers"]}
    assert left == {skip.name: skip.reason for skip in report.coverage.skipped}
    assert document["coverage"]["parameters"] == report.coverage.parameters
    assert document["coverage"]["parameters_planned"] == report.coverage.parameters_analyzed
    assert document["coverage"]["fraction"] == report.coverage.fraction
    assert document["subject"]["parameters"] == report.subject["parameters"]


def test_every_tensor_has_one_decision_and_the_totals_add_up(path: Path) -> None:
    with open_checkpoint(path) as checkpoint:
        document = inspect_checkpoint(checkpoint)
    assert sorted(tensor["name"] for tensor in document["tensors"]) == sorted(MODEL)
    for tensor in document["tensors"]:
        assert (tensor["decision"] == ANALYSED) == (tensor["reason"] == "") == bool(tensor["layers"])
    for totals in (document["stored_as"], document["decisions"]):
        assert sum(each["tensors"] for each in totals) == len(MODEL)
        assert sum(each["parameters"] for each in totals) == document["subject"]["parameters"]
    decisions = {tensor["name"]: tensor["decision"] for tensor in document["tensors"]}
    assert decisions["norm.weight"] == "one_dimensional"
    assert decisions["ids"] == "integer"
    assert decisions["empty"] == "empty"
    assert decisions["fc.weight_g"] == ANALYSED
    assert json.loads(dumps(document)) == document


def test_an_encoding_is_described(tmp_path: Path) -> None:
    save_file(
        {"fc.weight": torch.ones(4, 4).to(torch.float8_e4m3fn), "fc.weight_scale": torch.ones(1)},
        tmp_path / "m.safetensors",
    )
    with open_checkpoint(tmp_path) as checkpoint:
        document = inspect_checkpoint(checkpoint)
    weight, scale = sorted(document["tensors"], key=lambda tensor: tensor["name"])
    assert weight["encoding"]["parts"] == ["fc.weight", "fc.weight_scale"]
    assert weight["encoding"]["dtype"] == "float8_e4m3fn"
    assert document["stored_as"][0]["stored_as"] == weight["encoding"]["scheme"]
    assert (scale["decision"], scale["role"]["use"]) == ("quantisation_parameter", "none")


def test_a_checkpoint_without_matrices_has_no_layers() -> None:
    document = inspect_checkpoint(StateDictCheckpoint({"bias": torch.ones(3)}))
    assert document["coverage"]["layers"] == 0
    assert inspect_checkpoint(StateDictCheckpoint({}))["coverage"]["fraction"] == 0.0


def test_the_text_is_that_of_the_document(path: Path, tmp_path: Path) -> None:
    names = [f"layers.{i}.{leaf}" for i in range(4) for leaf in ("w", 'a"b\\c', "ü\x1b😀", "norm")]
    tensors = {name: torch.ones(3, 4) if "norm" not in name else torch.ones(4) for name in names}
    tensors |= {f"layers.{i}.in_proj_weight": torch.ones(12, 4) for i in range(3)}
    save_file(tensors, tmp_path / "names.safetensors")
    codes = {f"q.{i}.weight": torch.ones(4, 4).to(torch.float8_e4m3fn) for i in range(3)}
    codes |= {f"q.{i}.weight_scale": torch.ones(1) for i in range(3)}
    save_file(codes, tmp_path / "codes.safetensors")
    for file in (path, tmp_path / "names.safetensors", tmp_path / "codes.safetensors"):
        with open_checkpoint(file) as checkpoint:
            inspection = inspection_of(checkpoint)
            assert inspection.document() == inspect_checkpoint(checkpoint)
        assert inspection.text() == dumps(inspection.document())
    nothing = inspection_of(StateDictCheckpoint({}))
    assert nothing.text() == dumps(nothing.document())


def test_groups_are_the_tensors_that_are_alike(path: Path) -> None:
    specs = {f"layers.{i}.q.weight": torch.ones(4, 3) for i in range(5)}
    specs |= {f"layers.{i}.norm": torch.ones(4) for i in range(5)}
    specs |= {"layers.5.q.weight": torch.ones(4, 2), "layers.6.q.weight": torch.ones(4, 3).half()}
    groups = inspection_of(StateDictCheckpoint(specs)).groups()
    assert [
        (count, each["name"], each["shape"], each["dtype"], each["decision"]) for count, each in groups
    ] == [
        (5, "layers.#.q.weight", [4, 3], "float32", ANALYSED),
        (5, "layers.#.norm", [4], "float32", "one_dimensional"),
        (1, "layers.#.q.weight", [4, 2], "float32", ANALYSED),
        (1, "layers.#.q.weight", [4, 3], "float16", ANALYSED),
    ]
    with open_checkpoint(path) as checkpoint:
        inspection = inspection_of(checkpoint)
    assert sum(count for count, _ in inspection.groups()) == inspection.count == len(MODEL)
    assert inspection.tensors(2) == inspection.document()["tensors"][:2]
