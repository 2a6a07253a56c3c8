"""The format of ``FileSystemWriter``: ``.metadata``, and files in which each chunk is a ``torch.save``."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.dcp.chunks import Chunk, ChunkedCheckpoint, check_tiling
from rmtaudit.checkpoints.dcp.metadata import ChunkedTensor, FolderMetadata, StoredChunk, parse_metadata
from rmtaudit.checkpoints.files import FileSource, read_small
from rmtaudit.checkpoints.inert import Storage, StoredTensor
from rmtaudit.checkpoints.sharded import check_contained, check_shard_name, is_there
from rmtaudit.checkpoints.state import named_tensors
from rmtaudit.checkpoints.torch_zip import open_archive
from rmtaudit.errors import ChangedError, CorruptError, InputError
from rmtaudit.matrices.tensors import ITEMSIZE, Role, TensorSpec, Use
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import torch

METADATA_CAP = 256 << 20
"""Largest ``.metadata`` in bytes."""

_OPEN_CAP = 200  # files that keep their descriptor
_STACK = re.compile(r"(?:.*\.)?layers\.(?!\d)")


def open_plain(folder: Path, format: str) -> Checkpoint:
    """Open such a folder. Raises ``InputError``."""
    where = display_name(folder.name or str(folder))
    metadata = parse_metadata(read_small(folder / ".metadata", METADATA_CAP), f"{where}/.metadata")
    sources = _open_files(folder, metadata, where)
    try:
        for name, tensor in metadata.tensors.items():
            _check_tensor(name, tensor, sources, where)
        _check_ranges(metadata, where)
        found = named_tensors(_nested(metadata), where)
        tensors = []
        for name, stored in found.tensors:
            assert isinstance(stored.data, Storage)
            tensor = metadata.tensors[stored.data.key]
            tensors.append((_spec(name, tensor, metadata), _chunks(tensor)))
        warnings = list(found.warnings)
        if metadata.objects:
            warnings.append(f"{metadata.objects} pickled objects that are not tensors were not read")
        return _PlainCheckpoint(folder, format, tensors, warnings, sources)
    except BaseException:
        for source in sources.values():
            source.abandon()
        raise


class _PlainCheckpoint(ChunkedCheckpoint):
    """A folder of such files; they are closed with it."""

    def __init__(
        self,
        path: Path,
        format: str,
        tensors: list[tuple[TensorSpec, tuple[Chunk, ...]]],
        warnings: list[str],
        sources: dict[str, FileSource],
    ) -> None:
        super().__init__(path, format, tensors, warnings)
        self._sources = sources

    def _rows(self, spec: TensorSpec, chunk: Chunk, rows: tuple[int, int] | None) -> torch.Tensor:
        place: StoredChunk = chunk.place
        home = self._sources[place.file]
        source = FileSource(home.path, window=(place.start, place.length))
        try:
            if source.snapshot != home.snapshot:
                raise ChangedError(
                    "RA-IN-007",
                    "The file changed while it was being read.",
                    hint="Wait until no process writes to it.",
                    where=source.where,
                )
            inner = open_archive(source, self.format)
            (stored,) = inner.tensors if len(inner.tensors) == 1 else (None,)
            if stored is None or (stored.shape, stored.dtype) != (chunk.sizes, spec.dtype):
                raise CorruptError(
                    "RA-IN-193",
                    f"Tensor '{display_name(spec.name)}': the chunk at byte {place.start} is not "
                    "the one that the metadata describes.",
                    where=source.where,
                )
            return inner.read(stored.name) if rows is None else inner.read_band(stored.name, *rows)
        finally:
            source.abandon()

    def check_unchanged(self) -> None:
        """Raise ``ChangedError`` if a file changed since it was opened."""
        for source in self._sources.values():
            source.check_unchanged()

    def close(self) -> None:
        """Close every file; raises the first ``ChangedError`` when all are closed."""
        first: InputError | None = None
        for source in self._sources.values():
            try:
                warning = source.close()
            except InputError as error:
                first = first or error
            else:
                self.warnings = (*self.warnings, warning) if warning else self.warnings
        if first is not None:
            raise first


def _open_files(folder: Path, metadata: FolderMetadata, where: str) -> dict[str, FileSource]:
    """Open every file that holds a chunk, none of them outside the folder."""
    files = dict.fromkeys(chunk.file for tensor in metadata.tensors.values() for chunk in tensor.chunks)
    for file in files:
        check_shard_name(file, None, where)
    missing = [file for file in files if not is_there(folder / file)]
    if missing:
        shown = ", ".join(display_name(file) for file in missing[:5]) + (", …" if len(missing) > 5 else "")
        raise CorruptError(
            "RA-IN-080",
            f"{len(missing)} of {len(files)} shards are missing: {shown}.",
            hint="Complete the download.",
            where=where,
        )
    sources: dict[str, FileSource] = {}
    try:
        for file in files:
            check_contained(folder / file)
            sources[file] = FileSource(folder / file)
            if len(files) > _OPEN_CAP:
                sources[file].park()
    except BaseException:
        for source in sources.values():
            source.abandon()
        raise
    return sources


def _check_tensor(name: str, tensor: ChunkedTensor, sources: dict[str, FileSource], where: str) -> None:
    """Check that the chunks cover the tensor, and that the files hold what they are said to hold."""
    check_tiling(name, tensor.shape, _chunks(tensor), where)
    for chunk in tensor.chunks:
        source = sources[chunk.file]
        if chunk.start < 0 or chunk.length < 0 or chunk.start + chunk.length > source.size:
            raise CorruptError(
                "RA-IN-193",
                f"Tensor '{display_name(name)}': bytes {chunk.start} to "
                f"{chunk.start + chunk.length} are outside {source.where} ({source.size} bytes); "
                "the file looks truncated.",
                hint="Download it again.",
                where=where,
            )
        needed = math.prod(chunk.sizes) * ITEMSIZE.get(tensor.dtype, 0)
        if not chunk.transforms and chunk.length < needed:
            raise CorruptError(
                "RA-IN-193",
                f"Tensor '{display_name(name)}': {chunk.length} bytes for a chunk that takes {needed}.",
                where=where,
            )


def _check_ranges(metadata: FolderMetadata, where: str) -> None:
    """Check that two chunks share either all of their bytes (tied weights) or none."""
    ranges: dict[str, set[tuple[int, int]]] = {}
    for tensor in metadata.tensors.values():
        for chunk in tensor.chunks:
            ranges.setdefault(chunk.file, set()).add((chunk.start, chunk.start + chunk.length))
    for file, places in ranges.items():
        reached = 0
        for start, end in sorted(places):
            if start < reached:
                raise CorruptError(
                    "RA-IN-193",
                    f"Chunks overlap in {display_name(file)} at byte {start}.",
                    where=where,
                )
            reached = end


def _nested(metadata: FolderMetadata) -> dict[str | int, object]:
    """Return the state dict as it was before it was made flat, so that wrappers and optimizers show."""
    root: dict[str | int, object] = {}
    for name, tensor in metadata.tensors.items():
        inner: dict[str | int, object] = root
        *outer, last = metadata.paths.get(name, (name,))
        for key in outer:
            step = inner.setdefault(key, {})
            if type(step) is not dict:
                break
            inner = step
        else:
            if last not in inner:
                inner[last] = _stored(name, tensor)
                continue
        return {each: _stored(each, metadata.tensors[each]) for each in metadata.tensors}
    return root


def _stored(name: str, tensor: ChunkedTensor) -> StoredTensor:
    return StoredTensor(
        dtype=tensor.dtype,
        shape=tensor.shape,
        stride=(),
        offset=0,
        data=Storage(name, tensor.dtype, math.prod(tensor.shape)),
    )


def _chunks(tensor: ChunkedTensor) -> tuple[Chunk, ...]:
    return tuple(Chunk(offsets=chunk.offsets, sizes=chunk.sizes, place=chunk) for chunk in tensor.chunks)


def _spec(name: str, tensor: ChunkedTensor, metadata: FolderMetadata) -> TensorSpec:
    unreadable = None
    transforms = {step for chunk in tensor.chunks for step in chunk.transforms}
    if transforms:
        unreadable = f"stored through {display_name(', '.join(sorted(transforms)), longest=60)}"
    elif tensor.dtype not in ITEMSIZE:
        unreadable = f"dtype {display_name(tensor.dtype, longest=40)}"
    alias: Hashable = tuple((chunk.file, chunk.start) for chunk in tensor.chunks)
    return TensorSpec(
        name=name,
        shape=tensor.shape,
        dtype=tensor.dtype,
        alias=alias,
        unreadable=unreadable,
        role=_role(name, tensor) if metadata.stacked else None,
    )


def _role(name: str, tensor: ChunkedTensor) -> Role | None:
    """Return the role of a tensor of Megatron, which puts the same weight of all layers in one tensor."""
    if _STACK.match(name) is None:
        return None
    if len(tensor.shape) == 3:
        return Role(use=Use.DENSE, axes="EOI")
    if len(tensor.shape) == 2:
        return Role(use=Use.NONE, reason="vectors of all layers (bias, norm), stacked")
    return None
