"""The bytes of a local file: read through a descriptor, and compared with the state at opening."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from rmtaudit.checkpoints.regular_files import open_regular
from rmtaudit.errors import ChangedError, InputError
from rmtaudit.positional import read_into

_CHUNK = 1 << 30  # one preadv call reads at most 2 GiB - 4 KiB on Linux


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


_OPENED: ContextVar[dict[Path, Snapshot] | None] = ContextVar("opened", default=None)


@contextmanager
def opened_files() -> Iterator[Mapping[Path, Snapshot]]:
    """Yield the local files that are opened in this context, with their state when they first were."""
    opened: dict[Path, Snapshot] = {}
    token = _OPENED.set(opened)
    try:
        yield opened
    finally:
        _OPENED.reset(token)


class FileBytes(Protocol):
    """How the bytes of an open file are read, wherever the file is.

    What holds of reading, checking and giving back is written here, for :class:`LocalFile`, for files of
    remote trees, and for :class:`rmtaudit.checkpoints.files.FileSource`, which passes the calls on.
    """

    @property
    def snapshot(self) -> Snapshot:
        """The state of the file at opening."""

    def read(self, pieces: Iterable[tuple[int, memoryview]], start: int) -> None:
        """Fill each view from its position, which counts from ``start``. Threads may call it at once.

        Raises
        ------
        ChangedError
            The file is shorter than it was, or differs from its state at opening.
        InputError
            It cannot be read: the connection to a remote file breaks, and again.
        """

    def advise(self, offset: int, length: int) -> None:
        """Announce that a range will be read soon."""

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

    def park(self) -> None:
        """Give back the file descriptor; later reads open the file again and compare it with the snapshot."""

    def close(self) -> None:
        """Give back the file descriptor for good."""


class LocalFile:
    """A regular file, open for positional reads.

    Parameters
    ----------
    path
        The file. Symbolic links are followed.
    where
        Its name in messages.

    Raises
    ------
    InputError
        At once, also for a FIFO, a socket, a device, a directory or a dangling link.
    """

    def __init__(self, path: Path, where: str) -> None:
        self._path = path
        self._where = where
        self._lock = threading.Lock()
        self._parked = False
        self._descriptor: int | None = open_regular(path, where)
        self._snapshot = Snapshot.of(os.fstat(self._descriptor))
        if (opened := _OPENED.get()) is not None:
            opened.setdefault(path, self._snapshot)

    @property
    def snapshot(self) -> Snapshot:
        """The state of the file at opening."""
        return self._snapshot

    def read(self, pieces: Iterable[tuple[int, memoryview]], start: int) -> None:
        """Fill each view from its position (see :meth:`FileBytes.read`)."""
        descriptor, borrowed = self._borrow()
        try:
            for offset, view in pieces:
                done = read_into(descriptor, view[:_CHUNK], start + offset)
                if done < len(view):
                    done += _fill(descriptor, view[done:], start + offset + done)
                if done < len(view):
                    message = f"changed while it was being read: {done} of {len(view)} bytes"
                    raise self._changed(f"{message} at position {offset}")
            self._compare(os.fstat(descriptor))
        finally:
            if not borrowed:
                os.close(descriptor)

    def advise(self, offset: int, length: int) -> None:
        """Have the operating system read a range ahead; nothing where it cannot."""
        if hasattr(os, "posix_fadvise") and self._descriptor is not None:
            os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_WILLNEED)

    def check_unchanged(self) -> str:
        """Compare the file with its state at opening (see :meth:`FileBytes.check_unchanged`)."""
        if self._descriptor is not None:
            self._compare(os.fstat(self._descriptor))
        try:
            now = self._path.stat()
        except OSError:
            return f"{self._where}: the file was removed or made unreachable while it was open"
        if (now.st_dev, now.st_ino) != (self._snapshot.device, self._snapshot.inode):
            if self._descriptor is None:
                raise self._changed("was replaced while it was being read")
            return (
                f"{self._where}: the file was replaced while it was open; the file that was "
                "opened first was read"
            )
        self._compare(now)
        return ""

    def park(self) -> None:
        """Give back the file descriptor until the next read (see :meth:`FileBytes.park`)."""
        with self._lock:
            self._parked = True
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def close(self) -> None:
        """Give back the file descriptor for good."""
        with self._lock:
            self._parked = False
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _borrow(self) -> tuple[int, bool]:
        """Return a descriptor, and whether it stays open after the read."""
        with self._lock:
            if self._descriptor is not None:
                return self._descriptor, True
        if not self._parked:
            raise InputError("RA-IN-006", "The checkpoint is closed.", where=self._where)
        descriptor = open_regular(self._path, self._where)
        if Snapshot.of(os.fstat(descriptor)) != self._snapshot:
            os.close(descriptor)
            raise self._changed("changed while it was being read")
        return descriptor, False

    def _compare(self, now: os.stat_result) -> None:
        if (now.st_size, now.st_mtime_ns) != (self._snapshot.size, self._snapshot.mtime_ns):
            before = self._snapshot.size
            size = "" if now.st_size == before else f": {before} bytes before, {now.st_size} now"
            raise self._changed(f"changed while it was being read{size}")

    def _changed(self, message: str) -> ChangedError:
        return ChangedError(
            "RA-IN-007", f"The file {message}.", hint="Wait until no process writes to it.", where=self._where
        )


def _fill(descriptor: int, view: memoryview, offset: int) -> int:
    done = 0
    while done < len(view):
        count = read_into(descriptor, view[done : done + _CHUNK], offset + done)
        if count == 0:
            break
        done += count
    return done
