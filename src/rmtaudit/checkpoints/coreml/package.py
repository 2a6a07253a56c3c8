"""The files of a Core ML folder: its manifest, its program, the folder of its values."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import NoReturn

from rmtaudit.checkpoints.coreml import mil, spec
from rmtaudit.checkpoints.coreml.blobs import Blobs
from rmtaudit.checkpoints.coreml.checkpoint import coreml_checkpoint
from rmtaudit.checkpoints.coreml.mil import MalformedProgramError
from rmtaudit.checkpoints.coreml.program import Operation
from rmtaudit.checkpoints.files import FileSource, read_small
from rmtaudit.checkpoints.lazy import LazyCheckpoint
from rmtaudit.checkpoints.protobuf import Wire
from rmtaudit.errors import CorruptError, NotACheckpointError, UnsafeError
from rmtaudit.names import display_name

PROGRAM_CAP = 256 << 20
"""Largest program in bytes: values are in files of their own."""

_MANIFEST_CAP = 1 << 20


def open_package(folder: Path, format: str) -> LazyCheckpoint:
    """Return the checkpoint of a ``.mlpackage`` or ``.mlmodelc`` folder.

    Raises
    ------
    CorruptError
        The manifest or the program is damaged, or does not fit the values.
    NotACheckpointError
        The model is no ML program.
    UnsafeError
        It names files outside the folder.
    """
    where = display_name(folder.name or str(folder))
    compiled = (folder / "model.mil").is_file()
    path = folder / "model.mil" if compiled else _model(folder, where)
    if not path.resolve().is_relative_to(folder.resolve()):
        _outside(str(path.name), where)
    source = FileSource(path)
    blobs = Blobs(path.parent, folder, where)
    try:
        functions = _functions(source, where, compiled=compiled)
        return coreml_checkpoint(folder, format, (source, functions), blobs)
    except BaseException:
        for each in (source, *blobs.sources):
            each.abandon()
        raise


def _functions(source: FileSource, where: str, *, compiled: bool) -> dict[str, list[Operation]]:
    if source.size > PROGRAM_CAP:
        raise UnsafeError(
            "RA-IN-214", f"The program has {source.size} bytes; at most {PROGRAM_CAP} are read.", where=where
        )
    if not compiled:
        found = spec.functions(Wire(source, "RA-IN-210"))
    else:
        text = bytes(source.pread(0, source.size)).decode("utf-8", "replace")
        try:
            found = mil.functions(text)
        except MalformedProgramError as error:
            raise CorruptError(
                "RA-IN-210", f"The program is damaged: {error}.", hint="Download it again.", where=where
            ) from error
    if found is None:
        raise NotACheckpointError(
            "RA-IN-211",
            "This is a Core ML model, but not an ML program (a neural network of iOS 14, a tree, "
            "a pipeline).",
            hint="Convert the original again: coremltools.convert(model, convert_to='mlprogram').",
            where=where,
        )
    return found


def _model(folder: Path, where: str) -> Path:
    """Return the path of the program that the manifest names."""
    try:
        manifest = json.loads(read_small(folder / "Manifest.json", _MANIFEST_CAP))
        name = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptError(
            "RA-IN-210", "The manifest names no model.", hint="Download it again.", where=where
        ) from error
    if not isinstance(name, str) or "\0" in name:
        raise CorruptError("RA-IN-210", "The manifest names no model.", where=where)
    parts = PurePosixPath(name).parts
    if PurePosixPath(name).is_absolute() or ".." in parts or "\\" in name or ":" in name:
        _outside(name, where)
    return folder.joinpath("Data", *parts)


def _outside(name: str, where: str) -> NoReturn:
    raise UnsafeError(
        "RA-IN-212", f"The manifest names '{display_name(name)}', outside the package.", where=where
    )
