"""From the nested maps of a Flax file to a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.files import FileSource
from rmtaudit.checkpoints.flax.msgpack import StoredArray, Walker
from rmtaudit.checkpoints.lazy import LazyCheckpoint, LazyTensor, Load, Span
from rmtaudit.errors import CorruptError
from rmtaudit.matrices.tensors import ITEMSIZE, Role, TensorSpec, Use

if TYPE_CHECKING:
    import torch

_CHUNKED = "__msgpack_chunked_array__"
_OPTIMIZER = frozenset({"opt_state", "optimizer", "optimizer_state"})
_NO_WEIGHTS = {"bias": "bias", "scale": "scale of a normalisation", "mean": "statistic", "var": "statistic"}
_HEADS_IN = frozenset({"query", "key", "value"})
_KERNEL = {4: "HWIO", 5: "DHWIO"}

Path = tuple[str, ...]


def flax_checkpoint(source: FileSource, format: str) -> LazyCheckpoint:
    """Return the checkpoint of a file; the caller closes ``source`` if this raises.

    Raises
    ------
    CorruptError, UnsafeError
        As :meth:`rmtaudit.checkpoints.flax.msgpack.Walker.walk`; an array in chunks that do not fit together.
    """
    arrays = list(_arrays(Walker(source).walk(), (), source.where))
    state = [array for path, array in arrays if _OPTIMIZER & set(path[:2])]
    ours = {path: array for path, array in arrays if not _OPTIMIZER & set(path[:2])}
    warnings = []
    if state:
        count = sum(_count(pieces[0]) for pieces in state)
        warnings.append(f"{len(state)} arrays of the optimizer's state ({count} values) were skipped")
    names = _names(list(ours))
    tensors = [_tensor(source, names[path], path, ours) for path in ours]
    return LazyCheckpoint(source.path, format, [source], tensors, warnings)


def _arrays(item: object, path: Path, where: str) -> Iterator[tuple[Path, list[StoredArray]]]:
    """Yield every array: its whole, and its pieces after it where it is stored in some."""
    if isinstance(item, StoredArray):
        yield path, [item]
    elif isinstance(item, dict) and _CHUNKED in item:
        yield path, _chunked(item, "/".join(path), where)
    elif isinstance(item, dict):
        for key, value in item.items():
            yield from _arrays(value, (*path, key), where)
    elif isinstance(item, list):
        for index, value in enumerate(item):
            yield from _arrays(value, (*path, str(index)), where)


def _chunked(item: Mapping[str, object], name: str, where: str) -> list[StoredArray]:
    """Return an array in chunks as its whole, without a place, and its chunks."""
    shape, chunks = item.get("shape"), item.get("chunks")
    sizes = [shape.get(str(i)) for i in range(len(shape))] if isinstance(shape, dict) else None
    parts = [chunks.get(str(i)) for i in range(len(chunks))] if isinstance(chunks, dict) else []
    pieces = [part for part in parts if isinstance(part, StoredArray)]
    known = sizes is not None and all(type(size) is int and size >= 0 for size in sizes)
    dtypes = {piece.dtype for piece in pieces}
    if not known or not pieces or len(pieces) < len(parts) or len(dtypes) != 1:
        raise CorruptError(
            "RA-IN-162", f"The array '{name}' is in chunks without a shape or values.", where=where
        )
    whole = StoredArray(
        dtype=dtypes.pop(),
        shape=tuple(int(size) for size in sizes or () if type(size) is int),
        offset=0,
        nbytes=sum(piece.nbytes for piece in pieces),
    )
    if _count(whole) != sum(_count(piece) for piece in pieces):
        raise CorruptError(
            "RA-IN-162", f"The chunks of '{name}' do not fill its shape {whole.shape}.", where=where
        )
    return [whole, *pieces]


def _count(array: StoredArray) -> int:
    result = 1
    for size in array.shape:
        result *= size
    return result


def _names(paths: list[Path]) -> dict[Path, str]:
    """Return unique names: paths without the collection ``params``."""
    short = {path: "/".join(_unwrapped(path)) for path in paths}
    if len(set(short.values())) < len(short):
        short = {path: "/".join(path) for path in paths}
    seen: set[str] = set()
    for path, name in short.items():
        while name in seen:  # keys may hold the separator themselves
            name += "'"
        seen.add(name)
        short[path] = name
    return short


def _unwrapped(path: Path) -> Path:
    while len(path) > 1 and path[0] in {"params", "model"}:
        path = path[1:]
    return path


def _tensor(
    source: FileSource, name: str, path: Path, arrays: Mapping[Path, list[StoredArray]]
) -> LazyTensor:
    pieces = arrays[path]
    whole = pieces[0]
    role, shape = _present(path, whole.shape, arrays)
    known = whole.dtype in ITEMSIZE
    spec = TensorSpec(
        name=name,
        shape=shape,
        dtype=whole.dtype if known else "uint8",
        unreadable=None if known else f"numpy dtype '{whole.dtype[:20]}'",
        role=role,
    )
    if not known:
        return LazyTensor(spec=spec, values=None)
    if len(pieces) > 1:
        return LazyTensor(spec=spec, values=_together(source, pieces[1:], shape))
    span = Span(source=source, offset=whole.offset, dtype=whole.dtype, shape=shape)
    return LazyTensor(spec=spec, values=span)


def _together(source: FileSource, pieces: list[StoredArray], shape: tuple[int, ...]) -> Load:
    def load() -> torch.Tensor:
        import torch

        spans = [
            Span(source=source, offset=piece.offset, dtype=piece.dtype, shape=piece.shape) for piece in pieces
        ]
        return torch.cat([span.load().flatten() for span in spans]).reshape(shape)

    return load


def _present(
    path: Path, shape: tuple[int, ...], arrays: Mapping[Path, list[StoredArray]]
) -> tuple[Role | None, tuple[int, ...]]:
    """Return the role of an array by Flax's names, and the shape in which it is presented.

    Attention keeps its heads apart, inputs x heads x width; they are put side by side as outputs.
    """
    leaf, rank = path[-1] if path else "", len(shape)
    if leaf in _NO_WEIGHTS and (rank < 2 or leaf == "bias"):
        return Role(use=Use.NONE, reason=_NO_WEIGHTS[leaf]), shape
    if path[:1] == ("batch_stats",):
        return Role(use=Use.NONE, reason="statistic"), shape
    if leaf == "embedding" and rank == 2:
        return Role(use=Use.EMBEDDING, axes="OI"), shape
    if leaf != "kernel":
        return None, shape
    if rank == 2:
        return Role(use=Use.DENSE, axes="IO"), shape
    if rank in _KERNEL:
        return Role(use=Use.CONVOLUTION, axes=_KERNEL[rank]), shape
    parent = path[-2] if len(path) > 1 else ""
    if rank == 3 and parent in _HEADS_IN:
        return Role(use=Use.DENSE, axes="IO"), (shape[0], shape[1] * shape[2])
    if rank == 3 and parent == "out" and (*path[:-2], "query", "kernel") in arrays:
        return Role(use=Use.DENSE, axes="IO"), (shape[0] * shape[1], shape[2])
    return None, shape
