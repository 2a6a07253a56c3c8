"""Reads and writes at a position of an open file, and a lock on one, on every platform.

``preadv``, ``pwrite`` and ``flock`` where the system has them. Elsewhere (Windows) a position is sought and
used under one lock of the process, which only costs that threads wait for each other.
"""

from __future__ import annotations

import os
import sys
import threading

CLOSED_ON_EXEC = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
"""Flags of every descriptor: not inherited by programs that are started, and no translation of newlines."""

NO_WAIT = getattr(os, "O_NONBLOCK", 0)
"""Flag with which opening a FIFO does not wait for its writer; 0 where there are no FIFOs."""

_SOUGHT = threading.Lock()


def read_into(descriptor: int, view: memoryview, offset: int) -> int:
    """Fill the start of ``view`` from ``offset``; return how many bytes, 0 only at the file's end."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, (view,), offset)
    with _SOUGHT:
        os.lseek(descriptor, offset, os.SEEK_SET)
        data = os.read(descriptor, len(view))
    view[: len(data)] = data
    return len(data)


def write_at(descriptor: int, data: memoryview | bytes, offset: int) -> int:
    """Write the start of ``data`` at ``offset``; return the number of bytes that were written."""
    if hasattr(os, "pwrite"):
        return os.pwrite(descriptor, data, offset)
    with _SOUGHT:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.write(descriptor, data)


def lock_file(descriptor: int) -> None:
    """Lock an open file until it is closed. Raises ``OSError`` if another process has the lock."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        return
    try:
        import fcntl
    except ImportError:  # neither of the two: two computations in one folder are not told apart
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
