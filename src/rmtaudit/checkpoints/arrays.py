"""Numpy arrays inside a pickle: their dtype, state and bytes, as ``numpy`` writes them."""

from __future__ import annotations

from rmtaudit.checkpoints.inert import MalformedError, NumpyArray, NumpyDType, StoredTensor, integers
from rmtaudit.names import display_name

NUMPY_DTYPES = {
    "f2": "float16", "f4": "float32", "f8": "float64", "i1": "int8", "i2": "int16", "i4": "int32",
    "i8": "int64", "u1": "uint8", "u2": "uint16", "u4": "uint32", "u8": "uint64", "b1": "bool",
    "c8": "complex64", "c16": "complex128",
}  # fmt: skip
"""torch's name of a dtype, by numpy's kind and item size."""


def from_numpy(array: NumpyArray) -> StoredTensor:
    """Return the description of a numpy array whose bytes are inside the pickle."""
    code = array.dtype.code.lstrip("<>=|") if array.dtype is not None else ""
    order = array.dtype.order if array.dtype is not None else "="
    if array.dtype is not None and array.dtype.code[:1] in {"<", ">"}:
        order = array.dtype.code[0]
    dtype = NUMPY_DTYPES.get(code)
    if dtype is None or not array.known:
        reason = f"numpy dtype '{display_name(code, longest=20)}'" if array.known else "array without values"
        return StoredTensor(
            dtype=dtype or "object", shape=array.shape, stride=(), offset=0, data=None, unreadable=reason
        )
    stride = steps(array.shape, fortran=array.fortran)
    return StoredTensor(
        dtype=dtype, shape=array.shape, stride=stride, offset=0, data=array.data, big_endian=order == ">"
    )


def steps(shape: tuple[int, ...], *, fortran: bool) -> tuple[int, ...]:
    """Return the stride of an array in elements, first side fastest where ``fortran``."""
    strides, step = [], 1
    for size in shape if fortran else shape[::-1]:
        strides.append(step)
        step *= max(size, 1)
    return tuple(strides if fortran else strides[::-1])


def new_dtype(code: object, *_: object) -> NumpyDType:
    """Imitate ``numpy.dtype(code, …)``."""
    return NumpyDType(code if type(code) is str else "")


def array_of_buffer(
    data: object, dtype: object, shape: object, order: object = "C", *_: object
) -> NumpyArray:
    """Imitate ``numpy._core.numeric._frombuffer``."""
    if type(data) not in {bytes, bytearray} or type(dtype) is not NumpyDType:
        raise MalformedError("an array of something other than bytes")
    values = data if type(data) is bytes else bytes(data)  # type: ignore[call-overload]
    return NumpyArray(shape=integers(shape), dtype=dtype, fortran=order == "F", data=values, known=True)


def set_order(target: NumpyDType, state: object) -> None:
    """Imitate ``numpy.dtype.__setstate__``: only the byte order matters here."""
    if type(state) is tuple and len(state) >= 2 and state[1] in ("<", ">", "|", "="):
        target.order = state[1]


def fill_array(target: NumpyArray, state: object) -> None:
    """Imitate ``numpy.ndarray.__setstate__``. Raises ``MalformedError``."""
    if type(state) is not tuple or len(state) != 5:
        raise MalformedError("an array without its state")
    _, shape, dtype, fortran, data = state
    if type(shape) is not tuple or not all(type(size) is int and size >= 0 for size in shape):
        raise MalformedError("an array without a shape")
    if type(dtype) is not NumpyDType:
        raise MalformedError("an array without a dtype")
    if type(data) is str:  # Python 2 wrote bytes as text, and they happened to be UTF-8
        data = data.encode("utf-8", "surrogatepass")
    target.shape, target.dtype, target.fortran = shape, dtype, bool(fortran)
    target.data, target.known = (data, True) if type(data) is bytes else (b"", False)
