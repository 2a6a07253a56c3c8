"""Which reader opens a file: the entry-point group ``rmtaudit.readers``, asked about its first bytes.

Readers of other distributions run code of theirs; they are imported only where none of ours knows the file,
and ``RMTAUDIT_PLUGINS=name,name`` lets in only those named (unset or empty: all).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

from rmtaudit.checkpoints.base import Checkpoint, Reader
from rmtaudit.checkpoints.collector import collector_paused
from rmtaudit.checkpoints.files import FileSource
from rmtaudit.checkpoints.sniff import broken_download, foreign_format
from rmtaudit.errors import InputError, NotACheckpointError, RmtauditError, UnsafeError, UsageError
from rmtaudit.names import display_name
from rmtaudit.plugins import registered

GROUP = "rmtaudit.readers"
HEAD = 4096
"""Bytes of a file that a reader sees before it says whether it knows it."""

_OWN = "rmtaudit"


def open_file(path: Path) -> Checkpoint:
    """Open one file with the reader that knows it.

    Raises
    ------
    InputError
        No reader knows it, or its reader refuses it.
    UsageError
        A reader that could know it cannot be loaded.
    """
    reader, warnings = reader_for(path)
    with collector_paused():
        checkpoint = reader.open(path)
    checkpoint.warnings = (*warnings, *checkpoint.warnings)
    return checkpoint


def reader_for(path: Path) -> tuple[Reader, list[str]]:
    """Return the reader of a file, by its content, and warnings. Raises as :func:`open_file`."""
    head, size = read_head(path)
    own = [_load(entry) for entry in registered(GROUP) if _is_own(entry)]
    if not own:
        raise UsageError(
            "RA-IN-019",
            "rmtaudit's own readers are not registered.",
            hint="Install the package: pip install rmtaudit",
        )
    reader = _first(own, head, path)
    problems: list[str] = []
    if reader is None:
        broken = broken_download(path, head, size)
        if broken is not None:
            raise broken
        reader = _first(_plugins(problems), head, path)
    if reader is not None:
        return reader, [*problems, *_compare_extension(path, reader, own)]
    if problems:
        raise UsageError(
            "RA-IN-019",
            f"no reader knows this file, but not every reader could be loaded: {'; '.join(problems)}.",
            hint="Repair or uninstall the plugin.",
            where=display_name(path.name),
        )
    foreign = foreign_format(path, head)
    if foreign is not None:
        raise foreign
    for reader in own:  # its own checks say what is wrong with a file that claims to be of its format
        if path.suffix.lower() == ".safetensors" and path.suffix.lower() in reader.extensions:
            return reader, []
    raise NotACheckpointError(
        "RA-IN-018",
        f"no reader knows a file that begins with {head[:8]!r}.",
        hint=f"Known formats: {', '.join(reader.name for reader in own)}.",
        where=display_name(path.name),
    )


def read_head(path: Path) -> tuple[bytes, int]:
    """Return the first bytes of a regular file (up to 4096) and its size. Raises ``InputError``."""
    source = FileSource(path)
    try:
        return bytes(source.pread(0, min(HEAD, source.size))), source.size
    finally:
        source.abandon()


def extensions() -> dict[str, tuple[str, ...]]:
    """Return the usual file endings of each built-in reader, by its name."""
    return {
        reader.name: reader.extensions
        for entry in registered(GROUP)
        if _is_own(entry)
        for reader in [_load(entry)]
    }


def _is_own(entry: EntryPoint) -> bool:
    return entry.dist is not None and entry.dist.name == _OWN


def _plugins(problems: list[str]) -> Iterator[Reader]:
    """Yield the readers of other distributions; what cannot be loaded goes to ``problems``."""
    allowed = {name.strip() for name in os.environ.get("RMTAUDIT_PLUGINS", "").split(",")} - {""}
    for entry in registered(GROUP):
        if _is_own(entry) or (allowed and entry.name not in allowed):
            continue
        try:
            yield _load(entry)
        except UsageError as error:
            problems.append(error.message)


def _load(entry: EntryPoint) -> Reader:
    try:
        made = entry.load()()
    except RmtauditError:
        raise
    except Exception as error:  # a plugin is foreign code: whatever it raises is named, and raised on
        raise UsageError(
            "RA-IN-019",
            f"the reader {display_name(entry.name)!r} ({display_name(entry.value)}) cannot be loaded: "
            f"{type(error).__name__}: {display_name(str(error))}.",
        ) from error
    if not isinstance(made, Reader):
        raise UsageError("RA-IN-019", f"{display_name(entry.value)} is not a reader.")
    return made


def _first(readers: Iterator[Reader] | list[Reader], head: bytes, path: Path) -> Reader | None:
    for reader in readers:
        try:
            if reader.recognises(head):
                return reader
        except RmtauditError:
            raise
        except Exception as error:  # as above
            raise InputError(
                "RA-IN-019",
                f"the reader {reader.name!r} failed on the first bytes: {type(error).__name__}: {error}.",
                where=display_name(path.name),
            ) from error
    return None


def _compare_extension(path: Path, reader: Reader, own: list[Reader]) -> list[str]:
    """Refuse a file that claims the safe format and is of another; warn of other disagreements."""
    suffix = path.suffix.lower()
    if not suffix or suffix in reader.extensions:
        return []
    if suffix == ".safetensors":
        raise UnsafeError(
            "RA-IN-016",
            f"the name says safetensors, but the content is {reader.name}.",
            hint="Somebody may want it to pass for a safe file. Rename it if you know what it is.",
            where=display_name(path.name),
        )
    if any(suffix in other.extensions for other in own):
        return [f"the name ends in {display_name(suffix)}, but the content is {reader.name}"]
    return []
