"""The message of a tensor, ``TensorProto`` of ``onnx.proto3``: where its values are, and how many."""

from __future__ import annotations

import math

from rmtaudit.checkpoints.graphs.model import Constant, Scope
from rmtaudit.checkpoints.graphs.places import Numbers, Raw, Typed, bytes_of
from rmtaudit.checkpoints.onnx.external import Location, external_location
from rmtaudit.checkpoints.protobuf import BYTES, FIXED32, FIXED64, VARINT, Field, Wire
from rmtaudit.errors import CorruptError
from rmtaudit.names import display_name

DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128",
    16: "bfloat16", 17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz",
    21: "uint4", 22: "int4", 23: "float4_e2m1fn", 24: "float8_e8m0fnu", 25: "uint2", 26: "int2",
}  # fmt: skip
"""torch's name of the dtype, by ``TensorProto.DataType``."""

_DIMENSIONS_CAP = 64
_TYPED = {4: "float32", 5: "varint", 7: "varint", 10: "float64", 11: "varint"}
_TYPED_OF = {
    4: ("float32", "complex64"),
    5: ("int32", "int16", "int8", "uint16", "uint8", "bool", "float16", "bfloat16", "float8_e4m3fn",
        "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "int4", "uint4", "int2",
        "uint2", "float4_e2m1fn"),
    7: ("int64",),
    10: ("float64", "complex128"),
    11: ("uint32", "uint64"),
}  # fmt: skip


class TensorParser:
    """Parses the tensors of one file.

    Parameters
    ----------
    wire
        The file.
    locations
        Where tensors whose values are in other files are noted.
    """

    def __init__(self, wire: Wire, locations: list[tuple[Scope, str, Location]]) -> None:
        self._wire = wire
        self._where = wire.source.where
        self._locations = locations

    def tensor(self, message: Field, scope: Scope, name: str = "") -> Constant:
        """Return a tensor; its size is checked against where its values are said to be."""
        dims: list[int] = []
        kind = location = 0
        raw: Field | None = None
        typed: dict[int, list[tuple[int, int]]] = {}
        external: dict[str, str] = {}
        for each in self._wire.fields(message.start, message.end):
            number = each.number
            if number == 1:
                dims.extend(self._wire.varints(each, _DIMENSIONS_CAP))
            elif number == 2 and each.kind == VARINT:
                kind = each.value
            elif number == 8 and each.kind == BYTES and not name:
                name = self._wire.text(each)
            elif number == 9 and each.kind == BYTES:
                raw = each
            elif number in _TYPED and each.kind in {VARINT, BYTES, FIXED32, FIXED64}:
                if each.end > each.start:
                    typed.setdefault(number, []).append((each.start, each.end))
            elif number == 13 and each.kind == BYTES:
                self._entry(each, external)
            elif number == 14 and each.kind == VARINT:
                location = each.value
        shape = self._shape(dims, name)
        dtype = DTYPES.get(kind)
        if dtype is None:
            raise self.corrupt("RA-IN-123", f"data type {kind}, which ONNX does not define", name)
        if dtype == "string":
            return Constant(name=name, shape=shape, dtype=dtype, unreadable="text")
        constant = Constant(name=name, shape=shape, dtype=dtype)
        if location == 1:
            self._locations.append((scope, name, external_location(external, name, self._where)))
            return constant
        place = self._place(constant, raw, typed)
        return Constant(name=name, shape=shape, dtype=dtype, place=place)

    def _place(
        self, constant: Constant, raw: Field | None, typed: dict[int, list[tuple[int, int]]]
    ) -> Raw | Typed | Numbers:
        """Return where the values are, checked against how many there should be."""
        needed = bytes_of(constant.dtype, constant.elements)
        if raw is not None:
            if raw.end - raw.start != needed or typed:
                fault = f"{raw.end - raw.start} bytes of values, but its shape needs {needed}"
                raise self.corrupt("RA-IN-124", fault, constant.name, raw.start)
            return Raw(self._wire.source, raw.start, needed)
        if not typed:
            if constant.elements:
                raise self.corrupt(
                    "RA-IN-124", f"no values, but its shape needs {needed} bytes", constant.name
                )
            return Numbers(())
        (number, spans), *more = typed.items()
        present = sum(end - start for start, end in spans)
        count = (
            needed
            if constant.dtype in {"int4", "uint4", "int2", "uint2", "float4_e2m1fn"}
            else constant.elements
        )
        stored = _TYPED[number]
        enough = count <= present <= 10 * count if stored == "varint" else present == needed
        if more or constant.dtype not in _TYPED_OF[number] or not enough:
            fault = (
                f"{present} bytes of numbers in field {number} for {constant.elements} of {constant.dtype}"
            )
            raise self.corrupt("RA-IN-124", fault, constant.name, spans[0][0])
        return Typed(source=self._wire.source, spans=tuple(spans), stored=stored, code="RA-IN-125")

    def sparse(self, message: Field, name: str) -> Constant:
        """Return a sparse tensor: its values are not read, its shape is."""
        dims: list[int] = []
        dtype = "float32"
        for each in self._wire.fields(message.start, message.end):
            if each.number == 3:
                dims.extend(self._wire.varints(each, _DIMENSIONS_CAP))
            elif each.number == 1 and each.kind == BYTES:
                values = self.tensor(each, Scope())
                name, dtype = name or values.name, values.dtype
        return Constant(name=name, shape=self._shape(dims, name), dtype=dtype, unreadable="sparse tensor")

    def _entry(self, message: Field, entries: dict[str, str]) -> None:
        key = value = ""
        for each in self._wire.fields(message.start, message.end):
            if each.kind == BYTES and each.number == 1:
                key = self._wire.text(each)
            elif each.kind == BYTES and each.number == 2:
                value = self._wire.text(each)
        entries[key] = value

    def _shape(self, dims: list[int], name: str) -> tuple[int, ...]:
        if len(dims) > _DIMENSIONS_CAP or any(side < 0 for side in dims):
            raise self.corrupt("RA-IN-123", f"{len(dims)} sides, or one of negative length", name)
        if math.prod(max(1, side) for side in dims) >= 1 << 62:
            raise self.corrupt("RA-IN-123", "its shape overflows", name)
        return tuple(dims)

    def corrupt(
        self, code: str, fault: str, name: str | None = None, position: int | None = None
    ) -> CorruptError:
        """Return the error for a fault of a tensor, or of the whole."""
        tensor = "" if name is None else f"tensor '{display_name(name)}': "
        at = "" if position is None else f" (at position {position})"
        return CorruptError(code, f"{tensor}{fault}{at}.", hint="Re-download it.", where=self._where)
