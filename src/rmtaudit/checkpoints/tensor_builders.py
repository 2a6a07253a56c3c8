"""The functions by which torch rebuilds tensors, imitated: they describe a tensor instead of building it.

The originals are in ``torch/_utils.py`` and ``torch/_tensor.py``.
"""

from __future__ import annotations

from collections.abc import Callable

from rmtaudit.checkpoints.inert import DType, MalformedError, Storage, StoredTensor, integers
from rmtaudit.matrices.tensors import ITEMSIZE


def tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> StoredTensor:
    """Imitate ``_rebuild_tensor_v2``."""
    if type(storage) is not Storage or type(offset) is not int:
        raise MalformedError("a tensor without a storage or an offset")
    dtype = storage.dtype or "uint8"
    shape, steps = integers(size), integers(stride)
    return StoredTensor(
        dtype=dtype, shape=shape, stride=steps, offset=offset, data=storage, unreadable=_no_such_dtype(dtype)
    )


def typed_tensor(
    storage: object,
    offset: object,
    size: object,
    stride: object,
    _grad: object,
    _hooks: object,
    dtype: object,
    *_: object,
) -> StoredTensor:
    """Imitate ``_rebuild_tensor_v3``."""
    if type(dtype) is not DType:
        raise MalformedError("a tensor whose dtype torch does not have")
    plain = tensor(storage, offset, size, stride)
    return StoredTensor(
        dtype=dtype.name,
        shape=plain.shape,
        stride=plain.stride,
        offset=plain.offset,
        data=plain.data,
        unreadable=_no_such_dtype(dtype.name),
    )


def _no_such_dtype(dtype: str) -> str | None:
    if dtype in ITEMSIZE:
        return None
    return f"quantised dtype {dtype}" if dtype.startswith("q") else f"dtype {dtype}"


def same(data: object, *_: object) -> object:
    """Imitate wrappers of a tensor: what they wrap is the answer."""
    return data


def quantised(storage: object, offset: object, size: object, stride: object, *_: object) -> StoredTensor:
    """Imitate ``_rebuild_qtensor``: the values are codes, which are not read."""
    plain = tensor(storage, offset, size, stride)
    reason = f"quantised tensor ({plain.dtype})"
    return StoredTensor(
        dtype=plain.dtype,
        shape=plain.shape,
        stride=plain.stride,
        offset=plain.offset,
        data=plain.data,
        unreadable=reason,
    )


def sparse(_layout: object, data: object, *_: object) -> StoredTensor:
    """Imitate ``_rebuild_sparse_tensor`` and its relative for compressed rows."""
    parts = data if type(data) is tuple else ()
    tensors = [part for part in parts if type(part) is StoredTensor]
    sizes = [part for part in parts if type(part) in {tuple, list}]
    dtype = tensors[-1].dtype if tensors else "float32"
    return StoredTensor(
        dtype=dtype,
        shape=integers(sizes[0]) if sizes else (),
        stride=(),
        offset=0,
        data=None,
        unreadable="sparse tensor",
    )


def nested(buffer: object, *_: object) -> StoredTensor:
    """Imitate ``_rebuild_nested_tensor``."""
    dtype = buffer.dtype if type(buffer) is StoredTensor else "float32"
    return StoredTensor(dtype=dtype, shape=(), stride=(), offset=0, data=None, unreadable="nested tensor")


def without_values(reason: str) -> Callable[..., StoredTensor]:
    """Return a builder of tensors that have a dtype and sizes, and no values for a reason."""

    def build(dtype: object, size: object, *_: object) -> StoredTensor:
        name = dtype.name if type(dtype) is DType else "float32"
        return StoredTensor(
            dtype=name, shape=integers(size), stride=(), offset=0, data=None, unreadable=reason
        )

    return build


def wrapper_subclass(_cls: object, dtype: object, size: object, *rest: object) -> StoredTensor:
    """Imitate ``_rebuild_wrapper_subclass``: the values are in the state of the object."""
    return without_values("tensor subclass without a storage")(dtype, size, *rest)
