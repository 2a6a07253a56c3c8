"""The kernel on disk: a zarr array, and beside its chunks what is needed to go on after a kill.

The folder is an ordinary zarr array, one chunk a block, not compressed, whose entries are NaN until they are
formed: what reads it before it is finished is refused. In ``forming`` within it lie ``lock`` (held while a
computation is alive), ``manifest.json`` (of which network, samples and blocks), ``journal`` (a line a
block below or on the diagonal, with the CRC-32 of its bytes and of the line) and, while it is formed,
``features`` (see :mod:`rmtaudit.engine.kernel.spill`). A line is written after the
block and its mirror image are; on resuming, every block is compared with its checksum, and everything from
the first that does not match is formed again.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rmtaudit.engine.logdet.journal import Journal, order
from rmtaudit.errors import OutputError, UsageError
from rmtaudit.names import display_name
from rmtaudit.positional import CLOSED_ON_EXEC, lock_file

_SCHEMA = "rmtaudit.kernel.forming/1"
_FOLDER = "forming"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """How the rows of a kernel are divided.

    Attributes
    ----------
    samples
        In all.
    outputs
        Rows a sample.
    size
        Samples of a block; the last one may have fewer.
    """

    samples: int
    outputs: int
    size: int

    @property
    def rows(self) -> int:
        """Rows of the kernel."""
        return self.samples * self.outputs

    @property
    def count(self) -> int:
        """Blocks along a side."""
        return -(-self.samples // self.size)

    @property
    def total(self) -> int:
        """Blocks below and on the diagonal."""
        return self.count * (self.count + 1) // 2

    def indices(self, block: int) -> range:
        """Return the samples of a block."""
        return range(block * self.size, min(self.samples, (block + 1) * self.size))

    def span(self, block: int) -> slice:
        """Return the rows of a block."""
        indices = self.indices(block)
        return slice(indices.start * self.outputs, indices.stop * self.outputs)


class KernelArray:
    """The array of one computation.

    Parameters
    ----------
    folder
        Of the array. Its parent must exist.
    blocks
        How it is divided.
    dtype
        ``float64`` or ``float32``.
    facts
        What the array is of, as JSON values; an array is continued only where they agree.
    resume
        Whether to continue what is there.

    Attributes
    ----------
    finished
        Number of finished blocks, in their order.
    damaged
        Blocks that the journal has as finished and whose bytes say otherwise.

    Raises
    ------
    UsageError
        RA-KN-010: something is there. RA-KN-011: another process works on it. RA-KN-012: it is of another
        network, of other samples, or has other blocks.
    OutputError
        RA-KN-013: the disk is full, or the folder cannot be written.
    """

    def __init__(
        self, folder: Path, blocks: Blocks, dtype: str, facts: Mapping[str, Any], *, resume: bool
    ) -> None:
        self.folder, self.blocks, self._dtype = folder, blocks, dtype
        self.finished = self.damaged = 0
        self._lock = -1
        self._journal = Journal(folder / _FOLDER / "journal", blocks.count)
        manifest = {"schema": _SCHEMA, "dtype": dtype, **asdict(blocks), **facts}
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            going_on = resume and (folder / _FOLDER / "manifest.json").exists()
            if not going_on:
                self._check_new()
            with self._writing():
                (folder / _FOLDER).mkdir(parents=True, exist_ok=True)
            self._take_lock()
            if going_on:
                self._compare(manifest)
            else:
                self._begin(manifest)
            self._array = self._opened()
            with self._writing():
                self._journal.open()
            self.finished = self._journal.finished
            self._verify()
            undo.pop_all()

    @property
    def spill(self) -> Path:
        """Folder for what is kept only as long as the kernel is formed."""
        return self.folder / _FOLDER / "features"

    @property
    def complete(self) -> bool:
        """Whether every block is finished."""
        return self.finished == self.blocks.total

    def pending(self) -> Iterator[tuple[int, int]]:
        """Yield row and column of the blocks that are not finished, in their order: nested."""
        yield from islice(order(self.blocks.count), self.finished, None)

    def write(self, row: int, col: int, values: torch.Tensor) -> None:
        """Write a block and its mirror image, and then its line."""
        array = np.ascontiguousarray(values.cpu().numpy().astype(self._dtype, copy=False))
        with self._writing():
            self._array[self.blocks.span(row), self.blocks.span(col)] = array
            if row != col:
                self._array[self.blocks.span(col), self.blocks.span(row)] = np.ascontiguousarray(array.T)
            self._journal.append(row, col, _checksum(array))
        self.finished = self._journal.finished

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Put facts about the kernel into the attributes of the array."""
        with self._writing():
            self._array.attrs["rmtaudit"] = dict(facts)

    def cut(self, rows: int) -> None:
        """Leave the leading rows and columns only; resuming makes room for the others again."""
        with self._writing():
            self._array.resize((rows, rows))

    def close(self) -> None:
        """Let go of the files; what is on disk stays."""
        self._journal.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _verify(self) -> None:
        for place, (row, col) in enumerate(islice(order(self.blocks.count), self.finished)):
            rows, cols = self.blocks.span(row), self.blocks.span(col)
            expected = self._journal.sums[place]
            try:
                intact = (
                    _checksum(self._array[rows, cols]) == expected
                    and _checksum(self._array[cols, rows].T) == expected
                )
            except (OSError, ValueError, RuntimeError):  # what a codec raises on a damaged chunk
                intact = False
            if not intact:
                self.damaged = self.finished - place
                self._journal.forget(place)
                self.finished = place
                return

    def _check_new(self) -> None:
        if not self.folder.exists():
            return
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            return
        raise UsageError(
            "RA-KN-010",
            "The path exists already.",
            hint="Add --resume to continue an unfinished kernel, or give another name.",
            where=display_name(str(self.folder)),
        )

    def _begin(self, manifest: Mapping[str, Any]) -> None:
        needed = self.blocks.rows**2 * np.dtype(self._dtype).itemsize
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise OutputError(
                "RA-KN-013",
                f"The kernel takes {needed:,} bytes, but only {free:,} are free.",
                hint="Use a larger disk, fewer samples or outputs, or --precision float32.",
                where=display_name(str(self.folder)),
            )
        import zarr

        side = self.blocks.size * self.blocks.outputs
        rows = self.blocks.rows
        with self._writing():
            zarr.create_array(
                str(self.folder),
                shape=(rows, rows),
                chunks=(min(side, rows), min(side, rows)),
                dtype=self._dtype,
                compressors=None,
                fill_value=float("nan"),
            )
            temporary = self.folder / _FOLDER / "manifest.tmp"
            temporary.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            temporary.replace(self.folder / _FOLDER / "manifest.json")

    def _opened(self) -> Any:
        import zarr

        with self._writing():
            array: Any = zarr.open_array(str(self.folder), mode="r+")
            if array.shape != (self.blocks.rows, self.blocks.rows):
                array.resize((self.blocks.rows, self.blocks.rows))
            return array

    def _compare(self, manifest: Mapping[str, Any]) -> None:
        try:
            stored = json.loads((self.folder / _FOLDER / "manifest.json").read_text(encoding="utf-8"))
            differing = [key for key, value in manifest.items() if stored[key] != value]
        except (OSError, ValueError, KeyError, TypeError):
            differing = ["the manifest"]
        if differing:
            raise UsageError(
                "RA-KN-012",
                f"The array at this path is another kernel: {', '.join(differing)}.",
                hint="Give the same network, samples and flags, or another name.",
                where=display_name(str(self.folder)),
            )

    def _take_lock(self) -> None:
        with self._writing():
            path = self.folder / _FOLDER / "lock"
            self._lock = os.open(path, os.O_CREAT | os.O_RDWR | CLOSED_ON_EXEC, 0o600)
        try:
            lock_file(self._lock)
        except OSError as error:
            raise UsageError(
                "RA-KN-011",
                "Another process is writing this array.",
                hint="Wait for it, or give another name.",
                where=display_name(str(self.folder)),
            ) from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in _FULL
            message = (
                "The disk is full" if full else f"The array cannot be written: {error.strerror or error}"
            )
            raise OutputError(
                "RA-KN-013",
                f"{message}; {self.finished} of {self.blocks.total} blocks are kept.",
                hint="Free some space and add --resume." if full else "Give another folder.",
                where=display_name(str(self.folder)),
            ) from error


def kept_size(folder: Path) -> int | None:
    """Return the samples of a block of what an earlier computation left, if one did."""
    try:
        size = json.loads((folder / _FOLDER / "manifest.json").read_text(encoding="utf-8"))["size"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return size if type(size) is int and size > 0 else None


def _checksum(values: Any) -> int:
    return zlib.crc32(memoryview(np.ascontiguousarray(values).view(np.uint8).data))
