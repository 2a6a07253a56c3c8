"""The factor on disk, with a journal of finished tiles: from which a killed computation continues.

A folder with four files: ``lock`` (held while a computation is alive), ``manifest.json`` (of which matrix, in
which tiling), ``factor.bin`` and ``journal`` (a line a tile, with the CRC-32 of its bytes and of the line).
A line is written after the tile is; a line or a tile that was cut short, also by a loss of power, does not
match its checksum, and everything from it on is computed again.

Finished strips are mapped, not copied: the page cache is the buffer, it is the kernel that gives it back when
memory is wanted, and it reads ahead on request. The file is locked and grows only; it is written with
``pwrite``, which reports a full disk as an error.
"""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import shutil
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rmtaudit.engine.logdet.journal import Journal, order, write_all
from rmtaudit.engine.logdet.tiling import ITEM, STAGE, Tiling
from rmtaudit.errors import OutputError, UsageError
from rmtaudit.names import display_name
from rmtaudit.positional import CLOSED_ON_EXEC, lock_file

_SCHEMA = "rmtaudit.logdet.scratch/1"
"""Of the manifest: another layout of the folder would be another number."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
StripPlaces = list[tuple[tuple[int, int, int], ...]]
_FILES = ("lock", "manifest.json", "factor.bin", "journal")


class Scratch:
    """The scratch folder of one computation.

    Parameters
    ----------
    folder
        Made if it is not there. Its parent must exist.
    tiling, fingerprint
        Of this computation. A folder is continued only where both agree.
    resume
        Whether to continue; otherwise what an earlier computation left there is removed.

    Attributes
    ----------
    finished
        Number of finished tiles, in their order.
    damaged
        Tiles that the journal has as finished and whose bytes say otherwise.

    Raises
    ------
    UsageError
        RA-LD-010: the folder holds something else. RA-LD-011: another process works in it. RA-LD-012: it is
        of another matrix or tiling.
    OutputError
        RA-LD-013: the disk is full, or the folder cannot be written.
    """

    def __init__(self, folder: Path, tiling: Tiling, fingerprint: str, *, resume: bool) -> None:
        self.folder, self.tiling = folder, tiling
        self.finished = self.damaged = 0
        self.bytes_read = self.bytes_written = 0
        self._journal = Journal(folder / "journal", tiling.rows)
        self._lock = self._factor = -1
        self._checksum = 0
        self._maps: dict[int, mmap.mmap] = {}
        self._stages = [torch.empty(STAGE, dtype=torch.float64) for _ in range(2)]
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="rmtaudit-writer")
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            with self._writing():
                folder.mkdir(exist_ok=True)
            self._take_lock()
            if resume and (folder / "manifest.json").exists():
                self._compare({"fingerprint": fingerprint, **asdict(tiling)})
                self._open()
                self.finished = self._journal.finished
            else:
                self._begin({"schema": _SCHEMA, "fingerprint": fingerprint, **asdict(tiling)})
            undo.pop_all()

    def strips(self, places: StripPlaces) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yield strips as views of the file, the next ones read ahead while the caller works.

        Parameters
        ----------
        places
            For each step the strips that it needs: tile row, strip, and the first row within it.
        """
        for step, strips in enumerate(places):
            if step + 1 < len(places):
                for strip in places[step + 1]:
                    self._read_ahead(*strip)
            yield tuple(self._view(*strip) for strip in strips)

    def write(self, row: int, col: int, strips: Iterator[torch.Tensor]) -> None:
        """Write the strips of a tile, each on its way while the next is made, and then its line."""
        self._map(row)
        offset = self.tiling.row_bytes(row).start + self.tiling.offset(row, self.tiling.strips(col).start)
        checksum = 0
        pending: list[Future[int]] = []
        number = 0
        for strip in strips:
            height = max(1, STAGE // strip.shape[1])
            for first in range(0, strip.shape[0], height):
                piece = strip[first : first + height]
                if len(pending) == 2:  # the stage about to be filled must have been written
                    checksum = pending.pop(0).result()
                flat = self._stages[number % 2][: piece.numel()]
                flat.view(piece.shape).copy_(piece)
                pending.append(self._writer.submit(self._put, flat, offset))
                offset += ITEM * piece.numel()
                number += 1
        for future in pending:
            checksum = future.result()
        self._checksum = 0
        with self._writing():
            self._journal.append(row, col, checksum)
        self.finished = self._journal.finished

    def verify(self) -> None:
        """Hold the finished tiles against their checksums; drop them from the first that does not match."""
        for place, (row, col) in enumerate(islice(order(self.tiling.rows), self.finished)):
            checksum = 0
            for strip in self.tiling.strips(col):
                checksum = zlib.crc32(self._view(row, strip, 0).numpy().data, checksum)
            if checksum != self._journal.sums[place]:
                self.damaged = self.finished - place
                self._journal.forget(place)
                self.finished = place
                return

    def replay(self) -> Iterator[tuple[int, int, int, torch.Tensor]]:
        """Yield tile row, tile column, strip and its values, of every finished tile."""
        for row, col in islice(order(self.tiling.rows), self.finished):
            for strip in self.tiling.strips(col):
                yield row, col, strip, self._view(row, strip, 0)

    def flush(self) -> None:
        """Have the disk hold what was written, also through a loss of power."""
        with self._writing():
            os.fsync(self._factor)
            self._journal.flush()

    def close(self) -> None:
        """Let go of files, threads and lock; what is on disk stays."""
        self._writer.shutdown(wait=True)
        self._maps.clear()
        self._journal.close()
        for name in ("_factor", "_lock"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                os.close(descriptor)
                setattr(self, name, -1)

    def remove(self) -> None:
        """Remove the folder."""
        self.close()
        for name in _FILES:
            (self.folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody else has put something there: theirs
            self.folder.rmdir()

    def _view(self, row: int, strip: int, first: int) -> torch.Tensor:
        height, width = len(self.tiling.span(row)), self.tiling.width(strip)
        start = self.tiling.offset(row, strip) + ITEM * first * width
        count = (height - first) * width
        self.bytes_read += ITEM * count
        values = torch.frombuffer(self._map(row), dtype=torch.float64, count=count, offset=start)
        return values.view(height - first, width)

    def _read_ahead(self, row: int, strip: int, first: int) -> None:
        height, width = len(self.tiling.span(row)), self.tiling.width(strip)
        start = self.tiling.offset(row, strip) + ITEM * first * width
        stop = start + ITEM * (height - first) * width
        if hasattr(mmap, "MADV_WILLNEED"):
            start -= start % mmap.PAGESIZE
            self._map(row).madvise(mmap.MADV_WILLNEED, start, stop - start)

    def _map(self, row: int) -> mmap.mmap:
        """Return the map of a tile row; the file is made long enough for it."""
        if row not in self._maps:
            place = self.tiling.row_bytes(row)
            with self._writing():
                if os.fstat(self._factor).st_size < place.stop:
                    os.ftruncate(self._factor, place.stop)
            self._maps[row] = mmap.mmap(self._factor, len(place), offset=place.start)
        return self._maps[row]

    def _put(self, values: torch.Tensor, offset: int) -> int:
        """Write a piece; return the checksum of the tile so far."""
        data = memoryview(values.numpy().view(np.uint8).data).cast("B")
        with self._writing():
            write_all(self._factor, data, offset)
        self.bytes_written += len(data)
        self._checksum = zlib.crc32(data, self._checksum)
        return self._checksum

    def _begin(self, manifest: dict[str, Any]) -> None:
        self._check_foreign()
        for name in _FILES[1:]:
            (self.folder / name).unlink(missing_ok=True)
        needed, free = self.tiling.scratch_bytes, shutil.disk_usage(self.folder).free
        if needed > free:
            raise OutputError(
                "RA-LD-013",
                f"The factor takes {needed:,} bytes of scratch space, but only {free:,} are free.",
                hint="Give a folder on a larger disk with --scratch.",
                where=display_name(str(self.folder)),
            )
        with self._writing():
            temporary = self.folder / "manifest.tmp"
            temporary.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            temporary.replace(self.folder / "manifest.json")
        self._open()

    def _open(self) -> None:
        flags = os.O_CREAT | CLOSED_ON_EXEC
        with self._writing():
            self._factor = os.open(self.folder / "factor.bin", flags | os.O_RDWR, 0o600)
            self._journal.open()

    def _take_lock(self) -> None:
        with self._writing():
            self._lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR | CLOSED_ON_EXEC, 0o600)
        try:
            lock_file(self._lock)
        except OSError as error:
            raise UsageError(
                "RA-LD-011",
                "Another process is using this scratch folder.",
                hint="Wait for it, or give another folder with --scratch.",
                where=display_name(str(self.folder)),
            ) from error

    def _check_foreign(self) -> None:
        foreign = [path.name for path in self.folder.iterdir() if path.name not in (*_FILES, "manifest.tmp")]
        if foreign:
            raise UsageError(
                "RA-LD-010",
                f"The scratch folder holds something else ('{display_name(foreign[0])}').",
                hint="Give an empty folder, or one that does not exist.",
                where=display_name(str(self.folder)),
            )

    def _compare(self, expected: dict[str, Any]) -> None:
        try:
            manifest = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
            agrees = manifest["schema"] == _SCHEMA and all(
                manifest[key] == value for key, value in expected.items()
            )
        except (OSError, ValueError, KeyError, TypeError):
            agrees = False
        if not agrees:
            raise UsageError(
                "RA-LD-012",
                "The scratch folder holds the factor of another matrix, or tiles for a larger memory budget.",
                hint="Give the same matrix and as much memory, or omit --resume to start again.",
                where=display_name(str(self.folder)),
            )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in _FULL
            message = (
                "The disk is full"
                if full
                else (f"The scratch folder cannot be written: {error.strerror or error}")
            )
            raise OutputError(
                "RA-LD-013",
                f"{message}; {self.finished} of {self.tiling.tiles} tiles are kept.",
                hint="Free some space and add --resume." if full else "Give another folder with --scratch.",
                where=display_name(str(self.folder)),
            ) from error


def kept_tiling(folder: Path) -> Tiling | None:
    """Return the tiling of what an earlier computation left in a folder, if one did."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        numbers = [manifest[name] for name in ("n", "side", "strip")]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = all(type(number) is int and number > 0 for number in numbers)
    return Tiling(*numbers) if whole else None
