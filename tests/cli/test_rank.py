"""``rmtaudit rank`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.report.ranking import ranking_schema

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def zoo(tmp_path: Path, made: ModuleType) -> Path:
    """Return a manifest of six models whose alpha and quality rise together, and whose size does not."""
    lines = ["models:"]
    for place in range(6):
        base = made.report((made.layer("a.weight", 2.0 + place), made.layer("b.weight", 3.0 + place)))
        subject = {**base.subject, "parameters": 1000 * (3, 1, 6, 2, 5, 4)[place]}
        made.report(base.layers, subject=subject).save(tmp_path / f"{place}.json")
        quality = f"{{accuracy: {{value: {(place * 5) % 6}, higher_is_better: true}}}}"
        lines.append(f"  - {{report: {place}.json, name: m{place}, family: f, quality: {quality}}}")
    path = tmp_path / "zoo.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_table_has_the_answer_first(zoo: Path, capsys: Capture) -> None:
    assert run(cli, ["rank", str(zoo), "--metrics", "alpha"]) == 0
    out = capsys.readouterr().out
    assert out.index("accuracy:") < out.index("Family f")
    assert "m5" in out


def test_json_and_markdown(zoo: Path, tmp_path: Path, capsys: Capture) -> None:
    target = tmp_path / "out" / "ranking.json"
    target.parent.mkdir()
    assert run(cli, ["rank", str(zoo), "-o", str(target), "-q"]) == 0
    document = json.loads(target.read_text())
    jsonschema.validate(document, ranking_schema())
    assert capsys.readouterr().out == ""
    assert run(cli, ["rank", str(zoo), "--format", "markdown"]) == 0
    assert capsys.readouterr().out.startswith("## Ranking of ")
    assert run(cli, ["rank", str(zoo), "-o", str(tmp_path / "ranking.html"), "-q"]) == 0
    page = (tmp_path / "ranking.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "Family f, 6 models" in page
    assert "alpha against parameters" in page


def test_exit_codes(zoo: Path, tmp_path: Path, capsys: Capture) -> None:
    few = tmp_path / "few.yaml"
    few.write_text("\n".join(zoo.read_text().splitlines()[:4]) + "\n")
    assert run(cli, ["rank", str(few)]) == 3
    assert run(cli, ["rank", str(zoo), "--metrics", "nothing"]) == 2
    assert run(cli, ["rank", str(tmp_path / "none")]) == 2
    assert "RA-RP-005" in capsys.readouterr().err


def test_tau_is_explained_only_where_it_stands(zoo: Path, capsys: Capture) -> None:
    assert run(cli, ["rank", str(zoo)]) == 0
    assert "Kendall's tau-b" in capsys.readouterr().out
    lines = zoo.read_text().splitlines()
    zoo.write_text("\n".join(line.split(", quality")[0] + "}" * ("quality" in line) for line in lines))
    for format_ in ("table", "markdown"):
        assert run(cli, ["rank", str(zoo), "--format", format_]) == 0
        out = capsys.readouterr().out
        assert "Kendall" not in out
        assert "given size" not in out
        assert "place in the family" in out
