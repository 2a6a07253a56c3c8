"""The index of a store: an SQLite database that answers at once what the records would answer one by one.

It holds nothing that the records do not, and can be made anew from them (:meth:`Index.rebuild`). Only the
process that leads a run writes to it; two runs on one store take turns.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rmtaudit.engine.resources.store.records import Kind, RecordStore, read_record
from rmtaudit.errors import CorruptError, OutputError, RmtauditError, UsageError

_FILE = "index.sqlite"
_PATIENCE = 60.0
"""Seconds to wait for another process that writes to the index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedModel:
    """A model of the index: the name of its record, the bytes of that, and the summary in it."""

    name: str
    size: int
    summary: Mapping[str, Any]


def _first(database: sqlite3.Connection) -> None:
    database.execute(
        "CREATE TABLE models (name TEXT PRIMARY KEY, size INTEGER NOT NULL, summary TEXT NOT NULL)"
    )
    database.execute(
        "CREATE TABLE sources (name TEXT PRIMARY KEY, path TEXT NOT NULL, model TEXT, body TEXT NOT NULL)"
    )
    database.execute("CREATE INDEX sources_by_model ON sources (model)")


_MIGRATIONS: tuple[tuple[str, Callable[[sqlite3.Connection], None]], ...] = (
    ("0001 models and sources", _first),
)
"""In the order in which they are applied. Never change one that was released: add another."""


class Index:
    """The opened index of a store, to be closed or used as a context manager.

    Raises
    ------
    OutputError
        RA-ST-003: the database cannot be opened or written.
    UsageError
        RA-ST-004: a later version of rmtaudit wrote it.
    """

    def __init__(self, store: RecordStore) -> None:
        self.store = store
        self.path = store.folder / _FILE
        new = not self.path.exists()
        try:
            self._database = _opened(self.path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise self._refusal(error) from error
            _remove(self.path)  # damaged: it is made anew
            self._database, new = _opened(self.path), True
        except RmtauditError as error:
            error.where = str(self.path)
            raise
        if new:
            self.rebuild()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def rebuild(self) -> None:
        """Make the index anew from the records; damaged ones are left out."""
        with self._writing() as database:
            database.execute("DELETE FROM models")
            database.execute("DELETE FROM sources")
            for kind, add in ((Kind.MODEL, self._add_model), (Kind.SOURCE, self._add_source)):
                for path in self.store.files(kind):
                    with suppress(OSError, CorruptError):
                        add(path.stem, read_record(path).body, path.stat().st_size)

    def add(self, records: Iterable[tuple[Kind, str, Mapping[str, Any]]]) -> None:
        """Add records of models and sources that were written: their kinds, names and contents."""
        with self._writing():
            for kind, name, body in records:
                if kind is Kind.MODEL:
                    with suppress(OSError):
                        self._add_model(name, body, self.store.path(kind, name).stat().st_size)
                else:
                    self._add_source(name, body, 0)

    def sources(self) -> dict[str, Mapping[str, Any]]:
        """Return the contents of all records of sources, by the names of the records."""
        rows = self._read("SELECT name, body FROM sources")
        return {name: json.loads(body) for name, body in rows}

    def paths(self) -> dict[str, list[str]]:
        """Return the paths of each model, by the name of its record."""
        paths: dict[str, list[str]] = {}
        for model, path in self._read(
            "SELECT model, path FROM sources WHERE model IS NOT NULL ORDER BY path"
        ):
            paths.setdefault(model, []).append(path)
        return paths

    def models(self) -> Iterator[IndexedModel]:
        """Yield the models, by the names of their records."""
        for name, size, summary in self._read("SELECT name, size, summary FROM models ORDER BY name"):
            yield IndexedModel(name=name, size=size, summary=json.loads(summary))

    def _read(self, query: str) -> list[Any]:
        try:
            return self._database.execute(query).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._refusal(error) from error

    def _add_model(self, name: str, body: Mapping[str, Any], size: int) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO models VALUES (?, ?, ?)", (name, size, json.dumps(body["summary"]))
        )

    def _add_source(self, name: str, body: Mapping[str, Any], size: int) -> None:
        del size
        self._database.execute(
            "INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?)",
            (name, body["path"], body["model"], json.dumps(body)),
        )

    def _writing(self) -> _Transaction:
        return _Transaction(self._database, self._refusal)

    def _refusal(self, error: sqlite3.Error) -> OutputError:
        full = "full" in str(error)  # SQLITE_FULL has no class of its own
        return OutputError(
            "RA-ST-002" if full else "RA-ST-003",
            "The disk is full." if full else f"The index cannot be used: {error}.",
            hint=("Free some space and run the same command again: everything that was finished is kept.")
            if full
            else "It can be deleted: the next run creates it again.",
            where=str(self.path),
        )


class _Transaction:
    """One transaction that writes, for the length of a ``with`` block; all of it or nothing."""

    def __init__(self, database: sqlite3.Connection, refusal: Callable[[sqlite3.Error], OutputError]) -> None:
        self._database, self._refusal = database, refusal

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._database.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise self._refusal(error) from error
        return self._database

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._database.execute("COMMIT" if error is None else "ROLLBACK")
        except sqlite3.Error as problem:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise self._refusal(problem) from problem
        if isinstance(error, sqlite3.Error):
            raise self._refusal(error) from error


def _opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
    try:
        _use_wal(database)
        database.execute("PRAGMA synchronous = NORMAL")
        _migrate(database)
    except BaseException:
        database.close()
        raise
    return database


def _migrate(database: sqlite3.Connection) -> None:
    database.execute("BEGIN IMMEDIATE")
    database.execute(
        "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at TEXT NOT NULL)"
    )
    applied = {name for (name,) in database.execute("SELECT name FROM migrations")}
    if applied - {name for name, _ in _MIGRATIONS}:
        raise UsageError(
            "RA-ST-004",
            "A later version of rmtaudit wrote this index.",
            hint=("Update rmtaudit, or delete the index: the next run creates it again from the records."),
        )
    for name, migrate in _MIGRATIONS:
        if name not in applied:
            migrate(database)
            database.execute("INSERT INTO migrations VALUES (?, datetime('now'))", (name,))
    database.execute("COMMIT")


def _use_wal(database: sqlite3.Connection) -> None:
    """Switch to a write-ahead log. SQLite does not wait for others here, so that we do."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _remove(path: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{ending}")  # noqa: PTH108  # a name with an ending, not a suffix
