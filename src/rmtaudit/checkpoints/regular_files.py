"""Opening a regular file, and nothing else: FIFOs, devices and dangling links are named at once."""

from __future__ import annotations

import errno
import itertools
import os
import stat
from pathlib import Path

from rmtaudit.errors import InputError
from rmtaudit.names import display_name, suggestion
from rmtaudit.positional import CLOSED_ON_EXEC, NO_WAIT

_MOST_SIBLINGS = 10_000
"""Names of a folder that are compared with one that is not there; more take seconds."""


def open_regular(path: Path, where: str) -> int:
    """Return a descriptor of a regular file. ``O_NONBLOCK``: a FIFO without a writer must not hang us.

    Raises
    ------
    InputError
        It is not there, may not be read, or is no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | NO_WAIT | CLOSED_ON_EXEC)
    except ValueError as error:  # a NUL in the path
        raise InputError("RA-IN-001", f"This is not a path: {error}.", where=where) from error
    except OSError as error:
        raise _refused(path, where, error) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise InputError("RA-IN-003", f"The path is {_kind(mode)}, not a regular file.", where=where)
    return descriptor


def advice_for_missing(path: Path) -> str:
    """Return what to do about a path that is not there: the nearest name beside it, if there is one."""
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in itertools.islice(entries, _MOST_SIBLINGS)]
    except (OSError, ValueError):
        names = []
    near = suggestion(path.name, names)
    return f"Check the path.{near}"


def _refused(path: Path, where: str, error: OSError) -> InputError:
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        if path.is_symlink():
            target = display_name(os.fspath(path.readlink()))
            return InputError(
                "RA-IN-002", f"The path is a link to {target}, which does not exist.", where=where
            )
        return InputError("RA-IN-001", "There is no such file.", hint=advice_for_missing(path), where=where)
    if error.errno in {errno.EACCES, errno.EPERM}:
        return InputError("RA-IN-004", "Permission was denied.", hint="Make the file readable.", where=where)
    if error.errno == errno.ENXIO:
        return InputError("RA-IN-003", "The path is a socket or a device, not a regular file.", where=where)
    if error.errno == errno.ELOOP:
        return InputError("RA-IN-002", "The path is a link that leads back to itself.", where=where)
    return InputError("RA-IN-001", f"The file cannot be opened: {error.strerror}.", where=where)


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a FIFO (named pipe)"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISBLK, "a block device"),
    )
    return next((name for test, name in kinds if test(mode)), "a special file")
