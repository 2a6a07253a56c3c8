"""A path, as a user gives it, to an opened checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from types import MappingProxyType

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.components import (
    Component,
    ComponentsCheckpoint,
    components_of,
    unread_files,
    without_weights,
)
from rmtaudit.checkpoints.conversions import folder_refusal, scheme_refusal
from rmtaudit.checkpoints.facts import read_adapter_config, read_config
from rmtaudit.checkpoints.families import families_present, open_families, open_numbered
from rmtaudit.checkpoints.hub import snapshot_of
from rmtaudit.checkpoints.listing import listed
from rmtaudit.checkpoints.partitions import check_parts
from rmtaudit.checkpoints.registry import (
    open_file,
    open_folder,
    open_own_folder,
    own_readers,
    plugin_readers,
)
from rmtaudit.checkpoints.remote.locate import located
from rmtaudit.checkpoints.remote.paths import RemotePath
from rmtaudit.checkpoints.schemes import decoded
from rmtaudit.checkpoints.sharded import check_contained, close_all, is_index, open_index
from rmtaudit.checkpoints.single import FileCheckpoint
from rmtaudit.checkpoints.weight_files import shown_list, weight_files
from rmtaudit.errors import (
    ChangedError,
    CorruptError,
    InputError,
    NotACheckpointError,
    UnsafeError,
    UsageError,
)
from rmtaudit.matrices.adapter_scale import scale_facts
from rmtaudit.names import display_name

_OWNED = (".distcp", ".safetensors", ".bin")
"""Endings of what the readers of whole folders take in them."""

_DAMAGED = (CorruptError, UnsafeError, ChangedError)
_BROKEN_DOWNLOAD = frozenset({"RA-IN-010", "RA-IN-011", "RA-IN-012", "RA-IN-013", "RA-IN-014", "RA-IN-015"})
"""Codes of what is left where a download failed."""


def open_checkpoint(path: str | Path, *, stream: bool = False) -> Checkpoint:
    """Open a checkpoint: a file, an index of shards, a folder, a model of the Hugging Face Hub, or a URL.

    The header or pickle is read and checked in full; values are read when asked for. Nothing in the
    checkpoint is executed, and torch is not imported before the first value is read.

    The folder of a pipeline of diffusers or of sentence-transformers is one checkpoint, the names of whose
    tensors begin with those of the components. In any other folder, an index comes first, then the usual
    names (``model``, ``pytorch_model``, ``diffusion_pytorch_model``, ``adapter_model``, ``consolidated``),
    numbered shards, and a file that is the only one of its kind; safetensors before torch, and formats of
    plugins where there is neither. Where shards of an index are missing and a complete set of the same
    tensors lies beside it, that is taken. Weights in the folder that are ignored are named.
    ``config.json`` and ``adapter_config.json`` beside the weights are kept as facts. Quantised weights are
    decoded when they are read.

    Parameters
    ----------
    path
        What to open. ``org/name``, where no local path has that name, and ``hf://org/name[@revision][/file]``
        are models of the Hub, from its local cache or downloaded into it (the extra ``hub``). A file behind
        an ``https://`` URL is read by range requests.
    stream
        Read a model of the Hub by range requests, and write nothing.

    Raises
    ------
    InputError
        It cannot be read or reached, is no checkpoint, breaks its format, or is unsafe.
    UsageError
        It could mean several checkpoints.
    """
    if not os.fspath(path):
        raise InputError("RA-IN-001", "The path is empty.", hint="Check the path.")
    path = located(path, stream=stream)
    checkpoint = _open_path(path)
    if isinstance(path, RemotePath):
        checkpoint.streamed = path.streamed
    return checkpoint


def _open_path(path: Path) -> Checkpoint:
    if not _is_folder(path):
        whole = open_numbered(path)
        if whole is None:
            whole = open_index(path) if is_index(path) else open_file(path)
        return _completed(whole, path.parent)
    try:
        path = snapshot_of(path)
    except OSError as error:
        raise _unlistable(path, error) from error
    components = components_of(path)
    if components is None:
        return _open_folder(path)
    return _open_components(path, components)


def _completed(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """Add the facts beside the weights, check that they are a whole model, and decode them."""
    checkpoint.config, warnings = read_config(folder)
    checkpoint.adapter_config, more = read_adapter_config(folder)
    stated = scale_facts(checkpoint.metadata)
    if stated:  # in the file itself
        checkpoint.adapter_config = MappingProxyType({**checkpoint.adapter_config, **stated})
    try:
        warnings += [*more, *_check_complete(checkpoint)]
        checkpoint.warnings = (*checkpoint.warnings, *warnings)
        return decoded(checkpoint)
    except BaseException:
        close_all([checkpoint])
        raise


def _check_complete(checkpoint: Checkpoint) -> list[str]:
    """Refuse parts of a model, and schemes that cannot be undone; return warnings."""
    path = checkpoint.path
    path = path if isinstance(path, Path) else Path(path)  # Path of a RemotePath would be one of this machine
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
        f"The folder cannot be listed: {error.strerror}.",
        hint="Make the folder readable.",
        where=display_name(folder.name or str(folder)),
    )


def _open_components(folder: Path, components: tuple[Component, ...]) -> Checkpoint:
    """Open the components of a pipeline as one checkpoint.

    What is damaged is refused, as a shard is; what is absent or of a format that is not read is a warning.
    """
    unread = without_weights(components)
    warnings = [each.problem for each in unread]
    parts: dict[str, Checkpoint] = {}
    first: InputError | UsageError | None = None
    folders = frozenset(component.path.partition("/")[0] for component in components if component.has_weights)
    try:
        for component in components:
            if not component.has_weights:
                continue
            try:
                for level in component.levels(folder):
                    check_contained(level)
                parts[component.prefix] = _open_folder(
                    folder / component.path, components=frozenset() if component.path else folders
                )
            except (InputError, UsageError) as error:
                component.placed(error)
                if isinstance(error, _DAMAGED) or error.code in _BROKEN_DOWNLOAD:
                    raise
                first = first or error
                warnings.append(f"{component.title} was not read: {error.message}")
                unread += unread_files(folder, component, error.message.removesuffix("."))
        if "" not in folders:
            warnings += _not_looked_at(_others(folder, folders))
        checkpoint = ComponentsCheckpoint(folder, parts, warnings, unread)
    except BaseException:
        close_all(parts.values())
        raise
    if first is not None and not parts:
        raise first
    return checkpoint


def _open_folder(folder: Path, *, components: frozenset[str] = frozenset()) -> Checkpoint:
    """Open the checkpoint in a folder; ``components``: its subfolders that are opened for themselves."""
    where = display_name(folder.name or str(folder))
    try:
        names, _ = listed(folder)
    except OSError as error:
        raise _unlistable(folder, error) from error
    whole = open_own_folder(folder, names)
    if whole is not None:
        others = [name for name in weight_files(folder) if not name.endswith(_OWNED) and "/" not in name]
        whole.warnings = (*_not_looked_at(others), *whole.warnings)
        return _completed(whole, folder)
    present = families_present(names, own_readers())
    if present:
        refusal = folder_refusal(folder, names, weights=[name for each in present for name in each.files])
        if refusal is not None:
            raise refusal
    else:
        whole = open_folder(folder, names)
        if whole is not None:
            return _completed(whole, folder)
        present = families_present(names, plugin_readers([]))
    if not present:
        refusal = folder_refusal(folder, names)
        if refusal is not None:
            raise refusal
        return _open_unusual(folder, where)
    checkpoint, opened, warnings = open_families(present, folder, where)
    copies = [name for family in present[1:] for name in family.files if name not in opened]
    if copies and opened.isdisjoint(copies):
        warnings.append(
            f"{checkpoint.format} was read; the copies in other formats were ignored: {shown_list(copies)}"
        )
    known = opened.union(copies, (name for family in present for name in family.companions))
    warnings += _not_looked_at([name for name in _others(folder, components) if name not in known])
    checkpoint.warnings = (*warnings, *checkpoint.warnings)
    return _completed(checkpoint, folder)


def _others(folder: Path, components: frozenset[str]) -> list[str]:
    """Return what looks like weights in a folder and one level down, but in the folders of components."""
    return [
        name for name in weight_files(folder) if "/" not in name or name.partition("/")[0] not in components
    ]


def _not_looked_at(names: list[str]) -> list[str]:
    return [f"other weights in the folder were ignored: {shown_list(names)}"] if names else []


def _open_unusual(folder: Path, where: str) -> Checkpoint:
    """Open the only file of a folder that looks like weights, or say what there is."""
    names = weight_files(folder)
    top = [name for name in names if "/" not in name]
    if len(top) == 1:
        check_contained(folder / top[0])
        return _completed(open_file(folder / top[0]), folder)
    if top:
        raise NotACheckpointError(
            "RA-IN-091",
            "The folder holds no weights in a format that rmtaudit reads. Files that look like "
            f"weights: {shown_list(top)}.",
            hint="Give the path of one of them for details.",
            where=where,
        )
    inside = list(dict.fromkeys(name.partition("/")[0] for name in names))
    hint = (
        f"Give one of its folders: {shown_list(inside)}." if inside else "Give the path of a checkpoint file."
    )
    raise NotACheckpointError("RA-IN-091", "The folder holds no checkpoint.", hint=hint, where=where)
