"""``rmtaudit lineage``: the tree, the files, the exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    folder = tmp_path / "zoo"
    folder.mkdir()
    generator = torch.Generator().manual_seed(1)
    shapes = {"a.weight": (40, 20), "b.weight": (30, 40), "c.weight": (10, 30)}
    base = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    tuned = {
        name: value + 0.1 * torch.randn(value.shape, generator=generator) for name, value in base.items()
    }
    other = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    for name, state in (("base", base), ("tuned", tuned), ("other", other)):
        torch.save(state, folder / f"{name}.pt")
    return folder


def test_tree_and_evidence(
    zoo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(cli, ["lineage", str(zoo)]) == 0
    text = capsys.readouterr().out
    assert re.search(r"└── derived, change 0\.(1|09\d|10\d): tuned\.pt", text)
    assert "3 models · 3 pairs" in text
    assert "2 independent, 1 derived" in text
    assert "would have been detected" in text
    assert max(map(len, text.splitlines())) <= 80


def test_json_and_dot(zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, dot = tmp_path / "lineage.json", tmp_path / "lineage.dot"
    assert run(cli, ["lineage", str(zoo), "-o", str(target), "-q", "--dot", str(dot)]) == 0
    assert capsys.readouterr().out == ""
    document = json.loads(target.read_text())
    assert document["schema"] == {"name": "rmtaudit.lineage", "version": "1.0"}
    assert '"base.pt" -> "tuned.pt"' in dot.read_text()


def test_exit_codes(zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(cli, ["lineage", str(empty)]) == 3
    assert "RA-NA-004" in capsys.readouterr().err
    assert run(cli, ["lineage", str(zoo / "base.pt")]) == 2
    assert "RA-US-801" in capsys.readouterr().err


def test_several_models_by_their_paths(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    apart = zoo / "apart"
    apart.mkdir()
    (zoo / "tuned.pt").rename(apart / "tuned.pt")
    paths = [str(zoo / "base.pt"), str(apart / "tuned.pt")]
    assert run(cli, ["lineage", *paths, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["subject"] == {"path": str(zoo), "models": 2, "unread": 0}
    assert [model["name"] for model in document["models"]] == ["base.pt", "apart/tuned.pt"]
    assert document["counts"] == {"derived": 1}
    assert run(cli, ["lineage", *paths, "--base", paths[0], "--parents", paths[1]]) == 2
    assert "RA-US-818" in capsys.readouterr().err


def test_layers_beyond_the_memory_budget_are_not_tested(
    zoo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cli, ["lineage", str(zoo), "--format", "json"]) == 0
    usual = json.loads(capsys.readouterr().out)
    assert run(cli, ["lineage", str(zoo), "--format", "json", "--memory", "1GB"]) == 0
    assert json.loads(capsys.readouterr().out) == usual
    assert run(cli, ["lineage", str(zoo), "--format", "json", "--memory", "7000"]) == 0  # b.weight needs more
    pairs = json.loads(capsys.readouterr().out)["pairs"]
    assert all(pair["evidence"]["sampled"] for pair in pairs)
    assert run(cli, ["lineage", str(zoo), "--format", "json", "--memory", "1000"]) == 0
    pairs = json.loads(capsys.readouterr().out)["pairs"]
    assert {pair["kind"] for pair in pairs} == {"untestable"}
    assert {pair["evidence"]["obstacle"] for pair in pairs} == {
        "every layer takes more than the memory budget"
    }


def test_progress_of_the_pairs(
    zoo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rmtaudit.cli.progress._FIRST", 0.0)
    assert run(cli, ["lineage", str(zoo)]) == 0
    assert "1 of 3 pairs after" in capsys.readouterr().err
    assert run(cli, ["lineage", str(zoo), "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_fine_tunes_in_numbered_files_are_models_and_not_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their norms are equal and their matrices are not, as in parts of one model; but they are near."""
    generator = torch.Generator().manual_seed(6)
    shapes = {"a.weight": (40, 20), "b.weight": (30, 40), "c.weight": (10, 30)}
    base = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    norm = torch.rand(20, generator=generator)
    for number in range(3):
        state = {name: W + 0.2 * torch.randn(W.shape, generator=generator) for name, W in base.items()}
        torch.save({**state, "norm.weight": norm}, tmp_path / f"p{number}.pt")
    assert run(cli, ["lineage", str(tmp_path), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["subject"]["models"] == 3
    assert document["counts"] == {"derived": 3}
