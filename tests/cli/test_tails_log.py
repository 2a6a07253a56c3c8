"""``rmtaudit tails`` on the log of a training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run as run_cli

NAMES = ["a.weight", "b.weight"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    start = {
        "schema": {"name": "rmtaudit.training", "version": "1.0"},
        "kind": "start",
        "parameters": NAMES,
    }
    # norms that grow: quantiles of two Pareto laws, in an order that mixes them
    norms = [(1 - (37 * index % 400 + 0.5) / 400) ** -0.5 for index in range(400)]
    rows = [
        {"kind": "gradients", "step": index + 1, "norms": [norm * (1 + index // 200), 0.0]}
        for index, norm in enumerate(norms)
    ]
    path = tmp_path / "training.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [start, *rows]))
    return path


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str) -> tuple[int, str, str]:
        code = run_cli(cli, ["tails", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return command


def test_a_window_of_one_parameter(log: Path, run: Run) -> None:
    code, out, _ = run(
        str(log), "--parameter", "a.*", "--window", "201:401", "--side", "upper", "--format", "json"
    )
    assert code == 0
    document = json.loads(out)
    gradients = document["subject"]["gradients"]
    assert gradients["steps"] == [201, 400]
    assert gradients["parameters"] == 1
    assert document["tool"]["options"]["window"] == [201, 401]
    assert document["upper"]["alpha"]["value"] == pytest.approx(3.0, abs=0.5)
    assert document["subject"]["least_positive"] == pytest.approx(2.0, abs=0.02)


def test_the_table_says_how_the_norms_drift_and_where_they_are_from(log: Path, run: Run) -> None:
    code, out, _ = run(str(log), "--side", "upper")
    text = " ".join(out.split())
    assert code == 0
    assert "gradient norms of 2 parameters together, steps 1 to 400" in text
    assert "Use --window to fit a part of the training run" in text
    halves = json.loads(run(str(log), "--format", "json")[1])["subject"]["gradients"]["halves"]
    first, second = halves["medians"]
    assert second == pytest.approx(2 * first, rel=0.1)
    # P(2x < y) and P(x < y) of a Pareto law with P(x > y) = 1/y² are 3/4 apart at y = 2
    assert halves["ks_distance"] == pytest.approx(0.75, abs=0.05)


def test_the_second_opinion_reads_the_log_itself(log: Path, run: Run) -> None:
    pytest.importorskip("powerlaw")
    code, out, _ = run(str(log), "--side", "upper", "--window", ":200", "--verify", "--format", "json")
    assert code == 0
    checks = json.loads(out)["verification"]["checks"]
    assert any(check["owner"] == "file" for check in checks)
    assert all(math.isfinite(check["deviation"]) for check in checks)


@pytest.mark.parametrize("window", ["5", "a:b", "-1:4", "1:2:3"])
def test_a_window_that_is_none(log: Path, run: Run, window: str) -> None:
    code, _, err = run(str(log), f"--window={window}")
    assert code == 2
    assert "FROM:TO" in err


def test_choosing_from_a_file_that_is_no_log(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "x.csv"
    path.write_text("1\n2\n3\n")
    for flags in (("--parameter", "a"), ("--window", "1:")):
        code, _, err = run(str(path), *flags)
        assert code == 2
        assert "RA-US-406" in err
