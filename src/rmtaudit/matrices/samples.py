"""Samples from a file: eigenvalues, gradient norms, or whatever else is one number after another.

A file is hostile until read: nothing is ever unpickled, and the size that a header announces is compared with
the file before memory is taken.
"""

from __future__ import annotations

import math
import mmap
import stat
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np

from rmtaudit.errors import CorruptError, InputError, NotACheckpointError, UnsafeError
from rmtaudit.matrices.sample_text import SAVE, read_text
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Sign = Literal["any", "nonnegative", "positive"]

_MAGIC = b"\x93NUMPY"


def read_samples(path: Path | str, *, sign: Sign = "any") -> torch.Tensor:
    """Return the values of a file, in the file's order.

    ``.npy``: one-dimensional, any real dtype and byte order; the file is mapped and copied once. ``.csv`` and
    ``.txt``: one number a line, or all on one line; separated by commas, semicolons or white space; a first
    line without a number is taken for a heading, and what follows ``#`` is left out.

    Parameters
    ----------
    path
        The file. Symbolic links are followed.
    sign
        Which values are taken: ``"nonnegative"`` for eigenvalues of a Gram or kernel matrix, ``"positive"``
        where a logarithm is needed.

    Returns
    -------
    torch.Tensor
        Shape ``(n,)``, float64, finite, ``n >= 1``, in memory of its own. Wider values (longdouble, 64-bit
        integers) are rounded.

    Raises
    ------
    InputError
        RA-SA-001 no regular file, or unreadable; RA-SA-005 not real numbers; RA-SA-006 not one-dimensional;
        RA-SA-007 no values; RA-SA-008 not finite; RA-SA-009 of the wrong sign; RA-SA-010 a field that is no
        number; RA-SA-011 rows of several columns; RA-SA-013 to RA-SA-016, as
        :func:`rmtaudit.matrices.sample_text.read_text`.
    NotACheckpointError
        RA-SA-002: the ending is none of the three.
    CorruptError
        RA-SA-003 no header of ``.npy``; RA-SA-004 the values are cut short or more bytes follow.
    UnsafeError
        RA-SA-012: Python objects, which only a pickle could restore.
    """
    path = Path(path)
    where = display_name(str(path))
    suffix = path.suffix.lower()
    if suffix not in {".npy", ".csv", ".txt"}:
        message = f"The file ending {display_name(path.suffix)!r} is not .npy, .csv or .txt."
        raise NotACheckpointError("RA-SA-002", message, hint=SAVE, where=where)
    try:
        mode = path.stat().st_mode  # before opening: a FIFO would wait for its writer
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a FIFO, a socket or a device"
            raise InputError("RA-SA-001", f"Is {kind}.", hint="Give a regular file.", where=where)
        with path.open("rb") as file:
            values = _of_npy(file, where) if suffix == ".npy" else read_text(file, where)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            "RA-SA-001", f"The file cannot be read: {reason}.", hint="Check the path.", where=where
        ) from error
    _check(values, sign, where)
    import torch  # a file that is refused does not wait for it

    return torch.from_numpy(values)


def _of_npy(file: BinaryIO, where: str) -> NDArray[np.float64]:
    shape, dtype = _header(file, where)
    if dtype.hasobject:
        raise UnsafeError(
            "RA-SA-012",
            "The file holds Python objects, which only running a pickle could restore.",
            hint="Convert it if you trust it: numpy.save(path, numpy.asarray(values, float)).",
            where=where,
        )
    if dtype.kind not in "fiu" or dtype.names:
        kind = {"c": "complex numbers", "b": "truth values"}.get(dtype.kind, f"dtype {dtype}")
        hint = "Save the eigenvalues of a symmetric matrix, which are real." if dtype.kind == "c" else SAVE
        raise InputError(
            "RA-SA-005", f"The file holds {display_name(kind)}, not real numbers.", hint=hint, where=where
        )
    if len(shape) != 1:
        raise InputError(
            "RA-SA-006",
            f"Expected a 1-D array, got shape {shape}.",
            hint=(
                "For a matrix, save the eigenvalues; for several samples, save one: "
                "numpy.save(path, values[0])."
            ),
            where=where,
        )
    start = file.tell()
    bytes_ = shape[0] * dtype.itemsize
    there = file.seek(0, 2) - start
    if there != bytes_:
        raise CorruptError(
            "RA-SA-004",
            f"The header announces {bytes_} bytes of values, but the file has {there}.",
            hint="Copy or save it again.",
            where=where,
        )
    if not bytes_:
        return np.empty(0)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, np.errstate(over="ignore"):
        view = np.frombuffer(mapped, dtype, shape[0], start)
        values = view.astype(np.float64)
        del view  # a map that is still looked at cannot be closed
    return values


def _header(file: BinaryIO, where: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Return shape and dtype; the file is then at its first value."""
    start = file.read(8)
    file.seek(0)
    try:
        if start[:6] != _MAGIC:
            raise ValueError("it does not begin as numpy.save writes")  # noqa: TRY301
        version = np.lib.format.read_magic(file)
        if version not in {(1, 0), (2, 0)}:  # 3.0 exists for names of fields alone
            raise ValueError(f"version {version[0]}.{version[1]}")  # noqa: TRY301
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        if any(size < 0 for size in shape):
            raise ValueError(f"a negative size in {shape}")  # noqa: TRY301
    # TokenError: numpy parses the headers of Python 2 anew, and lets it pass
    except (ValueError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError) as error:
        message = f"The file is not a .npy file: {display_name(str(error) or type(error).__name__)}."
        raise CorruptError("RA-SA-003", message, hint=SAVE, where=where) from None
    return shape, dtype


def _check(values: NDArray[np.float64], sign: Sign, where: str) -> None:
    if not values.size:
        raise InputError("RA-SA-007", "The file holds no values.", where=where)
    finite = np.isfinite(values)
    if not finite.all():
        first = int(np.argmin(finite))
        raise InputError(
            "RA-SA-008",
            f"{values.size - np.count_nonzero(finite)} of {values.size} values are not finite; "
            f"the first is number {first + 1}: {values[first]}.",
            hint="Find out where they come from before you remove them.",
            where=where,
        )
    if sign == "any":
        return
    wrong = values < 0 if sign == "nonnegative" else values <= 0
    if wrong.any():
        first = int(np.argmax(wrong))
        worst = float(values.min())
        kind = "negative" if sign == "nonnegative" else "zero or negative"
        hint = "If they are rounding errors of a positive matrix, set them to 0 or remove them."
        small = worst < 0 and math.fabs(worst) <= 1e-6 * float(values.max())
        raise InputError(
            "RA-SA-009",
            f"{np.count_nonzero(wrong)} of {values.size} values are {kind}; the first is number {first + 1}: "
            f"{values[first]:.6g}.",
            hint=hint if small or worst == 0 else "Only values of one sign are meaningful here.",
            where=where,
        )
