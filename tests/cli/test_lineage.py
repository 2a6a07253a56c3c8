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
