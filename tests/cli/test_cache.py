"""``rmtaudit cache``: what a store holds, whether it is whole, and what can go."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from clock import Clock

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.engine.resources.store import Index, Kind, RecordStore
from rmtaudit.engine.resources.store.upkeep import state_of

Capture = pytest.CaptureFixture[str]


def filled(folder: Path, count: int = 2) -> RecordStore:
    """Return a store of so many models, with an index."""
    store = RecordStore(folder / "store", create=True)
    written: list[tuple[Kind, str, dict[str, Any]]] = []
    for number in range(count):
        file = folder / f"model{number}.npy"
        file.write_bytes(b"weights")
        summary = {"format": "npy", "parameters": 1000 * number, "preset": "fast"}
        body: dict[str, Any] = {"summary": summary, "layers": [], "tensors": [], "report": None}
        name = store.put(Kind.MODEL, {"number": number}, body)
        written.append((Kind.MODEL, name, body))
        source = {"path": str(file), "model": name, "files": {str(file): state_of(str(file))}}
        written.append((Kind.SOURCE, store.put(Kind.SOURCE, {"path": str(file)}, source), source))
    with Index(store) as index:
        index.add(written)
    return store


def test_models_are_listed(tmp_path: Path, capsys: Capture) -> None:
    store = filled(tmp_path)
    assert run(cli, ["cache", "ls", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert str(tmp_path / "model1.npy") in text
    assert "1,000" in text
    assert text.splitlines()[-1].startswith("2 models, ")
    assert run(cli, ["cache", "ls", str(tmp_path / "store"), "--format", "json"]) == 0
    models = json.loads(capsys.readouterr().out)["models"]
    assert {model["paths"][0] for model in models} == {str(tmp_path / f"model{n}.npy") for n in (0, 1)}
    assert all((store.folder / model["record"]).is_file() for model in models)


def test_a_damaged_record_is_reported_and_removed(tmp_path: Path, capsys: Capture) -> None:
    store = filled(tmp_path)
    assert run(cli, ["cache", "verify", str(tmp_path)]) == 0
    path = next(store.files(Kind.MODEL))
    path.write_bytes(path.read_bytes()[:-9])
    os.utime(path, (1, 1))
    capsys.readouterr()
    assert run(cli, ["cache", "verify", str(tmp_path), "--format", "json"]) == 2
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert {problem["file"] for problem in problems} == {
        store.relative(Kind.MODEL, path.stem),
        "index.sqlite",
    }
    assert run(cli, ["cache", "verify", str(tmp_path)]) == 2
    assert run(cli, ["cache", "gc", str(tmp_path), "--dry-run"]) == 0
    assert path.exists()
    assert run(cli, ["cache", "gc", str(tmp_path)]) == 0
    assert "removed 1 files" in capsys.readouterr().out
    assert run(cli, ["cache", "verify", str(tmp_path)]) == 0


def test_what_is_no_store_is_refused(tmp_path: Path, capsys: Capture) -> None:
    assert run(cli, ["cache", "ls", str(tmp_path)]) == 2
    assert "RA-ST-001" in capsys.readouterr().err


@pytest.mark.slow
def test_ten_thousand_models_are_listed_in_time(tmp_path: Path, capsys: Capture) -> None:
    filled(tmp_path, 10_000)
    clock = Clock()
    assert run(cli, ["cache", "ls", str(tmp_path)]) == 0
    spent = clock.seconds()
    assert len(capsys.readouterr().out.splitlines()) == 10_002
    assert spent < 3
