"""A reader for rmtaudit: `.npy` files, and folders of them, as checkpoints."""

from __future__ import annotations

import io
import math
import tokenize
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rmtaudit.errors import CorruptError, UnsafeError
from rmtaudit.names import display_name
from rmtaudit.plugins import Checkpoint, Contents, FileSource, Reader, TensorSpec

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 1 << 16
_READABLE = {"float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"}


@dataclass(frozen=True, slots=True)
class _Array:
    """Where one array lies, and what it is."""

    source: FileSource
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype
    by_columns: bool


class NpyReader(Reader):
    """Reads `.npy` files: each is one tensor, named as its file."""

    name = "npy"
    extensions = (".npy",)

    def recognises(self, contents: Contents) -> bool:
        """Whether a file begins as numpy's do, or a folder holds such files by their names."""
        if contents.folder:
            return any(name.endswith(".npy") for name in contents.names)
        return contents.head.startswith(_MAGIC)

    def open(self, path: Path) -> Checkpoint:
        """Open a file, or all `.npy` files of a folder; headers are checked, and nothing else is read."""
        files = sorted(path.glob("*.npy")) if path.is_dir() else [path]
        arrays: dict[str, _Array] = {}
        try:
            for file in files:
                if path.is_dir():
                    _check_contained(file, path)
                arrays[file.stem] = _array(file)
        except BaseException:
            for array in arrays.values():
                array.source.abandon()
            raise
        return NpyCheckpoint(path, arrays)


class NpyCheckpoint(Checkpoint):
    """Arrays in `.npy` files."""

    format = "npy"

    def __init__(self, path: Path, arrays: dict[str, _Array]) -> None:
        self.path = path
        self._arrays = arrays
        self.tensors = tuple(_spec(name, array) for name, array in arrays.items())

    def read(self, name: str) -> torch.Tensor:
        """Return the values of one array."""
        array = self._arrays[name]
        data = array.source.pread(array.offset, math.prod(array.shape) * array.dtype.itemsize)
        values = np.frombuffer(data, dtype=array.dtype).reshape(
            array.shape, order="F" if array.by_columns else "C"
        )
        native = values.astype(array.dtype.newbyteorder("="), order="C", copy=True)
        return torch.from_numpy(native)

    def check_unchanged(self) -> None:
        """Raise `ChangedError` if a file changed since it was opened."""
        for array in self._arrays.values():
            array.source.check_unchanged()

    def close(self) -> None:
        """Close the files; raises `ChangedError` if one changed since it was opened."""
        for array in self._arrays.values():
            array.source.close()


def _spec(name: str, array: _Array) -> TensorSpec:
    dtype = array.dtype.newbyteorder("=").name
    unreadable = None if dtype in _READABLE else f"dtype {display_name(dtype)}"
    return TensorSpec(name=name, shape=array.shape, dtype=dtype, unreadable=unreadable)


def _check_contained(file: Path, folder: Path) -> None:
    if not file.resolve().is_relative_to(folder.resolve()):
        raise UnsafeError("NPY-001", "is a link that leaves the folder.", where=file.name)


def _array(file: Path) -> _Array:
    source = FileSource(file)
    try:
        return _header(source)
    except BaseException:
        source.abandon()
        raise


def _header(source: FileSource) -> _Array:
    """Parse the header as data, and check it against the size of the file before memory is taken."""
    stream = io.BytesIO(source.pread(0, min(source.size, _LONGEST_HEADER)))
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy repairs headers of Python 2 with a warning
            version = np.lib.format.read_magic(stream)
            shape, by_columns, dtype = read[version](stream, max_header_size=_LONGEST_HEADER)
    except (ValueError, TypeError, KeyError, SyntaxError, MemoryError, Warning, tokenize.TokenError) as error:
        reason = display_name(f"{type(error).__name__}: {error}")
        raise CorruptError("NPY-002", f"a damaged header: {reason}.", where=source.where) from error
    if min(shape, default=0) < 0:
        raise CorruptError("NPY-002", f"a damaged header: the shape {shape}.", where=source.where)
    offset, needed = stream.tell(), math.prod(shape) * dtype.itemsize
    if offset + needed != source.size:
        raise CorruptError(
            "NPY-003",
            f"an array of {needed} bytes after a header of {offset}, in a file of {source.size}.",
            hint="Write the file again.",
            where=source.where,
        )
    return _Array(source, offset, shape, dtype, by_columns)
