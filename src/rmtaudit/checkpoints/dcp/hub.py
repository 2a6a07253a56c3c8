"""The format of ``HuggingFaceStorageWriter(save_distributed=True)``: safetensors files of shards.

The header of each file says in ``DCP_SHARDING_INFO`` where in the whole tensor its part begins
(``torch/distributed/checkpoint/_hf_utils.py``). Nothing says how many shards there are.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.dcp.chunks import Chunk, ChunkedCheckpoint, check_tiling
from rmtaudit.checkpoints.safetensors import SafetensorsCheckpoint, SafetensorsReader
from rmtaudit.checkpoints.sharded import check_contained, close_all
from rmtaudit.errors import CorruptError, InputError
from rmtaudit.matrices.tensors import TensorSpec
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import torch

SHARD = re.compile(r"shard-(?P<shard>\d{5})-model-(?P<file>\d{5})-of-(?P<count>\d{5})\.safetensors")
INFO = "DCP_SHARDING_INFO"
_OPEN_CAP = 200


def open_hub(folder: Path, names: list[str], format: str) -> Checkpoint:
    """Open the shards of a folder. Raises ``InputError``."""
    where = display_name(folder.name or str(folder))
    matches = [match for name in names if (match := SHARD.fullmatch(name))]
    numbers = sorted({int(match["shard"]) for match in matches})
    absent = sorted(set(range(1, numbers[-1] + 1)) - set(numbers))
    if absent:
        raise CorruptError(
            "RA-IN-080",
            f"{len(absent)} of at least {numbers[-1]} shards are missing: number {absent[0]}"
            f"{', …' if len(absent) > 1 else ''}.",
            hint="Complete the download.",
            where=where,
        )
    shards: list[SafetensorsCheckpoint] = []
    try:
        for match in matches:
            check_contained(folder / match.string)
            shard = SafetensorsReader().open(folder / match.string)
            shards.append(shard)
            if len(matches) > _OPEN_CAP:
                shard.park()
        tensors = _joined(shards, where)
        warnings = [
            f"{len(numbers)} shards of a distributed checkpoint; the format does not say if there are more"
        ]
        return _HubCheckpoint(folder, format, tensors, warnings, shards)
    except BaseException:
        close_all(shards)
        raise


class _HubCheckpoint(ChunkedCheckpoint):
    """Shards put together; they are closed with it."""

    def __init__(
        self,
        path: Path,
        format: str,
        tensors: list[tuple[TensorSpec, tuple[Chunk, ...]]],
        warnings: list[str],
        shards: list[SafetensorsCheckpoint],
    ) -> None:
        super().__init__(path, format, tensors, warnings)
        self._shards = shards

    def _rows(self, spec: TensorSpec, chunk: Chunk, rows: tuple[int, int] | None) -> torch.Tensor:
        shard: SafetensorsCheckpoint = chunk.place
        return shard.read(spec.name) if rows is None else shard.read_band(spec.name, *rows)

    def check_unchanged(self) -> None:
        """Raise ``ChangedError`` if a file changed since it was opened."""
        for shard in self._shards:
            shard.check_unchanged()

    def close(self) -> None:
        """Close every file; raises the first ``ChangedError`` when all are closed."""
        first: InputError | None = None
        for shard in self._shards:
            try:
                shard.close()
            except InputError as error:
                first = first or error
        if first is not None:
            raise first


def _joined(shards: list[SafetensorsCheckpoint], where: str) -> list[tuple[TensorSpec, tuple[Chunk, ...]]]:
    """Return every tensor with its chunks, checked against each other."""
    parts: dict[str, list[tuple[TensorSpec, Chunk]]] = {}
    for shard in shards:
        offsets = _offsets(shard, where)
        for spec in shard.tensors:
            begin = offsets.get(spec.name, (0,) * len(spec.shape))
            if len(begin) != len(spec.shape):
                raise CorruptError(
                    "RA-IN-193",
                    f"Tensor '{display_name(spec.name)}': its offsets have a different number of dimensions.",
                    where=shard.path.name if isinstance(shard.path, Path) else where,
                )
            chunk = Chunk(offsets=begin, sizes=spec.shape, place=shard)
            parts.setdefault(spec.name, []).append((spec, chunk))
    result = []
    for name, pieces in parts.items():
        first = pieces[0][0]
        if any(
            (spec.dtype, spec.unreadable, len(spec.shape))
            != (first.dtype, first.unreadable, len(first.shape))
            for spec, _ in pieces
        ):
            raise CorruptError(
                "RA-IN-193",
                f"Tensor '{display_name(name)}': its chunks differ in dtype or number of dimensions.",
                where=where,
            )
        chunks = tuple(chunk for _, chunk in pieces)
        shape = tuple(
            max(chunk.offsets[side] + chunk.sizes[side] for chunk in chunks)
            for side in range(len(first.shape))
        )
        check_tiling(name, shape, chunks, where)
        result.append(
            (TensorSpec(name=name, shape=shape, dtype=first.dtype, unreadable=first.unreadable), chunks)
        )
    return result


def _offsets(shard: SafetensorsCheckpoint, where: str) -> dict[str, tuple[int, ...]]:
    """Return where each part of a file begins, as its header says."""
    try:
        table: Any = json.loads(shard.metadata.get(INFO, "{}"))
    except (ValueError, RecursionError) as error:
        raise _bad(shard, where) from error
    if type(table) is not dict:
        raise _bad(shard, where)
    result: dict[str, tuple[int, ...]] = {}
    for name, fields in table.items():
        offsets = fields.get("saved_offsets") if type(fields) is dict else None
        if type(offsets) is not list or not all(
            type(each) is int and 0 <= each < 1 << 62 for each in offsets
        ):
            raise _bad(shard, where)
        result[name] = tuple(offsets)
    return result


def _bad(shard: SafetensorsCheckpoint, where: str) -> CorruptError:
    name = display_name(Path(shard.path).name)
    return CorruptError("RA-IN-189", f"{name}: {INFO} in its header is damaged.", where=where)
