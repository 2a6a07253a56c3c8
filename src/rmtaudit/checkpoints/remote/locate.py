"""What people type, to the path that is read: a local one, the cache of the Hub, the Hub, or a URL."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from rmtaudit.checkpoints.files import read_small
from rmtaudit.checkpoints.hub import cached_snapshot, hub_cache
from rmtaudit.checkpoints.listing import listed
from rmtaudit.checkpoints.regular_files import advice_for_missing
from rmtaudit.checkpoints.remote.addresses import (
    HubAddress,
    WebAddress,
    address_of,
    as_given,
    is_repository,
    named_model,
    shown,
)
from rmtaudit.checkpoints.remote.paths import RemotePath
from rmtaudit.checkpoints.sharded import INDEX_CAP, is_index, is_there
from rmtaudit.checkpoints.weight_files import parts_of, weight_files
from rmtaudit.errors import InputError, RmtauditError
from rmtaudit.names import display_name

_UNREACHED = frozenset({"RA-IN-099", "RA-IN-221", "RA-IN-222", "RA-IN-223", "RA-IN-224", "RA-IN-225"})
"""Codes of what keeps a file from coming to this machine."""


def located(
    path: str | Path, *, stream: bool = False, notify: Callable[[str], None] = lambda _: None
) -> Path:
    """Return the path of what was asked for.

    A path that exists on this machine wins. ``org/name`` and ``hf://org/name[@revision][/file]`` are then
    looked for in the local cache of the Hub, and on the Hub. A URL is read by range requests.

    Parameters
    ----------
    path
        What was typed.
    stream
        Whether a model of the Hub is read by range requests; otherwise the files that are needed are
        downloaded into its cache.
    notify
        Is given sentences about what is read instead of what may have been meant.

    Raises
    ------
    InputError
        There is no such model or file, or it cannot be reached; RA-IN-099: it needs the extra ``hub``.
    UsageError
        An address that names no model.
    """
    if isinstance(path, RemotePath):
        return path
    address = address_of(path)
    try:
        if isinstance(address, WebAddress):
            from rmtaudit.checkpoints.remote.trees import web_path

            return web_path(address)
        if address is not None:
            return _of_hub(address, stream=stream, notify=notify)
    except RmtauditError as error:
        error.where = display_name(shown(path))
        raise
    model = named_model(path)
    if model is None:
        _warn_of_namesake(path, notify)
        return Path(path)
    return _perhaps_of_hub(model, stream=stream, notify=notify)


def _of_hub(address: HubAddress, *, stream: bool, notify: Callable[[str], None]) -> Path:
    cached = cached_snapshot(address.repository, address.revision)
    if cached is not None:
        inside = cached / address.inside
        if _is_complete(inside):
            notify(f"{address} is read from the local cache of the Hub, commit {display_name(cached.name)}")
            return inside
    from rmtaudit.checkpoints.remote.trees import hub_path

    remote = hub_path(address, stream=stream)
    if stream:
        return remote
    notify(f"{address} is downloaded into the cache of the Hub; --stream would read only what is analysed")
    return _downloaded(remote, address)


def _downloaded(remote: RemotePath, address: HubAddress) -> Path:
    """Return the local path of a model of the Hub, whose files come to this machine as they are opened."""
    from rmtaudit.checkpoints.folder import open_checkpoint

    error: RmtauditError | None = None
    try:
        open_checkpoint(remote).close()
    except RmtauditError as problem:
        if problem.code in _UNREACHED:
            raise
        error = problem
    snapshot = cached_snapshot(address.repository, address.revision)
    path = None if snapshot is None else snapshot / address.inside
    if path is not None and path.exists():
        return path  # where something is wrong with it, opening it will say so
    if error is not None:
        raise error
    raise InputError(
        "RA-IN-223",
        "The file was downloaded, but is not in the cache of the Hub.",
        hint="Check HF_HOME and HF_HUB_CACHE.",
        where=display_name(str(address)),
    )


def _perhaps_of_hub(model: HubAddress, *, stream: bool, notify: Callable[[str], None]) -> Path:
    """Return the path of a model of which only the bare name was given: it may be a misspelt path."""
    name = model.repository
    missing = "There is no such file or folder"
    if "/" not in name and cached_snapshot(name, "") is None:
        raise InputError(
            "RA-IN-001",
            f"{missing}.",
            hint=(
                f"{advice_for_missing(Path(name))} A model of the Hugging Face Hub is written hf://{name}."
            ),
            where=display_name(name),
        )
    try:
        return _of_hub(model, stream=stream, notify=notify)
    except RmtauditError as error:
        if error.code == "RA-IN-099":
            message, hint = f"{missing}.", f"For the model of that name on the Hugging Face Hub: {error.hint}"
        else:
            message = f"{missing}, and it is not a model of the Hugging Face Hub either: {error.message}"
            hint = error.hint
        raise InputError(
            "RA-IN-001",
            message,
            hint=f"{advice_for_missing(Path(name))} {hint}".strip(),
            where=display_name(name),
        ) from error


def _is_complete(path: Path) -> bool:
    """Whether a file of the cache is there with its parts, or a folder with weights and all their shards."""
    if not path.is_dir():
        return path.exists() and all(path.with_name(name).exists() for name in parts_of(path.name))
    if not weight_files(path):
        return False
    files, _ = listed(path)
    return all(_has_shards(path, name) for name in files if is_index(Path(name)))


def _has_shards(folder: Path, index: str) -> bool:
    try:
        table = json.loads(read_small(folder / index, INDEX_CAP))
        shards = set(table["weight_map"].values())
        return all(is_there(folder / shard) for shard in shards)
    except (InputError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return True  # opening it will say what is wrong with it


def _warn_of_namesake(path: str | Path, notify: Callable[[str], None]) -> None:
    """Say that a local path was taken where a model of the same name lies in the cache of the Hub."""
    text = as_given(path)
    if "/" not in text or not is_repository(text) or not os.path.lexists(path):
        return
    if (hub_cache() / f"models--{text.replace('/', '--')}").is_dir():
        notify(f"{display_name(text)} is read as a local path; the model of the Hub is hf://{text}")
