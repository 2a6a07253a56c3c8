"""Checking a store, and removing what nothing needs any more."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmtaudit.engine.resources.store.index import Index
from rmtaudit.engine.resources.store.records import Kind, RecordStore, read_record
from rmtaudit.errors import CorruptError

LEAST_AGE = 3600.0
"""Seconds that a file must be old to be removed: a run that is under way may still need a newer one."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A file of the store that is not as it should be, relative to the store, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What was checked: how many records of each kind, their bytes, and what is wrong."""

    counts: Mapping[Kind, int]
    bytes: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Garbage:
    """A file that nothing needs, its bytes, and why."""

    path: Path
    bytes: int
    reason: str


def verify_store(store: RecordStore) -> Checked:
    """Read every record, compare it with its checksum and its name, and the index with the records."""
    counts: dict[Kind, int] = {}
    total = 0
    problems: list[Problem] = []
    known: dict[Kind, set[str]] = {}
    for kind in Kind:
        for path in store.files(kind):
            counts[kind] = counts.get(kind, 0) + 1
            try:
                record = read_record(path)
                total += path.stat().st_size
                problem = "" if record.kind is kind else "lies in the folder of another kind"
            except CorruptError as error:
                problem = error.message
            except OSError as error:
                problem = f"cannot be read: {error.strerror}"
            if problem:
                problems.append(
                    Problem(store.path(kind, path.stem).relative_to(store.folder).as_posix(), problem)
                )
            else:
                known.setdefault(kind, set()).add(path.stem)
    with Index(store) as index:
        indexed = {model.name for model in index.models()}
        missing = known.get(Kind.MODEL, set()) ^ indexed
        missing |= known.get(Kind.SOURCE, set()) ^ set(index.sources())
        if missing:
            reason = (
                f"differs from the records in {len(missing)} entries; `rmtaudit cache gc` creates it again"
            )
            problems.append(Problem(index.path.name, reason))
    return Checked(counts, total, tuple(problems))


def garbage_of(store: RecordStore, *, least_age: float = LEAST_AGE) -> Iterator[Garbage]:
    """Yield what can be removed.

    Left-over temporary files, damaged records, sources whose files are gone or have changed, the models that
    no source has any more, and the layers that no model has. Files younger than ``least_age`` seconds stay.
    """
    latest = time.time() - least_age
    models: dict[str, Sequence[str]] = {}
    damaged: set[str] = set()
    sources: dict[str, Mapping[str, Any]] = {}

    def aged(path: Path, reason: str) -> Iterator[Garbage]:
        try:
            status = path.stat()
        except FileNotFoundError:
            return
        if status.st_mtime <= latest:
            yield Garbage(path, status.st_size, reason)

    for path in store.leftovers():
        yield from aged(path, "left over from a process that was ended")
    for kind in Kind:
        for path in store.files(kind):
            try:
                record = read_record(path)
            except (OSError, CorruptError):
                damaged.add(path.stem)
                yield from aged(path, "damaged")
                continue
            if kind is Kind.MODEL:
                models[path.stem] = record.body["layers"]
            elif kind is Kind.SOURCE:
                sources[path.stem] = record.body
    current = {name for name, body in sources.items() if is_unchanged(body["files"])}
    for name in sources.keys() - current:
        yield from aged(store.path(Kind.SOURCE, name), "its files are gone or have changed")
    needed = {sources[name]["model"] for name in current}
    for name in models.keys() - needed:
        yield from aged(store.path(Kind.MODEL, name), "no file holds this model any more")
    needed_layers = {layer for name in models.keys() & needed for layer in models[name]}
    for path in store.files(Kind.LAYER):
        if path.stem not in needed_layers and path.stem not in damaged:
            yield from aged(path, "no model has this layer any more")


def collect_garbage(
    store: RecordStore, *, dry_run: bool = False, least_age: float = LEAST_AGE
) -> tuple[Garbage, ...]:
    """Remove what :func:`garbage_of` yields, make the index anew, and return what was removed."""
    garbage = tuple(garbage_of(store, least_age=least_age))
    if not dry_run:
        for each in garbage:
            each.path.unlink(missing_ok=True)
        with Index(store) as index:
            index.rebuild()
    return garbage


def state_of(path: str) -> list[int] | None:
    """Return size, modification time in ns and inode of a file; ``None`` where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116  # 10,000 files: a path object each would take longer than this
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def is_unchanged(files: Mapping[str, list[int] | None]) -> bool:
    """Whether the files are in the state that was noted, and those that were absent still are."""
    return all(state_of(path) == state for path, state in files.items())
