"""The weights in one folder: which files belong together, and which of them are the model."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from rmtaudit.checkpoints.base import Checkpoint, Reader
from rmtaudit.checkpoints.partitions import check_parts
from rmtaudit.checkpoints.registry import families, open_file
from rmtaudit.checkpoints.sharded import (
    MissingShardsError,
    ShardedCheckpoint,
    check_contained,
    close_all,
    is_index,
    open_index,
    open_shards,
)
from rmtaudit.checkpoints.weight_files import NUMBERED, is_weight_name, parts_of, shown_list
from rmtaudit.errors import CorruptError, InputError, NotACheckpointError, UsageError
from rmtaudit.names import display_name

_STEMS = (
    "model",
    "pytorch_model",
    "diffusion_pytorch_model",
    "adapter_model",
    "consolidated",
    "openvino_model",
)


def families_present(names: list[str], readers: Iterable[Reader]) -> list[Family]:
    """Return the families of formats of which a folder holds weights, the preferred one first."""
    readers = list(readers)
    paired, companions = _pairs_only(names, readers)
    present = [Family(paired, endings, companions) for endings in families(readers)]
    return [family for family in present if family.files or family.indices]


def open_families(present: list[Family], folder: Path, where: str) -> tuple[Checkpoint, set[str], list[str]]:
    """Open the checkpoint of a folder.

    Parameters
    ----------
    present
        The families of formats in it, the preferred one first.
    folder
        The folder.
    where
        Its name, for messages.

    Returns
    -------
    tuple[Checkpoint, set[str], list[str]]
        The checkpoint, the names of its files, and warnings: where the shards of an index are missing and a
        complete set of the same tensors lies beside it, that is taken.

    Raises
    ------
    InputError
        It cannot be read.
    UsageError
        There are several.
    """
    try:
        checkpoint, files = present[0].open(folder, where)
    except MissingShardsError as error:
        complete = _complete_set(present, folder, where, error)
        if complete is None:
            others = [name for family in present for name in family.files if name not in error.files]
            if others:
                error.hint = (
                    f"{error.hint} The folder also holds {shown_list(others)}; to read one of "
                    "them, give its path."
                )
            raise
        checkpoint, files = complete
        warning = (
            f"{error.where} names {len(error.missing)} shards that are missing; "
            f"{shown_list(sorted(files))}, which holds every tensor that the index names, was "
            "read instead"
        )
        return checkpoint, files, [warning]
    return checkpoint, files, []


def _complete_set(
    present: list[Family], folder: Path, where: str, error: MissingShardsError
) -> tuple[Checkpoint, set[str]] | None:
    """Return another set of files that holds every tensor of an index with missing shards, if there is one.

    First those of the same format, as transformers takes ``model.safetensors`` before an index.
    """
    for family in (present[0].without_indices(), *present[1:]):
        if not family.files and not family.indices:
            continue
        try:
            checkpoint, files = family.open(folder, where)
        except (InputError, UsageError):
            continue  # the first error is the one that is reported
        if error.tensors <= {spec.name for spec in checkpoint.tensors}:
            return checkpoint, files
        close_all([checkpoint])
    return None


class Family:
    """The files of a folder in one group of formats.

    Attributes
    ----------
    files
        Names of the files that may be weights, sorted.
    indices
        Names of the indices of shards, sorted.
    companions
        Names of the second files of checkpoints of two files, in the whole folder.
    """

    def __init__(self, names: list[str], endings: tuple[str, ...], companions: Iterable[str] = ()) -> None:
        self.companions = frozenset(companions)
        self.files = [name for name in names if name.lower().endswith(endings) and is_weight_name(name)]
        self.indices = [
            name
            for name in names
            if is_index(Path(name)) and name.lower().split(".index")[0].endswith(endings)
        ]

    def without_indices(self) -> Family:
        """Return the family as if no index were there."""
        family = Family([], ())
        family.files = self.files
        return family

    def open(self, folder: Path, where: str) -> tuple[Checkpoint, set[str]]:
        """Return the checkpoint, and the names of the files that it is made of.

        Raises
        ------
        InputError
            It cannot be read.
        UsageError
            There are several.
        """
        index = _usual(self.indices) or _only(self.indices, where)
        if index is not None:
            check_contained(folder / index)
            sharded = open_index(folder / index)
            return sharded, set(sharded.shards)
        whole = [name for name in self.files if not NUMBERED.fullmatch(name)]
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


def _pairs_only(names: list[str], readers: Iterable[Reader]) -> tuple[list[str], set[str]]:
    """Leave out the second files of checkpoints of two files, and first ones whose second is not there.

    The second files are returned as well.
    """
    present = set(names)
    left_out = set()
    companions = set()
    for reader in readers:
        for name in names if reader.companion else ():
            stem, ending = os.path.splitext(name)  # noqa: PTH122 - a name, and no path
            if ending.lower() in reader.extensions:
                second = f"{stem}{reader.companion}"
                left_out.add(second if second in present else name)
                companions.add(second)
    return [name for name in names if name not in left_out], companions


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
        match = NUMBERED.fullmatch(name)
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
            hint="Complete the download.",
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


def open_numbered(path: Path) -> Checkpoint | None:
    """Open all parts of a model of which one is given, by the names that llama.cpp gives them.

    llama.cpp loads a model by the path of its first part. ``None`` for a file that is no such part.

    Raises
    ------
    NotACheckpointError
        RA-IN-194: other parts are missing.
    InputError
        A part cannot be read.
    """
    names = parts_of(path.name)
    if not names:
        return None
    absent = [name for name in names if name != path.name and not path.with_name(name).is_file()]
    if absent:
        raise NotACheckpointError(
            "RA-IN-194",
            f"The file is one of {len(names)} parts of a model, and {len(absent)} of the others "
            f"are missing: {shown_list(absent)}.",
            hint="Complete the download, and give one of the parts or their folder.",
            where=display_name(path.name),
        )
    opened = open_shards(path.parent, names)
    try:
        return ShardedCheckpoint(path, opened, [f"all {len(names)} parts of the model were opened"])
    except BaseException:
        close_all(opened.values())
        raise


def _several(names: list[str], where: str) -> UsageError:
    return UsageError(
        "RA-IN-090",
        f"The folder holds several checkpoints: {shown_list(names)}.",
        hint="Give the path of one of them.",
        where=display_name(where),
    )
