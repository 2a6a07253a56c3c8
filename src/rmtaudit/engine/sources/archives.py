"""Arrays in archives: numpy's ``.npz``, dense or a sparse matrix of scipy's, and zarr."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.npz.reader import NpyReader, NpzReader
from rmtaudit.engine.resources.memory import free_memory
from rmtaudit.engine.sources.words import SEPARATOR, choose, no_name, printed
from rmtaudit.errors import ChangedError, CorruptError, InputError, UnsafeError, UsageError
from rmtaudit.matrices.sources import MatrixSource, SparseMatrix, TensorSource, ZarrMatrix
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import numpy as np

    from rmtaudit.checkpoints.npz.tensors import NumpyCheckpoint

_SPARSE_MEMBERS = frozenset({"data", "indices", "indptr", "row", "col", "shape", "format"})


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
    with _opened(NpzReader(), path, where) as checkpoint:
        names = {spec.name for spec in checkpoint.tensors}
        if not name and {"data", "shape", "format"} <= names:
            arrays = {key: _array(checkpoint, key, where) for key in sorted(_SPARSE_MEMBERS & names)}
            return SparseMatrix(_sparse(arrays, where), where, symmetric=symmetric)
        chosen = choose(name, sorted(names), where, "array")
        array = _array(checkpoint, chosen, where)
    return TensorSource(array, f"{where}{SEPARATOR}{display_name(chosen)}", symmetric=symmetric)


def read_npy(path: Path) -> np.ndarray[Any, Any]:
    """Return the array of an ``.npy`` file, of any shape. Raises as :func:`open_npz`."""
    where = printed(path)
    with _opened(NpyReader(), path, where) as checkpoint:
        (spec,) = checkpoint.tensors
        return _array(checkpoint, spec.name, where)


def read_npz(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Return every array of a ``.npz`` archive, of any shape, by name. Raises as :func:`open_npz`."""
    where = printed(path)
    with _opened(NpzReader(), path, where) as checkpoint:
        return {spec.name: _array(checkpoint, spec.name, where) for spec in checkpoint.tensors}


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
            "RA-MS-033",
            "The package zarr is not installed.",
            hint="pip install 'rmtaudit[zarr]'",
            where=where,
        ) from error
    try:
        found: Any = zarr.open(str(path), mode="r")
        if isinstance(found, zarr.Group):
            name = choose(name, sorted(str(key) for key, _ in found.arrays()), where, "array")
            found = found[name]
        else:
            no_name(path, name)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        message = f"The zarr array cannot be opened: {display_name(str(error))}."
        raise CorruptError("RA-MS-011", message, where=where) from error
    return ZarrMatrix(
        found, f"{where}{SEPARATOR}{display_name(name)}" if name else where, symmetric=symmetric
    )


def _opened(reader: NpzReader | NpyReader, path: Path, where: str) -> NumpyCheckpoint:
    try:
        return reader.open(path)
    except (CorruptError, UnsafeError) as error:
        raise _unreadable(error, where) from error


def _array(checkpoint: NumpyCheckpoint, name: str, where: str) -> np.ndarray[Any, Any]:
    """Return one array, if what its header announces fits in memory."""
    size = checkpoint.stored_size(name)
    if size > free_memory() // 3:
        raise InputError(
            "RA-MS-015",
            f"The array '{display_name(name)}' takes {size:,} bytes when unpacked, which is too large.",
            hint="Save it as an .npy file, which is read in pieces.",
            where=where,
        )
    try:
        return checkpoint.array(name)
    except ChangedError:
        raise
    except InputError as error:
        raise _unreadable(error, where) from error


def _unreadable(error: InputError, where: str) -> CorruptError:
    return CorruptError(
        "RA-MS-012",
        f"The array cannot be read: {error.message}",
        hint="Create it again; arrays of Python objects are never read.",
        where=where,
    )


def _sparse(arrays: dict[str, np.ndarray[Any, Any]], where: str) -> Any:
    import scipy.sparse

    kind = arrays["format"].item() if arrays["format"].size == 1 else ""
    kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
    builders = {"csr": scipy.sparse.csr_array, "csc": scipy.sparse.csc_array, "coo": scipy.sparse.coo_array}
    if kind not in builders:
        raise UsageError(
            "RA-MS-013",
            f"The file holds a sparse matrix in the format {display_name(kind, longest=20)!r}, "
            "which is not read.",
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
        message = f"The sparse matrix breaks its format: {display_name(str(error))}."
        raise CorruptError("RA-MS-013", message, where=where) from error
    return found
