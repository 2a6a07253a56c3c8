"""``rmtaudit probe`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.report.probe import probe_schema

NET = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    layers = [part for _ in range(12) for part in (nn.Linear(8, 8), nn.Tanh())]
    with torch.no_grad():
        layers[4].weight *= 6
    return nn.Sequential(*layers, nn.Linear(8, 3))
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


MODEL = ["probe", "net.py:net", "--allow-code", "--threads", "1"]
WHOLE = [*MODEL, "--input-shape", "8", "--loss", "kl"]


def test_the_table_and_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, [*WHOLE, "--quantise", "int3-g128", "--top", "5"]) == 0
    out = capsys.readouterr().out
    assert "quantise, scheme int3-g128, one layer at a time" in out
    assert "16 of Gaussian noise, 8" in out
    assert "… and 8 more: --top 0 shows all" in out
    assert "All layers edited: " in out
    assert run(cli, [*WHOLE, "--quantise", "int3-g128", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, probe_schema())
    assert document["edit"] == {"kind": "quantise", "scheme": "int3-g128"}
    assert len(document["layers"]) == 13


def test_without_an_edit_the_most_sensitive_layer_leads(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, [*WHOLE, "--draws", "2", "--seed", "3", "-o", "p.json", "-q"]) == 0
    assert capsys.readouterr().out == ""
    document = json.loads(Path("p.json").read_text(encoding="utf-8"))
    values = [layer["sensitivity"]["value"] for layer in document["layers"]]
    assert values == sorted(values, reverse=True)
    assert document["advice"] is None
    assert document["tool"]["seed"] == 3
    assert run(cli, [*WHOLE, "--draws", "1"]) == 0
    assert "sensitivity: change of the output under noise" in capsys.readouterr().out


def test_patterns_choose_the_weights(capsys: pytest.CaptureFixture[str]) -> None:
    patterns = ["--include", "2*", "--include", "4.weight", "--exclude", "24"]
    assert run(cli, [*WHOLE, *patterns, "--prune", "0.5", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, probe_schema())
    assert {layer["name"] for layer in document["layers"]} == {
        "2.weight",
        "4.weight",
        "20.weight",
        "22.weight",
    }
    assert document["patterns"] == {"include": ["2*", "4.weight"], "exclude": ["24"]}
    harms = [layer["harm"]["value"] for layer in document["layers"]]
    assert document["advice"]["total"] == pytest.approx(sum(harms))
    assert run(cli, [*WHOLE, "--include", "44.weight"]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "RA-PB-006" in message
    assert "Did you mean '4.weight'?" in message


def test_refusals(capsys: pytest.CaptureFixture[str]) -> None:
    for more, code in (
        (["--input-shape", "a"], "RA-PB-001"),
        (["--memory", "much"], "RA-PB-001"),
        (["--quantise", "int4", "--prune", "0.5"], "RA-US-815"),
        ([], "RA-PB-002"),
        (["--input-shape", "9"], "RA-NW-014"),
    ):
        assert run(cli, [*MODEL, *more]) == 2
        assert code in capsys.readouterr().err
    assert run(cli, ["probe", "net.py:net", "--input-shape", "8"]) == 2
    assert "RA-NW-010" in capsys.readouterr().err
