"""``rmtaudit activations`` from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run

NETS = """
import torch
from torch import nn

def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 8), nn.Tanh(), nn.Linear(8, 3))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    values = np.random.default_rng(0).standard_normal((60, 12))
    np.savez(tmp_path / "x.npz", inputs=values)
    np.savez(tmp_path / "few.npz", inputs=values[:15])
    np.savez(tmp_path / "twice.npz", inputs=np.concatenate([values, values[:3]]))
    monkeypatch.chdir(tmp_path)


def arguments(data: str, *more: str) -> list[str]:
    return ["activations", "nets.py:mlp", "--data", data, "--allow-code", "--threads", "1", *more]


def document(capsys: pytest.CaptureFixture[str], expected: int, *words: str) -> dict[str, Any]:
    assert run(cli, [*words, "--format", "json"]) == expected
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_document_and_table(capsys: pytest.CaptureFixture[str]) -> None:
    result = document(capsys, 0, *arguments("x.npz"))
    assert result["schema"] == {"name": "rmtaudit.activations", "version": "1.0"}
    assert [layer["name"] for layer in result["layers"]] == ["0", "2", "4"]
    assert {layer["status"] for layer in result["layers"]} == {"ok"}
    first = result["layers"][0]
    assert first["shape"] == [40, 12]
    low, high = first["numbers"]["log_determinant"]["ci"]
    assert low < 0 < high  # standard normal inputs
    assert first["activations"]["conjugate"]["activation"] == "relu"
    assert not document(capsys, 0, *arguments("x.npz", "--include", "0"))["warnings"]
    again = document(capsys, 0, *arguments("x.npz", "--batch", "60"))
    assert again["layers"][2]["numbers"]["effective_rank"]["value"] == pytest.approx(
        result["layers"][2]["numbers"]["effective_rank"]["value"], rel=1e-9
    )
    assert run(cli, arguments("x.npz", "--top", "1")) == 0
    out = capsys.readouterr().out
    assert "one random position of each sample" in out
    assert "and 2 more layers" in out


def test_too_few_samples_are_inconclusive(capsys: pytest.CaptureFixture[str]) -> None:
    result = document(capsys, 3, *arguments("few.npz"))
    assert {layer["reason"] for layer in result["layers"]} == {"too few samples"}
    # 30 samples do for the inputs of 12 numbers, and not for those of 40
    assert run(cli, arguments("x.npz", "--limit", "30")) == 3
    assert re.search(r"log determinant: needs \d+ samples", capsys.readouterr().out)
    assert run(cli, arguments("x.npz", "--limit", "30", "--include", "0")) == 0


def test_copies_are_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    result = document(capsys, 0, *arguments("twice.npz", "--include", "0"))
    assert [each["code"] for each in result["warnings"]] == ["RA-AC-103"]
    assert "3 samples are copies" in result["warnings"][0]["message"]


@pytest.mark.parametrize(
    ("words", "code"), [(["--include", "nothing*"], "RA-AC-002"), (["--memory", "much"], "RA-AC-001")]
)
def test_what_is_refused(words: list[str], code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, arguments("x.npz", *words)) == 2
    assert code in capsys.readouterr().err


def test_every_code_has_its_row_on_the_page() -> None:
    root = Path(__file__).parents[2]
    sources = [
        *(root / "src/rmtaudit/engine/activations").glob("*.py"),
        root / "src/rmtaudit/cli/activations.py",
    ]
    used = {code for path in sources for code in re.findall(r"RA-AC-\d{3}", path.read_text(encoding="utf-8"))}
    page = (root / "docs/errors.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (RA-AC-\d{3}) \|", page, re.MULTILINE) == sorted(used)
