"""Checkpoints of several files: ``model.safetensors.index.json`` and its relatives.

The rules are those of ``huggingface_hub`` (``serialization/_torch.py``): a shard's name is parsed as a
Windows path on every system, stays in the folder, and has the extension that the index promises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.files import read_small
from rmtaudit.checkpoints.registry import extensions, open_file, plugin_readers
from rmtaudit.checkpoints.single import FileCheckpoint
from rmtaudit.errors import CorruptError, InputError, NotACheckpointError, UnsafeError
from rmtaudit.matrices.sharing import alias_within
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import torch

    from rmtaudit.checkpoints.levels import Levels

INDEX_CAP = 100_000_000
"""Largest index in bytes."""

_OPEN_CAP = 200  # shards that keep their file descriptor
_INDEX_NAME = re.compile(r"(?P<extension>\.\w+)\.index(?:\.[\w-]+)?\.json$", re.IGNORECASE)


class MissingShardsError(CorruptError):
    """Shards that an index names are not there.

    Attributes
    ----------
    tensors
        Names of all tensors in the index.
    files, missing
        The files that it names, and those of them that are not there.
    """

    def __init__(self, weight_map: Mapping[str, str], missing: Sequence[str], where: str) -> None:
        self.tensors = frozenset(weight_map)
        self.files = frozenset(weight_map.values())
        self.missing = tuple(missing)
        shown = ", ".join(display_name(file) for file in missing[:5]) + (", …" if len(missing) > 5 else "")
        super().__init__(
            "RA-IN-080",
            f"{len(missing)} of {len(self.files)} shards are missing: {shown}.",
            hint="Complete the download.",
            where=where,
        )


class ShardedCheckpoint(Checkpoint):
    """Several checkpoints read as one.

    Parameters
    ----------
    path
        The index, or the folder where there is none.
    shards
        The opened shards by file name; this object closes them.
    warnings
        What is odd but not fatal.

    Raises
    ------
    CorruptError
        Two shards hold a tensor of the same name.
    """

    def __init__(self, path: Path, shards: Mapping[str, Checkpoint], warnings: Iterable[str]) -> None:
        self.path = path
        self._shards = dict(shards)
        self.format = "+".join(sorted({shard.format for shard in shards.values()}))
        self._homes: dict[str, Checkpoint] = {}
        home: dict[str, str] = {}
        tensors = []
        for name, shard in shards.items():
            for spec in shard.tensors:
                if spec.name in home:
                    raise CorruptError(
                        "RA-IN-082",
                        f"Tensor '{display_name(spec.name)}' is in two shards: "
                        f"{display_name(home[spec.name])} and {display_name(name)}.",
                        where=display_name(path.name),
                    )
                home[spec.name] = name
                self._homes[spec.name] = shard
                alias = alias_within(name, spec.alias)
                tensors.append(replace(spec, alias=alias))
        self.tensors = tuple(tensors)
        self.metadata = {key: note for shard in shards.values() for key, note in shard.metadata.items()}
        own = tuple(warnings)
        self.warnings = own + tuple(
            dict.fromkeys(warning for shard in shards.values() for warning in shard.warnings)
        )
        if len(shards) > _OPEN_CAP:
            for shard in shards.values():
                if isinstance(shard, FileCheckpoint):
                    shard.park()

    @property
    def shards(self) -> tuple[str, ...]:
        """File names of the shards, in their order."""
        return tuple(self._shards)

    def home(self, name: str) -> str:
        """Return the file name of the shard that holds a tensor. Raises ``KeyError``."""
        shard = self._homes[name]
        return next(file for file, candidate in self._shards.items() if candidate is shard)

    def read(self, name: str) -> torch.Tensor:
        """Return the values of one tensor (see :meth:`Checkpoint.read`)."""
        return self._homes[name].read(name)

    def read_band(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Return a range of the first side of one tensor."""
        return self._homes[name].read_band(name, start, stop)

    def levels(self, name: str) -> Levels | None:
        """Return the levels of a quantised tensor."""
        return self._homes[name].levels(name)

    def position(self, name: str) -> tuple[str, int] | None:
        """Return the shard and the position of the first byte of a tensor in it."""
        return self._homes[name].position(name)

    def check_unchanged(self) -> None:
        """Raise ``ChangedError`` if a shard changed since it was opened."""
        for shard in self._shards.values():
            shard.check_unchanged()

    def close(self) -> None:
        """Close every shard; raises the first ``ChangedError`` when all are closed."""
        first: InputError | None = None
        before = {warning for shard in self._shards.values() for warning in shard.warnings}
        for shard in self._shards.values():
            try:
                shard.close()
            except InputError as error:
                first = first or error
        late = (w for shard in self._shards.values() for w in shard.warnings if w not in before)
        self.warnings = (*self.warnings, *late)
        if first is not None:
            raise first


def is_index(path: Path) -> bool:
    """Whether the name is that of an index of shards."""
    match = _INDEX_NAME.search(path.name)
    if match is None:
        return False
    ending = match["extension"].lower()
    own = any(ending in endings for endings in extensions().values())
    return own or any(ending in reader.extensions for reader in plugin_readers([]))


def open_index(path: Path) -> ShardedCheckpoint:
    """Open the shards that an index names.

    Raises
    ------
    InputError
        The index is malformed or unsafe, a shard is missing or unreadable, or the shards do not hold what the
        index says.
    """
    where = display_name(path.name)
    weight_map, total = _parse(path, where)
    match = _INDEX_NAME.search(path.name)
    files = list(dict.fromkeys(weight_map.values()))
    for file in files:
        check_shard_name(file, match["extension"] if match else None, where)
    missing = [file for file in files if not is_there(path.parent / file)]
    if missing:
        raise MissingShardsError(weight_map, missing, where)
    shards = open_shards(path.parent, files)
    try:
        checkpoint = ShardedCheckpoint(path, shards, [])
        checkpoint.warnings = (*_compare(checkpoint, weight_map, total, where), *checkpoint.warnings)
    except BaseException:
        close_all(shards.values())
        raise
    return checkpoint


def open_shards(folder: Path, files: Iterable[str]) -> dict[str, Checkpoint]:
    """Open the files of a folder, none of them outside it; all are closed again if one fails."""
    shards: dict[str, Checkpoint] = {}
    many = 0
    try:
        for file in files:
            check_contained(folder / file, folder)
            shard = open_file(folder / file)
            shards[file] = shard
            many += 1
            if many > _OPEN_CAP and isinstance(shard, FileCheckpoint):
                shard.park()
    except BaseException:
        close_all(shards.values())
        raise
    return shards


def close_all(shards: Iterable[Checkpoint]) -> None:
    """Close checkpoints on the way out of a failure, whose error matters more than theirs."""
    for shard in shards:
        try:
            shard.close()
        except InputError:
            continue


def check_contained(path: Path, folder: Path | None = None) -> None:
    """Refuse a link that leaves its folder, or, in a cache of the Hugging Face hub, its model.

    Snapshots of that cache are links to ``../../blobs``; the root is then the ``models--…`` folder.

    Parameters
    ----------
    path
        The file.
    folder
        The folder that it may not leave, where that is another than its own: a folder on the way to it may
        be a link too.

    Raises
    ------
    UnsafeError
        The file is outside.
    InputError
        It does not exist, or links lead round in a circle.
    """
    folder = (folder or path.parent).resolve()
    caches = [
        parent
        for parent in (folder, *folder.parents)
        if parent.name.startswith("models--") and parent / "snapshots" in (folder, *folder.parents)
    ]
    root = caches[0] if caches else folder
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            "RA-IN-002", "The file is a dangling or circular link.", where=display_name(path.name)
        ) from error
    if not target.is_relative_to(root):
        raise UnsafeError(
            "RA-IN-081",
            "The file is a link to a file outside the checkpoint's folder.",
            hint="Give the file itself if it is intended.",
            where=display_name(path.name),
        )


def _parse(path: Path, where: str) -> tuple[dict[str, str], int | None]:
    """Return the weight map and the total size of an index."""
    try:
        table = json.loads(read_small(path, INDEX_CAP), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        said = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CorruptError(
            "RA-IN-077", f"The index is not JSON: {display_name(said)}.", where=where
        ) from error
    if type(table) is not dict or "weight_map" not in table:
        raise NotACheckpointError("RA-IN-076", "The JSON file has no weight_map.", where=where)
    weight_map, metadata = table["weight_map"], table.get("metadata")
    if type(weight_map) is not dict or not all(type(file) is str for file in weight_map.values()):
        raise CorruptError("RA-IN-077", "The weight_map must map tensor names to file names.", where=where)
    if not weight_map:
        raise CorruptError("RA-IN-077", "The weight_map is empty.", where=where)
    total = metadata.get("total_size") if type(metadata) is dict else None
    return weight_map, total if type(total) is int else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def is_there(path: Path) -> bool:
    """Whether there is a file or a link of that name."""
    try:
        return path.exists() or path.is_symlink()
    except OSError:  # a name too long for the file system
        return False


def check_shard_name(file: str, extension: str | None, where: str) -> None:
    """Refuse the name of a shard that leaves its folder, or has another extension than ``extension``.

    Raises
    ------
    UnsafeError
        It does.
    """
    windows = PureWindowsPath(file)
    if not file or "\0" in file or windows.drive or windows.root or ".." in windows.parts or not windows.name:
        raise UnsafeError(
            "RA-IN-078",
            f"The shard '{display_name(file)}' lies outside the checkpoint's folder.",
            where=where,
        )
    if extension is not None and not file.lower().endswith(extension.lower()):
        raise UnsafeError(
            "RA-IN-079",
            f"The shard '{display_name(file)}' is not a {extension} file, as the index states.",
            where=where,
        )


def _compare(
    checkpoint: ShardedCheckpoint, weight_map: dict[str, str], total: int | None, where: str
) -> list[str]:
    """Compare the shards with the index: what is absent is an error, what is more is a warning."""
    homes = {spec.name: file for file, shard in checkpoint._shards.items() for spec in shard.tensors}
    for name, file in weight_map.items():
        if homes.get(name) != file:
            other = f"; it is in {display_name(homes[name])}" if name in homes else ""
            raise CorruptError(
                "RA-IN-083",
                f"Tensor '{display_name(name)}' is not in {display_name(file)}, where the index "
                f"places it{other}.",
                where=where,
            )
    warnings = []
    extra = [name for name in homes if name not in weight_map]
    if extra:
        warnings.append(f"{len(extra)} tensors are not in the index: '{display_name(extra[0])}' …")
    if total is not None and all(spec.unreadable is None for spec in checkpoint.tensors):
        aliased = {spec.alias: spec.nbytes for spec in checkpoint.tensors if spec.alias is not None}
        once = sum(aliased.values()) + sum(s.nbytes for s in checkpoint.tensors if s.alias is None)
        if total not in {once, sum(spec.nbytes for spec in checkpoint.tensors)}:
            warnings.append(f"the index states {total} bytes of tensors, but the files hold {once}")
    return warnings
