"""Records: one JSON file each, named by the digest of what its contents depend on.

A record is written to a temporary file, flushed to the disk, and renamed: a reader sees all of it or nothing.
Two processes that write the same record write the same bytes. Each file begins with a checksum of the rest,
so that a record that a disk has damaged is taken for absent, and computed again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rmtaudit.errors import CorruptError, OutputError, UsageError

_SCHEMA = {"name": "rmtaudit.record", "version": "1.0"}
_START = b'{"sha256":"'
_HEX = 64
_MARKER = "rmtaudit-store.json"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

TEMPORARY = ".tmp"
"""Ending of files that are being written, or that a killed process left behind."""


class Kind(StrEnum):
    """What a record is about; also the name of its folder.

    Attributes
    ----------
    MODEL
        The report of a model, with the digests of its tensors.
    LAYER
        The analysis of one layer.
    SOURCE
        Which model a path holds, and the state of its files when it was read.
    PAIR
        The relation of two models.
    """

    MODEL = "models"
    LAYER = "layers"
    SOURCE = "sources"
    PAIR = "pairs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record as it was read: its kind, what it depends on, and its contents."""

    kind: Kind
    key: Mapping[str, Any]
    body: Any


class RecordStore:
    """The records of a folder.

    Parameters
    ----------
    folder
        Created where it does not exist, with ``create``.
    create
        Whether a folder that is no store yet becomes one.

    Raises
    ------
    UsageError
        RA-ST-001: the folder is no store; RA-ST-004: it is one of a later version.
    OutputError
        RA-ST-003: it cannot be created.
    """

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.folder = folder
        marker = folder / _MARKER
        if marker.is_file():
            _check_marker(marker)
            return
        if not create:
            raise UsageError(
                "RA-ST-001",
                "The folder is not a store.",
                hint="Give the folder that `rmtaudit zoo --out` wrote, or the store in it.",
                where=str(folder),
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()) and not marker.exists():
                raise UsageError(
                    "RA-ST-001",
                    "The folder holds something else.",
                    hint="Give an empty folder, or one that does not exist.",
                    where=str(folder),
                )
            write_whole(marker, canonical({"schema": {"name": "rmtaudit.store", "version": "1.0"}}))
        except OSError as error:
            raise _refusal(error, folder) from error

    def path(self, kind: Kind, name: str) -> Path:
        """Return the file of a record: ``layers/ab/cd/abcd….json``."""
        return self.folder / kind / name[:2] / name[2:4] / f"{name}.json"

    def relative(self, kind: Kind, name: str) -> str:
        """Return the file of a record relative to the store, with forward slashes."""
        return f"{kind}/{name[:2]}/{name[2:4]}/{name}.json"

    def get(self, kind: Kind, name: str) -> Any | None:
        """Return the contents of a record; ``None`` where it is absent or damaged."""
        try:
            return read_record(self.path(kind, name)).body
        except (OSError, CorruptError):
            return None

    def put(self, kind: Kind, key: Mapping[str, Any], body: Any) -> str:
        """Write a record and return its name, the digest of ``key``.

        Raises ``OutputError``: RA-ST-002 where the disk is full, RA-ST-003 where it cannot be written.
        """
        name = key_digest(kind, key)
        rest = canonical({"schema": _SCHEMA, "kind": str(kind), "key": key, "body": body})[1:]
        digest = hashlib.sha256(rest).hexdigest().encode()
        path = self.path(kind, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, _START + digest + b'",' + rest)
        except OSError as error:
            raise _refusal(error, self.folder) from error
        return name

    def remove(self, kind: Kind, name: str) -> None:
        """Remove a record, if it is there."""
        self.path(kind, name).unlink(missing_ok=True)

    def files(self, kind: Kind) -> Iterator[Path]:
        """Yield the files of all records of a kind, sorted."""
        for folder in _sorted_folders(self.folder / kind):
            for inner in _sorted_folders(folder):
                names = sorted(entry.name for entry in os.scandir(inner) if entry.name.endswith(".json"))
                yield from (inner / name for name in names)

    def leftovers(self) -> Iterator[Path]:
        """Yield the temporary files of writers that are at work, or that were killed."""
        for kind in Kind:
            for folder in _sorted_folders(self.folder / kind):
                for inner in _sorted_folders(folder):
                    yield from sorted(path for path in inner.iterdir() if path.name.endswith(TEMPORARY))


def read_record(path: Path) -> Record:
    """Return the record of a file.

    Raises ``OSError`` where it cannot be read, and ``CorruptError`` (RA-ST-005) where it is damaged.
    """
    data = path.read_bytes()
    start = len(_START)
    rest = data[start + _HEX + 2 :]
    if not data.startswith(_START) or hashlib.sha256(rest).hexdigest().encode() != data[start : start + _HEX]:
        raise CorruptError("RA-ST-005", "The record is damaged.", where=str(path))
    document = json.loads(b"{" + rest)
    try:
        kind = Kind(document["kind"])
        record = Record(kind=kind, key=document["key"], body=document["body"])
    except (KeyError, ValueError):
        raise CorruptError(
            "RA-ST-005", "The record was written by another version.", where=str(path)
        ) from None
    if f"{key_digest(record.kind, record.key)}.json" != path.name:
        raise CorruptError("RA-ST-005", "The record has the name of another one.", where=str(path))
    return record


def key_digest(kind: Kind, key: Mapping[str, Any]) -> str:
    """Return the name of a record, from what its contents depend on."""
    return hashlib.sha256(canonical([str(kind), key])).hexdigest()


def canonical(value: Any) -> bytes:
    """Return a value as JSON without spaces: equal values, with keys in the same order, are equal bytes."""
    return json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":")).encode()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is the old one or all of the new one, whatever happens. Raises ``OSError``."""
    temporary = path.with_name(f".{path.stem[:80]}.{os.getpid()}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _sorted_folders(folder: Path) -> list[Path]:
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_dir())
    except FileNotFoundError:
        return []


def _check_marker(marker: Path) -> None:
    try:
        schema = json.loads(marker.read_bytes())["schema"]
        name, version = schema["name"], schema["version"]
    except (OSError, ValueError, KeyError, TypeError):
        name, version = "", ""
    if name != "rmtaudit.store":
        raise UsageError("RA-ST-001", "The folder is not a store: its marker is damaged.", where=str(marker))
    if version != "1.0":
        raise UsageError(
            "RA-ST-004",
            f"The store has version {str(version)[:20]!r}; this rmtaudit reads 1.0.",
            hint="Update rmtaudit, or give another folder.",
            where=str(marker.parent),
        )


def _refusal(error: OSError, folder: Path) -> OutputError:
    if error.errno in _FULL:
        return OutputError(
            "RA-ST-002",
            "The disk is full.",
            hint=("Free some space and run the same command again: everything that was finished is kept."),
            where=str(folder),
        )
    reason = error.strerror or type(error).__name__
    return OutputError("RA-ST-003", f"The store cannot be written: {reason}.", where=str(folder))
