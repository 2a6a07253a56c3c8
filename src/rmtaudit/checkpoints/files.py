"""Files, opened without hanging and read without mapping.

``pread`` into memory of our own, never ``mmap``: a file that shrinks under a map kills the process.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from rmtaudit.checkpoints.local_bytes import FileBytes, LocalFile, Snapshot
from rmtaudit.checkpoints.remote.paths import RemotePath
from rmtaudit.errors import CorruptError, InputError
from rmtaudit.names import display_name

_LARGE = 1 << 20


class FileSource:
    """A file, or a range of one, open for positional reads.

    Parameters
    ----------
    path
        A regular file, whose symbolic links are followed, or one of a remote tree.
    window
        The first byte and the number of bytes of the range; the whole file where ``None``. Positions count
        from its beginning.
    member
        What the range is called where the file is an archive: the path and messages name it.

    Attributes
    ----------
    path, where
        The path, and its printable file name for messages.
    snapshot
        The state of the file when it was opened.
    size
        Bytes in the file, or the range, when it was opened.

    Raises
    ------
    InputError
        At once, also for a FIFO, a socket, a device, a directory or a dangling link.
    """

    path: Path

    def __init__(self, path: Path, *, window: tuple[int, int] | None = None, member: str = "") -> None:
        self.path = path / member if member else path
        self.where = display_name(self.path.name or str(path))
        self._closed = False
        self._file: FileBytes = (
            path.open_bytes(self.where) if isinstance(path, RemotePath) else LocalFile(path, self.where)
        )
        self.snapshot: Snapshot = self._file.snapshot
        self._start, self.size = window or (0, self.snapshot.size)
        if window is not None and self._start + self.size > self.snapshot.size:
            self.abandon()
            raise CorruptError(
                "RA-IN-005",
                f"Bytes {self._start} to {self._start + self.size} were requested, but the file "
                f"has {self.snapshot.size} bytes.",
                where=self.where,
            )

    def pread(self, offset: int, length: int) -> bytearray | memoryview:
        """Return ``length`` bytes from ``offset``, in memory of their own. Threads may call it at once.

        Raises
        ------
        ChangedError, InputError
            As :meth:`FileBytes.read`.
        CorruptError
            The range leaves the file.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise CorruptError(
                "RA-IN-005",
                f"Bytes {offset} to {offset + length} were requested, but the file has {self.size} bytes.",
                where=self.where,
            )
        data = bytearray(length) if length < _LARGE or "numpy" not in sys.modules else _uncleared(length)
        self._file.read([(offset, memoryview(data))], self._start)
        return data

    def pread_rows(self, offset: int, stride: int, rows: memoryview) -> None:
        """Fill ``rows``, two-dimensional bytes, from pieces of the file that lie ``stride`` bytes apart.

        No memory is taken. Raises as :meth:`pread`.
        """
        count, length = rows.shape or (0, 0)
        last = offset + stride * (count - 1) + length
        if offset < 0 or stride < length or last > self.size:
            raise CorruptError(
                "RA-IN-005",
                f"Bytes {offset} to {last} were requested, but the file has {self.size} bytes.",
                where=self.where,
            )
        flat = rows.cast("B")
        if stride == length:
            count, length = 1, count * length

        def pieces() -> Iterator[tuple[int, memoryview]]:
            for row in range(count):
                yield offset + row * stride, flat[row * length : (row + 1) * length]

        self._file.read(pieces(), self._start)

    def advise(self, offset: int, stride: int, length: int, count: int) -> None:
        """Announce that ``count`` pieces of ``length`` bytes will be read."""
        if stride == length:
            length, count = length * count, 1
        for piece in range(count):
            self._file.advise(self._start + offset + piece * stride, length)

    def check_unchanged(self) -> str:
        """Compare the file with its state at opening (see :meth:`FileBytes.check_unchanged`)."""
        return self._file.check_unchanged()

    def park(self) -> None:
        """Give back the file descriptor until the next read (see :meth:`FileBytes.park`)."""
        self._file.park()

    def close(self) -> str:
        """Close, after :meth:`check_unchanged`, whose result it returns. A second call does nothing."""
        if self._closed:
            return ""
        try:
            return self.check_unchanged()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close without looking back: for an opening that failed."""
        self._closed = True
        self._file.close()


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
                f"The file has {source.size} bytes; at most {cap} are read of a file of this kind.",
                where=source.where,
            )
        return bytes(source.pread(0, source.size))
    finally:
        source.abandon()


def _uncleared(length: int) -> memoryview:
    """Return memory that nobody has written to: clearing it first is a third of the time of a read.

    A header alone, however large, is no reason to import NumPy: where values are read, it is there.
    """
    import numpy as np

    return np.empty(length, dtype=np.uint8).data
