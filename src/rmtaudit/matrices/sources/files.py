"""Matrices in files: raw numbers in rows or columns (``.npy`` is that behind a header), and zarr arrays.

Nothing is mapped. A block is read straight into the memory that is waiting for it, so that a matrix may be
far larger than memory; how files are opened and guarded is the business of whoever hands over the bytes.
"""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rmtaudit.errors import CorruptError, InputError, UsageError
from rmtaudit.matrices.sources.arrays import EVERYTHING, check_finite, check_shape, declared_symmetry
from rmtaudit.matrices.sources.base import MatrixSource, Reach
from rmtaudit.matrices.sources.comparison import sampled_symmetry
from rmtaudit.matrices.sources.known import Known
from rmtaudit.matrices.tensors import ITEMSIZE

if TYPE_CHECKING:
    import numpy as np
    import torch

_STAGE = 1 << 20
"""Bytes of the stage through which values pass that are not native float64 in rows."""
_READABLE = frozenset(ITEMSIZE) - {"complex64", "complex128"}
_LONGEST_HEADER = 64 << 10
"""The longest header of version 1.0 of the format of NumPy, whose length has 16 bits."""


class Bytes(Protocol):
    """A file open for positional reads: ``checkpoints.files.FileSource`` is one."""

    size: int
    where: str
    snapshot: Any

    def pread(self, offset: int, length: int) -> bytearray | memoryview:
        """Return bytes in memory of their own."""

    def pread_rows(self, offset: int, stride: int, rows: memoryview) -> None:
        """Fill two-dimensional bytes from pieces that lie ``stride`` bytes apart."""

    def advise(self, offset: int, stride: int, length: int, count: int) -> None:
        """Have pieces read ahead."""

    def close(self) -> str:
        """Close; raises ``ChangedError`` if the file changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the numbers of a matrix lie in a file.

    Attributes
    ----------
    offset
        Byte of the first number.
    shape
        Rows and columns.
    dtype
        torch's name of the dtype.
    by_columns
        Fortran order.
    swapped
        Whether the bytes of a number are in the other order than this machine's.
    """

    offset: int
    shape: tuple[int, int]
    dtype: str
    by_columns: bool = False
    swapped: bool = False


class FileMatrix(MatrixSource):
    """A matrix of fixed-width numbers in a file.

    Parameters
    ----------
    file
        The open file; closed by :meth:`close`.
    layout
        Where the numbers are.
    name
        Printable.
    symmetric
        ``None`` presumes it from 64 sampled blocks of 32 x 32 that equal their mirror images; methods that
        rely on it compare the rest as they read it.

    Raises
    ------
    UsageError
        RA-MS-002, RA-MS-003, RA-MS-004 as :class:`~rmtaudit.matrices.sources.arrays.TensorSource`.
    CorruptError
        RA-MS-010: the file is shorter than the layout needs.
    """

    kind = "file"

    def __init__(self, file: Bytes, layout: Layout, name: str, *, symmetric: bool | None = None) -> None:
        check_shape(layout.shape, name)
        if layout.dtype not in _READABLE:
            raise UsageError("RA-MS-003", f"{name} holds {layout.dtype}, not real numbers.")
        self._file, self._layout = file, layout
        self._itemsize = ITEMSIZE[layout.dtype]
        self.name, self.shape, self.dtype = name, layout.shape, layout.dtype
        needed = layout.offset + layout.shape[0] * layout.shape[1] * self._itemsize
        if needed > file.size:
            raise CorruptError(
                "RA-MS-010",
                f"The file is truncated: a {layout.shape[0]} x {layout.shape[1]} matrix of "
                f"{layout.dtype} takes {needed:,} bytes with its header, but the file has "
                f"{file.size:,}.",
                hint="Copy or write the file again; for raw numbers, check shape and dtype.",
                where=file.where,
            )
        self.reach = EVERYTHING if self.square else EVERYTHING - {Reach.PRINCIPAL}
        self.by_columns = layout.by_columns
        self.stored_bytes = layout.shape[0] * layout.shape[1] * self._itemsize
        self.take_symmetry(declared_symmetry(symmetric, self.square, name) or sampled_symmetry(self))

    def known(self) -> Known:
        """Return that the entries are exact."""
        return Known(rounding=0.0)

    def block_into(self, rows: range, cols: range, out: torch.Tensor) -> None:
        """Read a block (see :meth:`MatrixSource.block_into`)."""
        if self._layout.by_columns:
            self._read(cols, rows, out.T)
        else:
            self._read(rows, cols, out)
        check_finite(self.name, out)

    def announce(self, rows: range, cols: range) -> None:
        """Have the kernel read a block ahead (see :meth:`MatrixSource.announce`)."""
        lines, cells = (cols, rows) if self._layout.by_columns else (rows, cols)
        start, stride, length = self._place(lines, cells)
        self._file.advise(start, stride, length, len(lines))

    def principal(self, indices: torch.Tensor) -> torch.Tensor:
        """Return a principal submatrix: runs of neighbouring columns are read together."""
        import torch

        if not self.square:
            raise self._unreachable(Reach.PRINCIPAL)
        order = torch.argsort(indices)
        wanted = indices[order]
        low, high = int(wanted[0]), int(wanted[-1]) + 1
        line = torch.empty((1, high - low), dtype=torch.float64)
        lines = torch.empty((len(wanted), len(wanted)), dtype=torch.float64)
        for place, index in enumerate(wanted.tolist()):
            self._read(range(index, index + 1), range(low, high), line)
            lines[place] = line[0, wanted - low]
        check_finite(self.name, lines)
        if self._layout.by_columns:
            lines = lines.T
        back = torch.argsort(order)
        return lines[back[:, None], back[None, :]]

    def fingerprint(self) -> str:
        """Return the fingerprint of samples, with the file's size and modification time."""
        facts = (self._file.size, self._file.snapshot.mtime_ns, self._layout)
        return f"{super().fingerprint()}:{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}"

    def close(self) -> None:
        """Close the file. Raises ``ChangedError`` if it changed."""
        self._file.close()

    def _place(self, lines: range, cells: range) -> tuple[int, int, int]:
        """Return the first byte of a block, the bytes from one line to the next, and those wanted of each."""
        stride = self.shape[0 if self._layout.by_columns else 1] * self._itemsize
        start = self._layout.offset + lines.start * stride + cells.start * self._itemsize
        return start, stride, len(cells) * self._itemsize

    def _read(self, lines: range, cells: range, out: torch.Tensor) -> None:
        """Read ``cells`` of ``lines``, the direction in which the numbers lie one after another."""
        import numpy as np

        size = self._itemsize
        start, stride, _ = self._place(lines, cells)
        if self.dtype == "float64" and not self._layout.swapped and out.is_contiguous():
            self._file.pread_rows(start, stride, _bytes_of(out.numpy()))
            return
        count = max(1, _STAGE // max(1, len(cells) * size))
        stage = np.empty((min(count, len(lines)), len(cells) * size), dtype=np.uint8)
        for first in range(0, len(lines), count):
            part = stage[: min(count, len(lines) - first)]
            self._file.pread_rows(start + first * stride, stride, _bytes_of(part))
            out[first : first + len(part)] = _decoded(part, self.dtype, self._layout.swapped)


class ZarrMatrix(MatrixSource):
    """A two-dimensional zarr array (the extra ``zarr``); chunks are decoded as they are needed.

    Parameters
    ----------
    array
        An opened ``zarr.Array``.
    name, symmetric
        As for :class:`FileMatrix`.
    """

    kind = "zarr"

    def __init__(self, array: Any, name: str, *, symmetric: bool | None = None) -> None:
        check_shape(tuple(array.shape), name)
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            raise UsageError("RA-MS-003", f"{name} holds {array.dtype}, not real numbers.")
        self._array = array
        self.name, self.dtype = name, array.dtype.newbyteorder("=").name
        self.shape = (int(array.shape[0]), int(array.shape[1]))
        self.stored_bytes = self.shape[0] * self.shape[1] * ITEMSIZE[self.dtype]
        self.reach = EVERYTHING if self.square else EVERYTHING - {Reach.PRINCIPAL}
        self.tile_side = min(2048, max(512, *(int(side) for side in array.chunks)))
        self.take_symmetry(declared_symmetry(symmetric, self.square, name) or sampled_symmetry(self))

    def known(self) -> Known:
        """Return that the entries are exact."""
        return Known(rounding=0.0)

    def block_into(self, rows: range, cols: range, out: torch.Tensor) -> None:
        """Decode a block (see :meth:`MatrixSource.block_into`), one row of chunks after the other."""
        step = max(1, int(self._array.chunks[0]))
        start = rows.start
        while start < rows.stop:
            stop = min(rows.stop, (start // step + 1) * step)
            piece = self._piece((slice(start, stop), slice(cols.start, cols.stop)))
            out.numpy()[start - rows.start : stop - rows.start] = piece
            start = stop
        check_finite(self.name, out)

    def principal(self, indices: torch.Tensor) -> torch.Tensor:
        """Return a principal submatrix."""
        import numpy as np
        import torch

        if not self.square:
            raise self._unreachable(Reach.PRINCIPAL)
        wanted = indices.numpy()
        submatrix = torch.from_numpy(np.asarray(self._array.oindex[wanted, wanted], dtype=np.float64))
        check_finite(self.name, submatrix)
        return submatrix

    def _piece(self, selection: tuple[slice, slice]) -> Any:
        try:
            return self._array[selection]
        except (OSError, ValueError, RuntimeError) as error:  # what a codec raises on a damaged chunk
            message = f"A chunk of {self.name} cannot be decoded: {type(error).__name__}: {error}"
            raise CorruptError("RA-MS-011", message, hint="Write the array again.") from error


def npy_layout(file: Bytes, name: str, *, offset: int = 0) -> Layout:
    """Return where the numbers of a ``.npy`` file lie; its header is parsed as data, never run.

    Raises
    ------
    CorruptError
        RA-MS-012: no header, or one that contradicts itself.
    UsageError
        RA-MS-002, RA-MS-003: not a matrix of real numbers; an array of Python objects is never unpickled.
    """
    head = bytes(file.pread(offset, min(12, max(0, file.size - offset))))
    if len(head) < 10 or head[:6] != b"\x93NUMPY" or head[6] not in (1, 2, 3):
        raise _bad_header(file, "it does not begin as an .npy file of version 1, 2 or 3 does")
    wide = head[6] > 1
    length = int.from_bytes(head[8 : 12 if wide else 10], "little")
    begin = offset + (12 if wide else 10)
    if length > _LONGEST_HEADER or begin + length > file.size:
        raise _bad_header(file, f"its header is announced as {length:,} bytes long")
    try:
        text = bytes(file.pread(begin, length)).decode("utf-8" if head[6] == 3 else "latin-1")
        header = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise _bad_header(file, "its header is not a dictionary") from error
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise _bad_header(file, "its header lacks descr, fortran_order or shape")
    shape, order, described = header["shape"], header["fortran_order"], header["descr"]
    if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape):
        raise _bad_header(file, "its shape is not a tuple of sizes")
    if not isinstance(order, bool):
        raise _bad_header(file, "its order is neither true nor false")
    check_shape(shape, name)
    dtype, swapped = _described(described, name)
    return Layout(
        offset=begin + length, shape=(shape[0], shape[1]), dtype=dtype, by_columns=order, swapped=swapped
    )


def _described(described: object, name: str) -> tuple[str, bool]:
    import numpy as np

    try:
        dtype = np.dtype(described) if isinstance(described, str) else None
    except (TypeError, ValueError):
        dtype = None
    if dtype is None or dtype.kind not in "fiub" or dtype.newbyteorder("=").name not in _READABLE:
        words = str(described)[:60]
        raise UsageError(
            "RA-MS-003", f"{name} holds {words!r}, not real numbers of at most 64 bits.", hint="Convert it."
        )
    return dtype.newbyteorder("=").name, not dtype.isnative


def _bad_header(file: Bytes, what: str) -> InputError:
    return CorruptError("RA-MS-012", f"{what}.", hint="Write the file again.", where=file.where)


def _bytes_of(array: np.ndarray[Any, Any]) -> memoryview:
    import numpy as np

    return memoryview(array.view(np.uint8).data)


def _decoded(raw: np.ndarray[Any, Any], dtype: str, swapped: bool) -> torch.Tensor:
    """Return rows of bytes as rows of float64."""
    import torch

    if swapped:
        raw = raw.reshape(len(raw), -1, ITEMSIZE[dtype])[:, :, ::-1].reshape(len(raw), -1).copy()
    return torch.from_numpy(raw).view(getattr(torch, dtype)).to(torch.float64)
