"""Arrays in archives: numpy's ``.npz``, dense or a sparse matrix of scipy's, and zarr."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.engine.resources.memory import free_memory
from rmtaudit.engine.sources.words import SEPARATOR, choose, no_name, printed
from rmtaudit.errors import CorruptError, InputError, UsageError
from rmtaudit.matrices.sources import MatrixSource, SparseMatrix, TensorSource, ZarrMatrix
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import numpy as np

_SPARSE_MEMBERS = frozenset({"data", "indices", "indptr", "row", "col", "shape", "format"})
_LONGEST_HEADER = 64 << 10


def open_npz(path: Path, name: str, symmetric: bool | None) -> MatrixSource:
    """Open an array of a ``.npz`` archive, or the sparse matrix that it is; held in memory.

    Raises
    ------
    CorruptError
        RA-MS-012, RA-MS-013: it cannot be read.
    InputError
        RA-MS-015: a member is larger than memory.
    UsageError
        RA-MS-034: no such array, or several.
    """
    where = printed(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {Path(item.filename).stem: item for item in archive.infolist()}
            if not name and {"data", "shape", "format"} <= set(members):
                wanted = _SPARSE_MEMBERS & set(members)
                arrays = {key: _member(archive, members[key], where) for key in wanted}
                return SparseMatrix(_sparse(arrays, where), where, symmetric=symmetric)
            chosen = choose(name, sorted(members), where, "array")
            array = _member(archive, members[chosen], where)
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError) as error:
        raise CorruptError(
            "RA-MS-012",
            f"the archive cannot be read: {display_name(str(error)) or type(error).__name__}.",
            hint="Make it again; arrays of Python objects are never read.",
            where=where,
        ) from error
    return TensorSource(array, f"{where}{SEPARATOR}{display_name(chosen)}", symmetric=symmetric)


def open_zarr(path: Path, name: str, symmetric: bool | None) -> MatrixSource:
    """Open an array of a zarr folder; its chunks stay on disk.

    Raises
    ------
    UsageError
        RA-MS-033: the extra ``zarr`` is not installed. RA-MS-034: no such array, or several.
    CorruptError
        RA-MS-011: it cannot be opened.
    """
    where = printed(path)
    try:
        import zarr
    except ImportError as error:
        raise UsageError(
            "RA-MS-033", "zarr is not installed.", hint="pip install 'rmtaudit[zarr]'", where=where
        ) from error
    try:
        found: Any = zarr.open(str(path), mode="r")
        if isinstance(found, zarr.Group):
            name = choose(name, sorted(str(key) for key, _ in found.arrays()), where, "array")
            found = found[name]
        else:
            no_name(path, name)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        message = f"no zarr array can be opened: {display_name(str(error))}."
        raise CorruptError("RA-MS-011", message, where=where) from error
    return ZarrMatrix(
        found, f"{where}{SEPARATOR}{display_name(name)}" if name else where, symmetric=symmetric
    )


def is_npz(path: Path) -> bool:
    """Whether a zip archive holds nothing but arrays of numpy's."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return path.suffix.lower() == ".npz"
    return bool(names) and all(name.endswith(".npy") and "/" not in name for name in names)


def array_of(data: bytes) -> np.ndarray[Any, Any]:
    """Return the array of the bytes of an ``.npy`` file, of any shape; a view of them.

    Raises
    ------
    ValueError
        Not of that format, of Python objects, or of another size than its header says.
    """
    import numpy as np

    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of the format is not read")
    shape, by_columns, dtype = readers[version](stream, max_header_size=_LONGEST_HEADER)
    if dtype.hasobject:
        raise ValueError("an array of Python objects")
    start = stream.tell()
    if math.prod(shape) * dtype.itemsize != len(data) - start:
        raise ValueError(f"{len(data) - start} bytes for an array of shape {shape} and type {dtype}")
    array = np.frombuffer(data, dtype=dtype, offset=start)
    return array.reshape(shape, order="F" if by_columns else "C")


def _member(archive: zipfile.ZipFile, item: zipfile.ZipInfo, where: str) -> np.ndarray[Any, Any]:
    """Return one array, if what the archive announces fits in memory."""
    if item.file_size > free_memory() // 3:
        raise InputError(
            "RA-MS-015",
            f"the array '{display_name(item.filename)}' takes {item.file_size:,} bytes unpacked: too many.",
            hint="Save it as an .npy file, which is read in pieces.",
            where=where,
        )
    with archive.open(item) as file:
        data = file.read(item.file_size + 1)
    return array_of(data)


def _sparse(arrays: dict[str, np.ndarray[Any, Any]], where: str) -> Any:
    import scipy.sparse

    kind = arrays["format"].item() if arrays["format"].size == 1 else ""
    kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
    builders = {"csr": scipy.sparse.csr_array, "csc": scipy.sparse.csc_array, "coo": scipy.sparse.coo_array}
    if kind not in builders:
        raise UsageError(
            "RA-MS-013",
            f"a sparse matrix in the format {display_name(kind, longest=20)!r}.",
            hint="Save it in compressed rows: scipy.sparse.save_npz(path, matrix.tocsr()).",
            where=where,
        )
    try:
        shape = tuple(int(side) for side in arrays["shape"].ravel())
        if len(shape) != 2 or min(shape) < 1 or max(shape) > 1 << 40:
            raise ValueError(f"its shape is {shape[:4]}")  # noqa: TRY301
        if kind == "coo":
            return scipy.sparse.coo_array((arrays["data"], (arrays["row"], arrays["col"])), shape=shape)
        found = builders[kind]((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
        found.check_format(full_check=True)  # scipy's C code trusts the indices; those of a file are not safe
    except (ValueError, TypeError, IndexError, KeyError) as error:
        message = f"the sparse format is broken: {display_name(str(error))}."
        raise CorruptError("RA-MS-013", message, where=where) from error
    return found
