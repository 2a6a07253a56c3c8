"""A path, as a user gives it, to an opened checkpoint."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from rmtaudit.checkpoints.base import Checkpoint, Reader
from rmtaudit.checkpoints.conversions import folder_refusal, scheme_refusal
from rmtaudit.checkpoints.facts import read_adapter_config, read_config
from rmtaudit.checkpoints.hub import snapshot_of
from rmtaudit.checkpoints.partitions import check_parts
from rmtaudit.checkpoints.registry import (
    families,
    open_file,
    open_folder,
    open_own_folder,
    own_readers,
    plugin_readers,
)
from rmtaudit.checkpoints.schemes import decoded
from rmtaudit.checkpoints.sharded import (
    ShardedCheckpoint,
    check_contained,
    close_all,
    is_index,
    open_index,
    open_shards,
)
from rmtaudit.checkpoints.single import FileCheckpoint
from rmtaudit.errors import CorruptError, InputError, NotACheckpointError, UsageError
from rmtaudit.names import display_name

_STEMS = ("model", "pytorch_model", "diffusion_pytorch_model", "adapter_model", "consolidated")
_NUMBERED = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<extension>\.[a-z]+)")
_NOT_WEIGHTS = re.compile(
    r"(optimizer|scheduler|scaler|rng_state|random_states|training_args|trainer_state|tokenizer|sentencepiece|vocab)"
    r".*",
    re.IGNORECASE,
)


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a checkpoint: a file, an index of shards, a folder, or a model in a Hugging Face cache.

    The header or pickle is read and checked in full; values are read when asked for. Nothing in the
    checkpoint is executed, and torch is not imported before the first value is read.

    In a folder, an index comes first, then the usual names (``model``, ``pytorch_model``,
    ``diffusion_pytorch_model``, ``adapter_model``, ``consolidated``), numbered shards, and a file that is the
    only one of its kind; safetensors before torch, and formats of plugins where there is neither.
    ``config.json`` and ``adapter_config.json`` beside the weights are kept as facts. Quantised weights are
    decoded when they are read.

    Parameters
    ----------
    path
        What to open.

    Raises
    ------
    InputError
        It cannot be read, is no checkpoint, breaks its format, or is unsafe.
    UsageError
        It could mean several checkpoints.
    """
    if not os.fspath(path):
        raise InputError("RA-IN-001", "an empty path.", hint="Check the path.")
    path = Path(path)
    if _is_folder(path):
        try:
            path = snapshot_of(path)
        except OSError as error:
            raise _unlistable(path, error) from error
        checkpoint = _open_folder(path)
        beside = path
    else:
        checkpoint = open_index(path) if is_index(path) else open_file(path)
        beside = path.parent
    checkpoint.config, warnings = read_config(beside)
    checkpoint.adapter_config, more = read_adapter_config(beside)
    try:
        warnings += [*more, *_check_complete(checkpoint)]
        checkpoint.warnings = (*checkpoint.warnings, *warnings)
        return decoded(checkpoint)
    except BaseException:
        close_all([checkpoint])
        raise


def _check_complete(checkpoint: Checkpoint) -> list[str]:
    """Refuse parts of a model, and schemes that cannot be undone; return warnings."""
    path = Path(checkpoint.path)
    refusal = scheme_refusal(checkpoint.config, display_name(path.name))
    if refusal is not None:
        raise refusal
    return check_parts(path, checkpoint) if isinstance(checkpoint, FileCheckpoint) else []


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long, a folder above that may not be entered: opening it will say so
        return False


def _unlistable(folder: Path, error: OSError) -> InputError:
    return InputError(
        "RA-IN-004",
        f"cannot be listed: {error.strerror}.",
        hint="Make the folder readable.",
        where=display_name(folder.name or str(folder)),
    )


def _open_folder(folder: Path) -> Checkpoint:
    where = display_name(folder.name or str(folder))
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if not entry.is_dir())
    except OSError as error:
        raise _unlistable(folder, error) from error
    whole = open_own_folder(folder, names)
    if whole is not None:
        return whole
    present = _present(names, own_readers())
    if present:
        refusal = folder_refusal(folder, names, weights=[name for each in present for name in each.files])
        if refusal is not None:
            raise refusal
    else:
        whole = open_folder(folder, names)
        if whole is not None:
            return whole
        present = _present(names, plugin_readers([]))
    if not present:
        raise folder_refusal(folder, names) or _nothing(folder, where)
    chosen = present[0]
    others = [name for family in present[1:] for name in family.files]
    checkpoint, opened = chosen.open(folder, where)
    left = [name for name in chosen.files if name not in opened]
    warnings = []
    if others:
        warnings.append(
            f"{checkpoint.format} was taken; the copies in other formats were not looked at: {_list(others)}"
        )
    if left:
        warnings.append(f"other weights in the folder were not looked at: {_list(left)}")
    checkpoint.warnings = (*warnings, *checkpoint.warnings)
    return checkpoint


def _present(names: list[str], readers: Iterable[Reader]) -> list[_Family]:
    """Return the families of formats of which the folder holds weights, the preferred one first."""
    found = [_Family(names, endings) for endings in families(readers)]
    return [family for family in found if family.files or family.indices]


class _Family:
    """The files of a folder in one group of formats."""

    def __init__(self, names: list[str], endings: tuple[str, ...]) -> None:
        self.files = [
            name for name in names if name.lower().endswith(endings) and not _NOT_WEIGHTS.fullmatch(name)
        ]
        self.indices = [
            name
            for name in names
            if is_index(Path(name)) and name.lower().split(".index")[0].endswith(endings)
        ]

    def open(self, folder: Path, where: str) -> tuple[Checkpoint, set[str]]:
        """Return the checkpoint, and the names of the files that it is made of."""
        index = _usual(self.indices) or _only(self.indices, where)
        if index is not None:
            check_contained(folder / index)
            checkpoint = open_index(folder / index)
            return checkpoint, set(checkpoint.shards)
        whole = [name for name in self.files if not _NUMBERED.fullmatch(name)]
        usual = _usual(whole)
        if usual is not None:
            check_contained(folder / usual)
            return open_file(folder / usual), {usual}
        groups = _groups(self.files)
        if len(groups) + len(whole) > 1:
            for name in whole:
                check_parts(folder / name)
            raise _several([*groups, *whole], where)
        if groups:
            return _open_group(folder, next(iter(groups.values())), where)
        check_contained(folder / whole[0])
        return open_file(folder / whole[0]), {whole[0]}


def _usual(names: list[str]) -> str | None:
    """Return the file with the first of the usual names, without a variant (``model.fp16.…``)."""
    for stem in _STEMS:
        for name in names:
            if name.partition(".")[0] == stem and name.replace(".index.json", "").count(".") == 1:
                return name
    return None


def _only(names: list[str], where: str) -> str | None:
    if len(names) > 1:
        raise _several(names, where)
    return names[0] if names else None


def _groups(names: list[str]) -> dict[str, list[re.Match[str]]]:
    """Return numbered shards, by what they have in common."""
    groups: dict[str, list[re.Match[str]]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match:
            groups.setdefault(f"{match['stem']}-*-of-{match['count']}{match['extension']}", []).append(match)
    return groups


def _open_group(folder: Path, shards: list[re.Match[str]], where: str) -> tuple[Checkpoint, set[str]]:
    count = int(shards[0]["count"])
    present = {int(match["number"]) for match in shards}
    absent = count - len(present & set(range(1, count + 1)))
    if absent:
        raise CorruptError(
            "RA-IN-080",
            f"{absent} of {count} shards are missing.",
            hint="Finish the download.",
            where=where,
        )
    files = [match.string for match in shards]
    opened = open_shards(folder, files)
    try:
        checkpoint = ShardedCheckpoint(folder, opened, [f"{count} numbered shards without an index"])
    except BaseException:
        close_all(opened.values())
        raise
    return checkpoint, set(files)


def _several(names: list[str], where: str) -> UsageError:
    return UsageError(
        "RA-IN-090",
        f"several checkpoints: {_list(names)}.",
        hint="Give the path of one of them.",
        where=where,
    )


def _nothing(folder: Path, where: str) -> NotACheckpointError:
    endings = (".distcp", *(ending for family in families(own_readers()) for ending in family))
    inside = sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_dir() and any(name.endswith(endings) for name in _names(Path(entry.path)))
    )
    hint = f"Give one of its folders: {_list(inside)}." if inside else "Give the path of a checkpoint file."
    return NotACheckpointError("RA-IN-091", "a folder without a checkpoint.", hint=hint, where=where)


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder)]
    except PermissionError:
        return []


def _list(names: list[str]) -> str:
    shown = ", ".join(display_name(name, longest=80) for name in names[:8])
    return f"{shown}, … ({len(names)})" if len(names) > 8 else shown
