"""``rmtaudit scan --plots``."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_file(
        {"../fc.weight": torch.randn(40, 30, generator=generator), "two.weight": torch.ones(2, 9)}, path
    )
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name.rsplit("-", 1)[0] for path in folder.glob("*.svg"))


def test_layers_and_depth_are_drawn_and_what_was_not_is_said(weights: Path, capsys: Capture) -> None:
    folder = weights.parent / "plots" / "deep"
    command = ["scan", str(weights), "--format", "json", "--analyzers", "powerlaw", "--plots", str(folder)]
    assert run(cli, command) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["layers"]
    assert "not drawn: two.weight: " in captured.err
    assert names(folder) == ["_fc.weight", "along-the"]
    assert {path.suffix for path in folder.iterdir()} == {".svg", ".html"}
    assert sorted(path.name for path in weights.parent.iterdir()) == ["model.safetensors", "plots"]


def test_plots_change_nothing_in_the_report(weights: Path, capsys: Capture) -> None:
    documents = []
    for flags in ([], ["--plots", str(weights.parent / "plots")]):
        assert run(cli, ["scan", str(weights), "--format", "json", "--analyzers", "powerlaw", *flags]) == 0
        document = json.loads(capsys.readouterr().out)
        document.pop("timings")
        documents.append(document)
    assert documents[0] == documents[1]


def test_several_subjects_have_a_folder_each(weights: Path) -> None:
    other = weights.with_name("other.safetensors")
    save_file({"fc.weight": torch.randn(20, 30, generator=torch.Generator().manual_seed(1))}, other)
    folder = weights.parent / "plots"
    assert run(cli, ["scan", str(weights), str(other), "-q", "--plots", str(folder)]) == 0
    assert len(list(folder.iterdir())) == 2
    assert all(len(names(each)) == 2 for each in folder.iterdir())


def test_without_matplotlib_nothing_is_scanned(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "matplotlib" else found(name, *more)
    )
    command = ["scan", str(weights), "--plots", str(weights.parent / "plots")]
    assert run(cli, [*command, "--plot-format", "png"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "RA-US-303" in captured.err
    assert "pip install 'rmtaudit[plots]'" in captured.err


def test_a_folder_that_is_a_file_is_refused(weights: Path, capsys: Capture) -> None:
    assert run(cli, ["scan", str(weights), "--plots", str(weights)]) == 2
    assert "RA-US-001" in capsys.readouterr().err
