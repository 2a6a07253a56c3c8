"""The graph of a folder of models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.engine.lineage.document import dot_of, lineage
from rmtaudit.engine.lineage.relations import Kind, PairResult, tree_of
from rmtaudit.report.document import dumps

PAGE = Path(__file__).parents[3] / "docs" / "lineage.md"
SHAPES = {"fc1.weight": (60, 30), "fc2.weight": (50, 60), "fc3.weight": (40, 50), "fc4.weight": (10, 40)}
State = dict[str, torch.Tensor]


def network(seed: int) -> State:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def moved(state: State, change: float, seed: int) -> State:
    return {name: value + change * network(seed)[name] for name, value in state.items()}


def quantised(state: State) -> State:
    """Return the weights as ``compressed-tensors`` and others keep them: codes of 8 bits and a scale."""
    made: State = {}
    for name, value in state.items():
        scale = value.abs().amax(dim=1, keepdim=True) / 127
        made[name] = (value / scale).round().to(torch.int8)
        made[f"{name}_scale"] = scale
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("zoo")
    base = network(1)
    torch.save(base, root / "base.pt")
    torch.save(base, root / "copy.pt")
    save_file(moved(base, 0.3, 2), root / "tuned-a.safetensors")
    torch.save(moved(base, 0.4, 3), root / "tuned-b.pt")
    torch.save({name: value.bfloat16() for name, value in base.items()}, root / "half.pt")
    torch.save(quantised(base), root / "int8.pt")
    torch.save(network(9), root / "other.pt")
    inner = root / "renamed"
    inner.mkdir()
    torch.save({f"model.{name}": value for name, value in base.items()}, inner / "model.pt")
    (root / "broken.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n" + b"x" * 90)
    return root


@pytest.fixture(scope="module")
def document(folder: Path) -> dict[str, Any]:
    return lineage(folder).to_dict()


def kinds(document: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(pair["first"], pair["second"]): pair["kind"] for pair in document["pairs"]}


def test_kinds_of_all_pairs(document: dict[str, Any]) -> None:
    named = kinds(document)
    assert named["base.pt", "copy.pt"] == "copy"
    assert named["base.pt", "renamed"] == "same values"
    assert named["base.pt", "half.pt"] == "cast"
    assert named["base.pt", "int8.pt"] == "quantised"
    assert named["base.pt", "tuned-a.safetensors"] == "derived"
    assert named["tuned-a.safetensors", "tuned-b.pt"] == "derived"
    assert {kind for pair, kind in named.items() if "other.pt" in pair} == {"independent"}
    assert len(named) == 28
    assert [each["name"] for each in document["unread"]] == ["broken.safetensors"]


def test_evidence_of_the_edges(document: dict[str, Any]) -> None:
    pairs = {(pair["first"], pair["second"]): pair for pair in document["pairs"]}
    tuned = pairs["base.pt", "tuned-b.pt"]
    assert tuned["evidence"]["relative_change"] == pytest.approx(0.4, abs=0.03)
    assert tuned["evidence"]["p_value"] == 1e-12
    assert (tuned["source"], pairs["base.pt", "half.pt"]["source"]) == (None, "base.pt")
    assert pairs["base.pt", "int8.pt"]["source"] == "base.pt"
    assert 0.001 < pairs["base.pt", "int8.pt"]["evidence"]["relative_change"] < 0.02
    assert pairs["base.pt", "copy.pt"]["evidence"] is None
    assert pairs["base.pt", "other.pt"]["evidence"]["detectable_cosine"] < 0.15


def test_the_tree_leads_through_the_model_that_others_were_made_from(document: dict[str, Any]) -> None:
    edges = {frozenset((pair["first"], pair["second"])) for pair in document["pairs"] if pair["tree"]}
    assert len(edges) == 6
    assert frozenset(("tuned-a.safetensors", "tuned-b.pt")) not in edges
    families = {model["name"]: model["family"] for model in document["models"]}
    assert families.pop("other.pt") == "other.pt"
    assert set(families.values()) == {"base.pt"}


def test_the_level_counts_the_pairs(document: dict[str, Any]) -> None:
    assert document["level"] == {"pair": pytest.approx(1e-3 / 28), "family": 1e-3, "pairs": 28}


def test_every_key_is_described_and_the_document_is_strict_and_reproducible(
    folder: Path, document: dict[str, Any]
) -> None:
    def keys(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(keys, value.values()))
        return set().union(*map(keys, value)) if isinstance(value, list) else set()

    words = {str(kind) for kind in Kind}
    page = PAGE.read_text(encoding="utf-8")
    assert [key for key in sorted(keys(document) - words) if f"`{key}`" not in page] == []
    assert [word for word in words if f"`{word}`" not in page] == []
    assert dumps(lineage(folder).to_dict()) == dumps(document)


def test_dot_has_every_model_and_every_edge_of_the_tree(document: dict[str, Any]) -> None:
    dot = dot_of(document)
    assert dot.startswith("digraph lineage {")
    assert dot.count("->") == 6
    assert '"base.pt" -> "int8.pt" [label="quantised' in dot
    assert re.search(r'"base.pt" -> "tuned-b.pt" \[label="derived, change 0.4", dir=none\]', dot)
    hostile = {**document, "models": [{"name": 'a"b\\\n'}], "pairs": []}
    assert '"a\\"b' in dot_of(hostile)
    assert "\n\n" not in dot_of(hostile)


def test_the_closest_relatives_are_joined_first() -> None:
    pairs = [
        PairResult(first="a", second="c", kind=Kind.DERIVED, distance=0.5),
        PairResult(first="a", second="b", kind=Kind.DERIVED, distance=0.1),
        PairResult(first="b", second="c", kind=Kind.DERIVED, distance=0.2),
        PairResult(first="c", second="d", kind=Kind.INDEPENDENT, distance=1.0),
    ]
    edges, families = tree_of(pairs)
    assert edges == {("a", "b"), ("b", "c")}
    assert families == {"a": "a", "b": "a", "c": "a", "d": "d"}


def test_sharded_models_and_folders_of_several_models(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    base = network(1)
    torch.save(base, tmp_path / "one" / "pytorch_model.bin")
    torch.save(moved(base, 0.2, 3), tmp_path / "two" / "a.pt")
    torch.save(moved(base, 0.2, 4), tmp_path / "two" / "b.pt")
    document = lineage(tmp_path).to_dict()
    names = [model["name"] for model in document["models"]]
    assert names in (["one", "two/a.pt", "two/b.pt"], ["one", "two"])
