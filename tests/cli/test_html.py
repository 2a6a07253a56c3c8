"""``--format html`` of the commands that have it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import platformdirs
import pytest
import torch
from pages import Page, require_sound
from safetensors.torch import save_file
from zoos import zoo

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.report.document import dumps

Capture = pytest.CaptureFixture[str]
HOSTILE = '</style><script>alert(1)</script>"{{7*7}}'


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's own configuration out."""
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda *_, **__: str(tmp_path / "user"))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Return a checkpoint, and another whose even layers carry an update of rank 1."""
    generator = torch.Generator().manual_seed(0)
    base, tuned = tmp_path / "base.safetensors", tmp_path / "tuned.safetensors"
    weights = {f"layers.{index}.weight": torch.randn(64, 48, generator=generator) for index in range(6)}
    weights[HOSTILE] = torch.randn(64, 48, generator=generator)
    save_file(weights, base)
    update = 0.05 * torch.randn(64, 1, generator=generator) @ torch.randn(1, 48, generator=generator)
    changed = {
        name: weight + (index % 2 == 0) * update for index, (name, weight) in enumerate(weights.items())
    }
    save_file(changed | {"extra.weight": torch.randn(20, 20, generator=generator)}, tuned)
    return base, tuned


def test_a_scan_writes_a_page_with_the_spectra(pair: tuple[Path, Path], tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    assert run(cli, ["scan", str(pair[0]), "-o", str(target), "-q", "--analyzers", "scale,powerlaw"]) == 0
    page = Page(target.read_text())
    require_sound(page)
    assert sum(each.get("class") == "panel" for each in page.all("article")) == 7
    assert HOSTILE in page.words


def test_several_subjects_and_one_that_is_missing_share_a_page(
    pair: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    lost = str(tmp_path / "lost.safetensors")
    names = [lost, *map(str, pair)]
    assert run(cli, ["scan", *names, "--format", "html", "--analyzers", "scale,powerlaw", "-q"]) == 2
    page = Page(capsys.readouterr().out)
    require_sound(page)
    assert "Could not be scanned" in page.words
    assert sum(each.get("class") == "panel" for each in page.all("article")) == 15


def test_no_spectrum_is_computed_for_the_page_alone(pair: tuple[Path, Path], capsys: Capture) -> None:
    assert run(cli, ["scan", str(pair[0]), "--format", "html", "--analyzers", "sketch", "-q"]) == 0
    assert "computed no spectrum that could be drawn" in capsys.readouterr().out


def test_a_saved_report_is_rendered_without_spectra(
    pair: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    saved = tmp_path / "report.json"
    assert run(cli, ["scan", str(pair[0]), "-o", str(saved), "-q", "--analyzers", "scale,powerlaw"]) == 0
    assert run(cli, ["report", str(saved), "--format", "html"]) == 0
    page = Page(capsys.readouterr().out)
    require_sound(page)
    assert "A saved report holds no spectra" in page.words


def test_a_comparison_writes_a_page(pair: tuple[Path, Path], tmp_path: Path) -> None:
    target = tmp_path / "comparison.html"
    assert run(cli, ["compare", *map(str, pair), "-o", str(target), "-q", "--no-metrics"]) == 0
    page = Page(target.read_text())
    require_sound(page)
    assert HOSTILE in page.words
    assert "only in candidate" in page.words
    assert "base.safetensors → tuned.safetensors" in page.words
    assert any("Relative change of" in (each.get("aria-label") or "") for each in page.all("svg"))


def test_a_saved_zoo_becomes_a_page(made: ModuleType, tmp_path: Path, capsys: Capture) -> None:
    saved, target = tmp_path / "zoo.json", tmp_path / "zoo.html"
    saved.write_text(dumps(zoo(12, made.report().tool).to_dict()))
    assert run(cli, ["report", str(saved), "-o", str(target)]) == 0
    page = Page(target.read_text())
    require_sound(page)
    assert "12 models" in page.words
    assert run(cli, ["report", str(saved), "--format", "html"]) == 0
    assert capsys.readouterr().out == target.read_text()
    saved.write_text('{"schema": {"name": "rmtaudit.zoo"}}')
    assert run(cli, ["report", str(saved), "--format", "html"]) == 2
    assert "RA-ZO-005" in capsys.readouterr().err


def test_a_gate_writes_a_page(pair: tuple[Path, Path], tmp_path: Path) -> None:
    target = tmp_path / "gate.html"
    run(cli, ["gate", str(pair[0]), "-o", str(target)])
    page = Page(target.read_text())
    require_sound(page)
    assert "Policy" in page.words
