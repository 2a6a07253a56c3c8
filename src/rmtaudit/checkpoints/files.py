"""Regular files, opened without hanging and read without mapping.

``pread`` into memory of our own, never ``mmap``: a file that shrinks under a map kills the process.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rmtaudit.checkpoints.regular_files import open_regular
from rmtaudit.errors import ChangedError, CorruptError, InputError
from rmtaudit.names import display_name
from rmtaudit.positional import read_into

_CHUNK = 1 << 30  # one preadv call reads at most 2 GiB - 4 KiB on Linux
_LARGE = 1 << 20


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What tells one state of a file from another: device, inode, size in bytes, modification time in ns."""

    device: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Take the four facts from a ``stat`` result."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class FileSource:
    """A regular file, or a range of one, open for positional reads.

    Parameters
    ----------
    path
        The file. Symbolic links are followed.
    window
        The first byte and the number of bytes of the range; the whole file where ``None``. Positions count
        from its beginning.
    member
        What the range is called where the file is an archive: the path and messages name it.

    Attributes
    ----------
    path, where
        The path, and its printable file name for messages.
    size
        Bytes in the file, or the range, when it was opened.

    Raises
    ------
    InputError
        At once, also for a FIFO, a socket, a device, a directory or a dangling link.
    """

    def __init__(self, path: Path, *, window: tuple[int, int] | None = None, member: str = "") -> None:
        self.path = path / member if member else path
        self.where = display_name(self.path.name or str(path))
        self._file = path
        self._lock = threading.Lock()
        self._parked = False
        self._closed = False
        self._descriptor: int | None = open_regular(path, self.where)
        self.snapshot = Snapshot.of(os.fstat(self._descriptor))
        self._start, self.size = window or (0, self.snapshot.size)
        if window is not None and self._start + self.size > self.snapshot.size:
            self.abandon()
            raise CorruptError(
                "RA-IN-005",
                f"bytes {self._start} to {self._start + self.size} were asked for, but the file has "
                f"{self.snapshot.size} bytes.",
                where=self.where,
            )

    def pread(self, offset: int, length: int) -> bytearray | memoryview:
        """Return ``length`` bytes from ``offset``, in memory of their own. Threads may call it at once.

        Raises
        ------
        ChangedError
            The file is shorter than when it was opened, or differs in size or modification time.
        CorruptError
            The range leaves the file.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise CorruptError(
                "RA-IN-005",
                f"bytes {offset} to {offset + length} were asked for, but the file has {self.size} bytes.",
                where=self.where,
            )
        descriptor, borrowed = self._borrow()
        try:
            data = bytearray(length) if length < _LARGE else _uncleared(length)
            done = _fill(descriptor, memoryview(data), self._start + offset)
            if done < length:
                message = f"changed while it was being read: {done} of {length} bytes at position {offset}"
                raise self._changed(message)
            self._compare(os.fstat(descriptor))
            return data
        finally:
            if not borrowed:
                os.close(descriptor)

    def pread_rows(self, offset: int, stride: int, rows: memoryview) -> None:
        """Fill ``rows``, two-dimensional bytes, from pieces of the file that lie ``stride`` bytes apart.

        No memory is taken. Raises as :meth:`pread`.
        """
        count, length = rows.shape or (0, 0)
        last = offset + stride * (count - 1) + length
        if offset < 0 or stride < length or last > self.size:
            raise CorruptError(
                "RA-IN-005",
                f"bytes {offset} to {last} were asked for, but the file has {self.size} bytes.",
                where=self.where,
            )
        descriptor, borrowed = self._borrow()
        try:
            flat = rows.cast("B")
            begin = self._start + offset
            if stride == length:
                count, length = 1, count * length
            for row in range(count):
                piece = flat[row * length : (row + 1) * length]
                done = read_into(descriptor, piece, begin + row * stride)
                if done < length:
                    done += _fill(descriptor, piece[done:], begin + row * stride + done)
                if done < length:
                    message = f"changed while it was being read: {done} of {length} bytes"
                    raise self._changed(f"{message} at position {offset + row * stride}")
            self._compare(os.fstat(descriptor))
        finally:
            if not borrowed:
                os.close(descriptor)

    def advise(self, offset: int, stride: int, length: int, count: int) -> None:
        """Have the kernel read ``count`` pieces of ``length`` bytes ahead; nothing where it cannot."""
        if not hasattr(os, "posix_fadvise") or self._descriptor is None:
            return
        if stride == length:
            length, count = length * count, 1
        for piece in range(count):
            os.posix_fadvise(
                self._descriptor, self._start + offset + piece * stride, length, os.POSIX_FADV_WILLNEED
            )

    def check_unchanged(self) -> str:
        """Compare the file with its state at opening.

        Returns
        -------
        str
            A warning where the path now names another file (replaced or unlinked: what was read is the old
            file, whole); ``""`` otherwise.

        Raises
        ------
        ChangedError
            The open file differs in size or modification time.
        """
        if self._descriptor is not None:
            self._compare(os.fstat(self._descriptor))
        try:
            now = self._file.stat()
        except OSError:
            return f"{self.where}: the file was removed or made unreachable while it was open"
        if (now.st_dev, now.st_ino) != (self.snapshot.device, self.snapshot.inode):
            if self._descriptor is None:
                raise self._changed("was replaced while it was being read")
            return f"{self.where}: the file was replaced while it was open; the one opened first was read"
        self._compare(now)
        return ""

    def park(self) -> None:
        """Give back the file descriptor; later reads open the file again and compare it with the snapshot."""
        with self._lock:
            self._parked = True
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def close(self) -> str:
        """Close, after :meth:`check_unchanged`, whose result it returns. A second call does nothing."""
        if self._closed:
            return ""
        try:
            return self.check_unchanged()
        finally:
            self._closed = True
            self._parked = False
            self._give_back()

    def abandon(self) -> None:
        """Close without looking back: for an opening that failed."""
        self._closed = True
        self._parked = False
        self._give_back()

    def _give_back(self) -> None:
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _borrow(self) -> tuple[int, bool]:
        """Return a descriptor, and whether it stays open after the read."""
        with self._lock:
            if self._descriptor is not None:
                return self._descriptor, True
        if not self._parked:
            raise InputError("RA-IN-006", "the checkpoint is closed.", where=self.where)
        descriptor = open_regular(self._file, self.where)
        if Snapshot.of(os.fstat(descriptor)) != self.snapshot:
            os.close(descriptor)
            raise self._changed("changed while it was being read")
        return descriptor, False

    def _compare(self, now: os.stat_result) -> None:
        if (now.st_size, now.st_mtime_ns) != (self.snapshot.size, self.snapshot.mtime_ns):
            before = self.snapshot.size
            size = "" if now.st_size == before else f": {before} bytes before, {now.st_size} now"
            raise self._changed(f"changed while it was being read{size}")

    def _changed(self, message: str) -> ChangedError:
        return ChangedError(
            "RA-IN-007", f"the file {message}.", hint="Wait until nothing writes to it.", where=self.where
        )


def read_small(path: Path, cap: int) -> bytes:
    """Return a whole regular file of at most ``cap`` bytes.

    Raises
    ------
    InputError
        It cannot be opened (as :class:`FileSource`), or is larger than ``cap``.
    """
    source = FileSource(path)
    try:
        if source.size > cap:
            raise InputError(
                "RA-IN-008",
                f"{source.size} bytes; at most {cap} are read of such a file.",
                where=source.where,
            )
        return bytes(source.pread(0, source.size))
    finally:
        source.abandon()


def _uncleared(length: int) -> memoryview:
    """Return memory that nobody has written to: clearing it first is a third of the time of a read."""
    import numpy as np

    return np.empty(length, dtype=np.uint8).data


def _fill(descriptor: int, view: memoryview, offset: int) -> int:
    done = 0
    while done < len(view):
        count = read_into(descriptor, view[done : done + _CHUNK], offset + done)
        if count == 0:
            break
        done += count
    return done
