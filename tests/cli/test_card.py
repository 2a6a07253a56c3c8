"""``rmtaudit card`` on the command line."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.report.card import BEGIN, END

Capture = pytest.CaptureFixture[str]
CARD = b"---\r\nlicense: mit\r\n---\r\n# Model\r\n"


def test_a_report_is_written_into_a_card_and_again(tmp_path: Path, made: ModuleType, capsys: Capture) -> None:
    report, card = tmp_path / "report.json", tmp_path / "README.md"
    made.report().save(report)
    card.write_bytes(CARD)
    assert run(cli, ["card", str(report), str(card)]) == 0
    first = card.read_bytes()
    assert first.startswith(CARD)
    assert first.count(BEGIN.encode()) == first.count(END.encode()) == 1
    assert "the section was written" in capsys.readouterr().err
    assert run(cli, ["card", str(report), str(card)]) == 0
    assert card.read_bytes() == first
    assert "is up to date" in capsys.readouterr().err


def test_a_model_is_scanned_and_a_card_created(tmp_path: Path, capsys: Capture) -> None:
    model, card = tmp_path / "model.safetensors", tmp_path / "README.md"
    save_file({"a.weight": torch.randn(40, 30, generator=torch.Generator().manual_seed(0))}, model)
    assert run(cli, ["card", str(model), str(card), "--quiet"]) == 0
    assert "| Integrity | ok" in card.read_text(encoding="utf-8")
    assert capsys.readouterr().err == ""


def test_errors_leave_the_card_as_it_is(tmp_path: Path, made: ModuleType, capsys: Capture) -> None:
    report, card = tmp_path / "report.json", tmp_path / "README.md"
    made.report().save(report)
    card.write_text(f"# Model\n{END}\n{BEGIN}\n", encoding="utf-8")
    before = card.read_bytes()
    assert run(cli, ["card", str(report), str(card)]) == 2
    assert run(cli, ["card", str(tmp_path / "none.json"), str(card)]) == 2
    assert run(cli, ["card", str(report), str(tmp_path)]) == 2
    assert card.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "report.json"]
    assert "RA-CA-001" in capsys.readouterr().err
