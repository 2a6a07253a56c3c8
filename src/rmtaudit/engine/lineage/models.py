"""The models of a folder: one for each file of weights, and one for each folder that is a checkpoint.

Or several models, each by its path.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.weight_files import weight_files
from rmtaudit.engine.resources.digest import ContentDigest
from rmtaudit.errors import RmtauditError

if TYPE_CHECKING:
    from rmtaudit.matrices.tensors import TensorSpec

_BAND = 64 << 20
"""Bytes that are hashed at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model of the folder.

    Attributes
    ----------
    name
        Path relative to the folder that all models are in, with forward slashes.
    path
        What is opened.
    format
        Of the container.
    parameters
        Number of stored elements.
    bits
        Mean number of bits that a stored element takes.
    digest
        Of names, dtypes, shapes and bytes of all tensors.
    """

    name: str
    path: Path
    format: str
    parameters: int
    bits: float
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """What looks like a model and cannot be read."""

    name: str
    code: str
    message: str


def models_of(paths: Sequence[Path]) -> tuple[Path, tuple[Model, ...], tuple[Unread, ...]]:
    """Return the models of one folder, or several models by their paths. All bytes are read and hashed.

    Returns
    -------
    tuple
        The folder that the names of the models are relative to, the models, and what could not be read.
    """
    if len(paths) == 1:
        folder, places = paths[0], {name: paths[0] / name for name in _names(paths[0])}
    else:
        absolute = [Path(os.path.normpath(path.absolute())) for path in paths]  # links stay as they are
        folder = Path(os.path.commonpath([path.parent for path in absolute]))
        places = {path.relative_to(folder).as_posix(): path for path in absolute}
    models, unread = [], []
    for name, path in places.items():
        try:
            with open_checkpoint(path) as checkpoint:
                models.append(_model(name, path, checkpoint))
        except RmtauditError as error:
            unread.append(Unread(name=name, code=error.code, message=error.message))
    return folder, tuple(models), tuple(unread)


def _names(folder: Path) -> Iterator[str]:
    """Yield the files of the folder, and its subfolders, or the files of one that is no checkpoint."""
    inside: dict[str, list[str]] = {}
    for name in weight_files(folder):
        parent, _, _ = name.rpartition("/")
        inside.setdefault(parent, []).append(name)
    yield from inside.pop("", [])
    for parent, names in inside.items():
        if len(names) == 1 or _opens(folder / parent):
            yield parent
        else:
            yield from names


def _opens(folder: Path) -> bool:
    try:
        with open_checkpoint(folder):
            return True
    except RmtauditError:
        return False


def _model(name: str, path: Path, checkpoint: Checkpoint) -> Model:
    digest = ContentDigest()
    for spec in checkpoint.tensors:
        if spec.unreadable is None:
            _hash(checkpoint, spec, digest)
    parameters = sum(spec.parameters for spec in checkpoint.tensors)
    bits = sum(
        spec.parameters * spec.encoding.bits if spec.encoding is not None else 8 * spec.nbytes
        for spec in checkpoint.tensors
    )
    return Model(
        name=name,
        path=path,
        format=checkpoint.format,
        parameters=parameters,
        bits=bits / parameters if parameters else 0.0,
        digest=digest.hexdigest(),
    )


def _hash(checkpoint: Checkpoint, spec: TensorSpec, digest: ContentDigest) -> None:
    if spec.nbytes <= _BAND or not spec.shape:
        digest.update(spec, checkpoint.read(spec.name))
        return
    step = max(1, _BAND * spec.shape[0] // spec.nbytes)
    for start in range(0, spec.shape[0], step):
        digest.update(spec, checkpoint.read_band(spec.name, start, min(start + step, spec.shape[0])))
