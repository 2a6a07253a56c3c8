"""Constants of an OpenVINO model: where their values lie, checked against the file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from rmtaudit.checkpoints.openvino.ir import Operator
from rmtaudit.errors import CorruptError
from rmtaudit.matrices.tensors import ITEMSIZE
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import torch

    from rmtaudit.checkpoints.files import FileSource

_TYPES = {
    "f64": "float64", "f32": "float32", "f16": "float16", "bf16": "bfloat16",
    "f8e4m3": "float8_e4m3fn", "f8e5m2": "float8_e5m2", "f8e8m0": "float8_e8m0fnu",
    "i64": "int64", "i32": "int32", "i16": "int16", "i8": "int8",
    "u64": "uint64", "u32": "uint32", "u16": "uint16", "u8": "uint8", "boolean": "bool",
}  # fmt: skip
_HALF_BYTES = frozenset({"i4", "u4", "nf4", "f4e2m1"})
_BITS = {"u1": 1, "u2": 2, "u3": 3, "u6": 6} | dict.fromkeys(_HALF_BYTES, 4)
_LARGEST = 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A constant.

    Attributes
    ----------
    element_type
        As the file says it: ``"f16"``, ``"u4"`` …
    dtype
        torch's name of the dtype of the values that :meth:`load` returns; ``""`` where it has none.
    shape
        Sizes.
    offset, size
        Position and number of its bytes in the ``.bin``.
    """

    element_type: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int

    @property
    def elements(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def codes(self) -> bool:
        """Whether the values are codes of a quantised weight, if they belong to a weight at all."""
        return self.element_type in _BITS or self.element_type in {"i8", "u8", "f8e4m3", "f8e5m2"}

    def load(self, weights: FileSource) -> torch.Tensor:
        """Return the values: CPU, contiguous; four-bit integers as int8."""
        from rmtaudit.checkpoints.values import tensor_from_bytes

        data = weights.pread(self.offset, self.size)
        if self.element_type not in _HALF_BYTES:
            return tensor_from_bytes(data, self.dtype, self.shape)
        import torch

        packed = tensor_from_bytes(data, "uint8", (self.size,)).to(torch.int8)
        halves = torch.stack((packed & 15, packed >> 4 & 15), dim=-1).flatten()[: self.elements]
        if self.element_type == "i4":
            halves = torch.where(halves > 7, halves - 16, halves)
        return halves.reshape(self.shape)


def constant(operator: Operator, weights: FileSource) -> Constant:
    """Return the constant of a ``Const`` operator.

    Raises
    ------
    CorruptError
        Its attributes are no numbers, do not fit each other, or leave the file.
    """
    data = operator.data
    kind = data.get("element_type", "")
    shape = tuple(
        _number(operator, weights, part, "shape") for part in data.get("shape", "").split(",") if part.strip()
    )
    offset = _number(operator, weights, data.get("offset", ""), "offset")
    size = _number(operator, weights, data.get("size", ""), "size")
    dtype = _TYPES.get(kind, "int8" if kind in {"i4", "u4"} else "")
    bits = 8 * ITEMSIZE[dtype] if kind in _TYPES else _BITS.get(kind, 0)
    elements = math.prod(shape)
    if elements >= _LARGEST:
        _corrupt(operator, weights, f"its shape {shape} has too many values")
    if bits and size != -(-elements * bits // 8):
        _corrupt(
            operator,
            weights,
            f"{size} bytes, but {elements} values of {kind} need {-(-elements * bits // 8)}",
        )
    if offset + size > weights.size:
        _corrupt(operator, weights, f"bytes {offset} to {offset + size} of a file of {weights.size} bytes")
    return Constant(element_type=kind, dtype=dtype, shape=shape, offset=offset, size=size)


def _number(operator: Operator, weights: FileSource, text: str, what: str) -> int:
    digits = text.strip()
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        _corrupt(operator, weights, f"its {what} '{display_name(digits, longest=40)}' is not a number")
    return int(digits)


def _corrupt(operator: Operator, weights: FileSource, fault: str) -> NoReturn:
    raise CorruptError(
        "RA-IN-204",
        f"Constant '{display_name(operator.name)}': {fault}.",
        hint=(
            "The .xml and the .bin file may belong to different models, or the download may be incomplete."
        ),
        where=weights.where,
    )
