"""The queries of the page on the report, carried out."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

import rmtaudit
from rmtaudit.report.writers import writer_for

PAGE = (Path(__file__).parents[2] / "docs" / "report-format.md").read_text(encoding="utf-8")
QUERIES = PAGE.partition("## Ten queries\n")[2].partition("\n## ")[0]
SHELL = [line for line in QUERIES.splitlines() if line.startswith("jq ")]
PYTHON = QUERIES.partition("```python\n")[2].partition("```")[0]


@pytest.fixture(scope="module")
def report() -> rmtaudit.Report:
    """Return a report with an error, a copy, a layer without alpha and vectors."""
    generator = torch.Generator().manual_seed(0)
    state = {f"layers.{place}.weight": torch.randn(40, 30 + place, generator=generator) for place in range(7)}
    state["layers.3.weight"][2, 1] = torch.nan
    state["layers.8.weight"] = state["layers.1.weight"].clone()
    state["layers.9.weight"] = torch.zeros(40, 30)
    state["norm.weight"] = torch.ones(40)
    return rmtaudit.scan(state, analyzers=["scale", "powerlaw"], threads=1)


@pytest.fixture
def folder(report: rmtaudit.Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "report.json").write_text(writer_for("json")([report]), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(line: str) -> list[str]:
    """Return the lines that a jq command prints."""
    name, *flags, program, file = shlex.split(line)
    if shutil.which(name):
        done = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.splitlines()
    jq = pytest.importorskip("jq", reason="neither the program jq nor the package jq is installed")
    results = jq.compile(program).input_text(Path(file).read_text(encoding="utf-8")).all()
    return [each if flags == ["-r"] else json.dumps(each, separators=(",", ":")) for each in results]


def test_there_are_ten() -> None:
    assert len(SHELL) + len([line for line in PYTHON.splitlines() if line.startswith("#")]) == 10


@pytest.mark.usefixtures("folder")
def test_what_jq_answers(report: rmtaudit.Report) -> None:
    found, errors, damaged, largest, without, skipped, signals = map(answer, SHELL)
    assert [line.split("\t")[:3] for line in found] == [
        [each.severity, each.code, each.layer] for each in report.findings
    ]
    assert [line.split("\t")[0] for line in found] == sorted(
        (each.severity for each in report.findings), key=["error", "warning", "info"].index
    )
    assert errors == ["layers.3.weight", "layers.8.weight"]
    assert damaged == ["layers.3.weight\tRA-SC-001", "layers.8.weight\tRA-MO-001"]
    alphas = {layer.name: layer.number("alpha") or 0.0 for layer in report.layers}
    assert [line.split("\t")[0] for line in largest] == sorted(alphas, key=alphas.__getitem__)[:-6:-1]
    assert [line.split("\t")[0] for line in without] == [name for name, alpha in alphas.items() if not alpha]
    assert all(line.split("\t")[1] for line in without)
    assert json.loads(skipped[0]) == {"copy": 1, "nonfinite": 1, "one_dimensional": 1}
    assert sum(json.loads(signals[0]).values()) == sum(layer.parameters for layer in report.layers)


@pytest.mark.usefixtures("folder")
def test_what_pandas_answers(report: rmtaudit.Report) -> None:
    pytest.importorskip("pandas")
    space: dict[str, Any] = {}
    results = []
    with contextlib.closing(Path("report.json").open(encoding="utf-8")) as file:
        space["open"] = lambda _: file
        for statement in ast.parse(PYTHON).body:
            text = ast.unparse(statement)
            if isinstance(statement, ast.Expr):
                results.append(eval(text, space))
            else:
                exec(text, space)
    assert len(space["layers"]) == len(report.layers)
    assert set(re.findall(r"metrics\.(\w+)\.value", " ".join(space["layers"].columns))) == set(report.metrics)
    by_kind, by_code = results
    numbers = [alpha for layer in report.layers if (alpha := layer.number("alpha")) is not None]
    assert by_kind.loc["dense", "count"] == len(numbers)
    assert by_kind.loc["dense", "mean"] == pytest.approx(sum(numbers) / len(numbers))
    assert by_code.sum() == len(report.findings)
