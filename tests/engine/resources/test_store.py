"""The store: records that are whole or absent, whoever writes and whatever kills them."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rmtaudit.engine.resources.store import Index, Kind, RecordStore, key_digest
from rmtaudit.engine.resources.store.upkeep import collect_garbage, state_of, verify_store
from rmtaudit.errors import OutputError, UsageError

_WRITER = """
import sys
from pathlib import Path
from rmtaudit.engine.resources.store import Index, Kind, RecordStore
store = RecordStore(Path(sys.argv[1]), create=True)
first, last = int(sys.argv[2]), int(sys.argv[3])
with Index(store) as index:
    for number in range(first, last):
        body = {"summary": {"number": number}, "layers": [], "text": "x" * 5000}
        name = store.put(Kind.MODEL, {"number": number}, body)
        index.add([(Kind.MODEL, name, body)])
        print(number, flush=True)
"""


def source_body(path: Path, model: str) -> dict[str, Any]:
    return {"path": str(path), "model": model, "files": {str(path): state_of(str(path))}}


def model_body(*layers: str) -> dict[str, Any]:
    return {"summary": {"format": "npy", "parameters": 3, "preset": "fast"}, "layers": list(layers)}


def writer(store: Path, first: int, last: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WRITER, str(store), str(first), str(last)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_record_comes_back_and_is_named_by_its_key(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "store", create=True)
    key, body = {"a": 1, "b": "é"}, {"value": 0.1, "text": '","body":'}
    name = store.put(Kind.LAYER, key, body)
    assert name == key_digest(Kind.LAYER, key)
    assert store.get(Kind.LAYER, name) == body
    assert store.get(Kind.MODEL, name) is None
    assert store.path(Kind.LAYER, name) == tmp_path / "store" / store.relative(Kind.LAYER, name)
    before = store.path(Kind.LAYER, name).read_bytes()
    store.put(Kind.LAYER, key, body)
    assert store.path(Kind.LAYER, name).read_bytes() == before


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "moved", "version"])
def test_a_damaged_record_is_absent_and_reported(tmp_path: Path, damage: str) -> None:
    store = RecordStore(tmp_path / "store", create=True)
    name = store.put(Kind.LAYER, {"a": 1}, {"value": 1})
    path = store.path(Kind.LAYER, name)
    data = path.read_bytes()
    other = path.with_name(f"{name[:4]}{'0' * 60}.json")
    if damage == "cut":
        path.write_bytes(data[:-5])
    elif damage == "flip":
        path.write_bytes(data.replace(b'"value":1', b'"value":2'))
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "version":
        path.write_bytes(b"{}")
    else:
        path.rename(other)
        name = other.stem
    assert store.get(Kind.LAYER, name) is None
    checked = verify_store(store)
    assert [problem.file for problem in checked.problems] == [store.relative(Kind.LAYER, name)]
    assert collect_garbage(store) == ()  # too young: another process may be writing it
    (removed,) = collect_garbage(store, least_age=-1)
    assert removed.reason == "damaged"
    assert not verify_store(store).problems


def test_a_folder_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="RA-ST-001"):
        RecordStore(tmp_path)
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UsageError, match="RA-ST-001"):
        RecordStore(tmp_path, create=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    later = tmp_path / "later"
    RecordStore(later, create=True)
    (marker,) = later.iterdir()
    marker.write_text(json.dumps({"schema": {"name": "rmtaudit.store", "version": "2.0"}}))
    with pytest.raises(UsageError, match="RA-ST-004"):
        RecordStore(later)


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "RA-ST-002"), (errno.EACCES, "RA-ST-003")])
def test_a_full_disk_is_an_error_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    store = RecordStore(tmp_path / "store", create=True)

    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OutputError, match=code):
        store.put(Kind.LAYER, {"a": 1}, {})
    monkeypatch.undo()
    assert list(store.leftovers()) == []
    assert list(store.files(Kind.LAYER)) == []
    store.put(Kind.LAYER, {"a": 1}, {})
    assert len(list(store.files(Kind.LAYER))) == 1


def test_processes_share_a_store(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    writers = [writer(folder, first, first + 20) for first in (0, 10, 10)]
    for each in writers:
        _, problems = each.communicate(timeout=120)
        assert each.returncode == 0, problems
    store = RecordStore(folder)
    checked = verify_store(store)
    assert checked.counts == {Kind.MODEL: 30}
    assert not checked.problems
    with Index(store) as index:
        assert {model.summary["number"] for model in index.models()} == set(range(30))


def test_a_killed_writer_leaves_whole_records_and_an_index_that_recovers(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    for attempt in range(3):
        process = writer(folder, 1000 * attempt, 1000 * attempt + 1000)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.01 * (1 + attempt))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    store = RecordStore(folder)
    problems = verify_store(store).problems
    assert all(problem.file == "index.sqlite" for problem in problems)  # a record of which it was not told
    collect_garbage(store, dry_run=True)
    with Index(store) as index:
        index.rebuild()
    assert not verify_store(store).problems
    for path in list(store.leftovers()):
        os.utime(path, (1, 1))
    collect_garbage(store, least_age=3600)
    assert not list(store.leftovers())


def test_the_index_is_made_anew_where_it_is_absent_or_damaged(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "store", create=True)
    name = store.put(Kind.MODEL, {"a": 1}, model_body())
    file = tmp_path / "model.npy"
    file.write_bytes(b"weights")
    source = source_body(file, name)
    path = store.put(Kind.SOURCE, {"path": str(file)}, source)
    for damage in (None, b"", b"no database" * 1000):
        index_file = store.folder / "index.sqlite"
        if damage is not None:
            index_file.write_bytes(damage)
            for ending in ("-wal", "-shm"):
                index_file.with_name(f"{index_file.name}{ending}").unlink(missing_ok=True)
        with Index(store) as index:
            if damage == b"":
                index.rebuild()  # an empty file is an empty database
            assert [model.name for model in index.models()] == [name]
            assert index.sources() == {path: source}
            assert index.paths() == {name: [str(file)]}


def test_an_index_of_a_later_version_is_refused(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "store", create=True)
    with Index(store) as index:
        index._database.execute("INSERT INTO migrations VALUES ('9999 later', '')")
    with pytest.raises(UsageError, match="RA-ST-004"):
        Index(store)


def test_garbage_is_what_no_unchanged_file_needs(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "store", create=True)
    layers = [store.put(Kind.LAYER, {"layer": number}, {}) for number in range(3)]
    kept, gone = tmp_path / "kept.npy", tmp_path / "gone.npy"
    for file in (kept, gone):
        file.write_bytes(b"weights")
    first = store.put(Kind.MODEL, {"model": 1}, model_body(layers[0], layers[1]))
    second = store.put(Kind.MODEL, {"model": 2}, model_body(layers[1], layers[2]))
    store.put(Kind.SOURCE, {"path": str(kept)}, source_body(kept, first))
    store.put(Kind.SOURCE, {"path": str(gone)}, source_body(gone, second))
    assert collect_garbage(store, least_age=-1) == ()
    gone.unlink()
    planned = collect_garbage(store, least_age=-1, dry_run=True)
    assert len(planned) == 3
    assert store.get(Kind.MODEL, second) is not None
    assert collect_garbage(store, least_age=-1) == planned
    assert store.get(Kind.MODEL, first) is not None
    assert [store.get(Kind.LAYER, layer) is None for layer in layers] == [False, False, True]
    kept.write_bytes(b"other weights")
    assert {each.reason for each in collect_garbage(store, least_age=-1)} == {
        "its files are gone or have changed",
        "no file holds this model any more",
        "no model has this layer any more",
    }
