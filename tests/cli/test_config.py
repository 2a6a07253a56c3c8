from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import platformdirs
import pytest
import yaml

from rmtaudit.cli import cli
from rmtaudit.cli.config import SCHEMAS as NAMES
from rmtaudit.cli.errors import run
from rmtaudit.engine.gate.policy import policy_schema
from rmtaudit.report.gate import gate_schema
from rmtaudit.report.schema import report_schema
from rmtaudit.report.schemas import SCHEMAS

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda *_, **__: str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path)


def test_show_prints_a_configuration(capsys: Capture) -> None:
    assert (
        run(cli, ["config", "show", "--preset", "fast", "--set", "powerlaw.stability=false", "--memory=1GB"])
        == 0
    )
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["preset"] == "fast"
    assert shown["memory"] == 10**9
    assert shown["options.powerlaw.stability"] is False


def test_show_says_where_each_value_is_from(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rmtaudit.yaml").write_text("\nseed: 3\n")
    monkeypatch.setenv("RMTAUDIT_CONV", "slices")
    assert run(cli, ["config", "show", "--origin", "--set", "device=cpu"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["seed"] == f"3  # {tmp_path / 'rmtaudit.yaml'}:2"
    assert lines["conv"] == '"slices"  # RMTAUDIT_CONV'
    assert lines["device"] == '"cpu"  # --set'
    assert lines["solver"] == '"gram"  # preset default'
    assert lines["threads"] == "null  # built-in"


@pytest.mark.parametrize(
    ("name", "schema"), [("report", report_schema), ("gate", gate_schema), ("policy", policy_schema)]
)
def test_the_schema_is_printed(name: str, schema: Callable[[], dict[str, Any]], capsys: Capture) -> None:
    assert run(cli, ["config", "schema", name]) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == schema()


def test_every_published_schema_is_printed(capsys: Capture) -> None:
    assert {*SCHEMAS, "policy"} == set(NAMES)
    for name in NAMES:
        assert run(cli, ["config", "schema", name]) == 0
        printed = json.loads(capsys.readouterr().out)
        jsonschema.Draft202012Validator.check_schema(printed)
        assert name == "policy" or printed["$id"].startswith(f"urn:rmtaudit:{name}:")


def test_analyzers_are_listed(capsys: Capture) -> None:
    assert run(cli, ["analyzers"]) == 0
    out = capsys.readouterr().out
    for name in ("powerlaw", "scale", "weightwatcher"):
        assert f"\n{name}  (rmtaudit " in f"\n{out}"
    assert run(cli, ["analyzers", "--format", "json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["powerlaw"]["options"]["bootstrap"] == 0
    assert "alpha" in [metric["name"] for metric in rows["powerlaw"]["metrics"]]
    assert rows["scale"]["problem"] == ""
