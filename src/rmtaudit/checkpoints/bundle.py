"""Zip archives that hold checkpoints: those of Stable-Baselines3, and models that somebody packed.

What is audited are the files inside that hold a matrix; the states of optimizers and files of vectors are
named and left out. Several models in one archive are several subjects (:func:`subjects_of`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rmtaudit.checkpoints.base import Checkpoint, Contents, Reader
from rmtaudit.checkpoints.files import FileSource
from rmtaudit.checkpoints.members import head_of
from rmtaudit.checkpoints.registry import (
    HEAD,
    contents_of,
    open_file,
    open_in_archive,
    own_readers,
    reader_for,
)
from rmtaudit.checkpoints.zips import ZipEntry, list_entries
from rmtaudit.errors import InputError, NotACheckpointError, RmtauditError, UnsafeError, UsageError
from rmtaudit.names import display_name

MEMBERS_CAP = 200
"""Most checkpoints in an archive that are looked at."""

_NO_WEIGHTS = re.compile(r"(?:.*/)?(?:sample_inputs|example_inputs)/.*|(?:.*[/_])?example_inputs\.pt")


@dataclass(slots=True, kw_only=True)
class Members:
    """The checkpoints of an archive: those that hold a matrix or cannot be read, and those that do not."""

    models: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Subjects:
    """What is audited in a path, and a sentence about what is not; ``""`` where opening it will tell."""

    paths: tuple[Path, ...]
    note: str = ""


def subjects_of(path: Path) -> Subjects:
    """Return the paths of the models in a zip archive of several; the path itself for everything else.

    A path that cannot be read is returned as it is, so that opening it says why.
    """
    try:
        members = _members_of(path) if _is_archive(path) else Members()
    except RmtauditError:
        members = Members()
    if len(members.models) < 2:
        return Subjects((path,))
    note = _left_out(members.others) if members.others else ""
    return Subjects(tuple(path / name for name in members.models), note)


def open_only(path: Path) -> Checkpoint:
    """Open the one model of a zip archive.

    Raises
    ------
    InputError
        There is none, or it cannot be read.
    UsageError
        There are several.
    """
    kept: dict[str, Checkpoint] = {}
    try:
        members = _members_of(path, kept)
        return _open_chosen(path, members, kept)
    finally:
        for each in kept.values():
            each.close()


def _open_chosen(path: Path, members: Members, kept: dict[str, Checkpoint]) -> Checkpoint:
    """Open the one model; it is taken out of ``kept`` where it is open already."""
    if len(members.models) > 1:
        shown = _list(members.models)
        raise UsageError(
            "RA-IN-090",
            f"The archive holds several checkpoints: {shown}.",
            hint=f"Give the path of one of them: {display_name(path.name)}/{display_name(members.models[0])}",
            where=display_name(path.name),
        )
    chosen = next(iter(members.models or members.others))
    checkpoint = kept.pop(chosen, None) or open_file(path / chosen)
    checkpoint.path = path
    checkpoint.format = f"{checkpoint.format} in zip"
    left = [name for name in members.others if name != chosen]
    warnings = [f"'{display_name(chosen)}' in the archive was read"]
    if left:
        warnings.append(_left_out(left))
    checkpoint.warnings = (*warnings, *checkpoint.warnings)
    return checkpoint


def _is_archive(path: Path) -> bool:
    """Whether only the files inside a path can say what it holds."""
    if path.is_dir():
        return False
    contents, _ = contents_of(path)
    return contents.head.startswith(b"PK") and reader_for(path)[0].name == "zip"


def _members_of(path: Path, kept: dict[str, Checkpoint] | None = None) -> Members:
    """Return the checkpoints of an archive. Raises ``InputError`` where there is none.

    The first that holds a matrix stays open in ``kept``, where that is given: often it is the only one.
    """
    source = FileSource(path)
    try:
        entries = list_entries(source)
        readers = [reader for reader in own_readers() if reader.in_archives]
        candidates = [entry.name for entry in entries if _is_candidate(source, entry, readers)]
    finally:
        source.abandon()
    if len(candidates) > MEMBERS_CAP:
        raise UnsafeError(
            "RA-IN-057",
            f"The archive holds {len(candidates)} checkpoints; at most {MEMBERS_CAP} are supported.",
            hint="Unpack it.",
            where=source.where,
        )
    members = Members()
    for name in candidates:
        try:
            checkpoint = open_in_archive(path / name)
        except NotACheckpointError:
            continue
        except InputError:  # it must not be passed over
            members.models.append(name)
            continue
        if checkpoint is None:
            continue
        holds = any(len(spec.shape) > 1 for spec in checkpoint.tensors)
        (members.models if holds else members.others).append(name)
        if holds and kept == {}:
            kept[name] = checkpoint
        else:
            checkpoint.close()
    if not members.models and not members.others:
        raise _nothing(source.where)
    return members


def _is_candidate(source: FileSource, entry: ZipEntry, readers: Sequence[Reader]) -> bool:
    """Whether one of the readers may know an entry, by its first bytes."""
    if entry.name.endswith("/") or _NO_WEIGHTS.fullmatch(entry.name):
        return False
    contents = Contents(head=head_of(source, entry, HEAD))
    if any(reader.recognises(contents) for reader in readers) or contents.head.startswith(b"PK\x03\x04"):
        return True
    ending = Path(entry.name).suffix.lower()
    return any(
        ending in (*reader.extensions, *reader.other_extensions) and reader.may_know(contents)
        for reader in readers
    )


def _nothing(where: str) -> NotACheckpointError:
    return NotACheckpointError(
        "RA-IN-063",
        "The zip archive holds no checkpoint that rmtaudit reads: no data.pkl and no weights.",
        where=where,
    )


def _left_out(names: Sequence[str]) -> str:
    return f"files of the archive that hold no weight matrix were skipped: {_list(names)}"


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(display_name(name, longest=80) for name in names[:8])
    return f"{shown}, … ({len(names)})" if len(names) > 8 else shown
