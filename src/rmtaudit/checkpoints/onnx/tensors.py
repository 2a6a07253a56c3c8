"""The message of a tensor, ``TensorProto`` of ``onnx.proto3``: where its values are, and how many."""

from __future__ import annotations

from rmtaudit.checkpoints.graphs.messages import DIMENSIONS_CAP, Codes, ConstantParser, Numbered, Span
from rmtaudit.checkpoints.graphs.model import Constant, Scope
from rmtaudit.checkpoints.onnx.external import Location, external_location
from rmtaudit.checkpoints.protobuf import VARINT, Wire, tag, tags

DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128",
    16: "bfloat16", 17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz",
    21: "uint4", 22: "int4", 23: "float4_e2m1fn", 24: "float8_e8m0fnu", 25: "uint2", 26: "int2",
}  # fmt: skip
"""torch's name of the dtype, by ``TensorProto.DataType``."""

_TYPED = {
    4: Numbered(stored="float32", dtypes=frozenset({"float32", "complex64"})),
    5: Numbered(
        stored="varint",
        dtypes=frozenset(
            {"int32", "int16", "int8", "uint16", "uint8", "bool", "float16", "bfloat16", "float8_e4m3fn",
             "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "int4", "uint4", "int2",
             "uint2", "float4_e2m1fn"}
        ),
    ),
    7: Numbered(stored="varint", dtypes=frozenset({"int64"})),
    10: Numbered(stored="float64", dtypes=frozenset({"float64", "complex128"})),
    11: Numbered(stored="varint", dtypes=frozenset({"uint32", "uint64"})),
}  # fmt: skip
"""The typed fields of ``TensorProto``."""

_CODES = Codes(
    graph="RA-IN-121",
    shape="RA-IN-123",
    values="RA-IN-124",
    numbers="RA-IN-125",
    duplicate="RA-IN-126",
)
_NAME, _RAW, _ENTRY = tags((8, 9, 13))
_TYPE, _LOCATION = tag(2, VARINT), tag(14, VARINT)
_SPARSE_VALUES, _KEY, _TEXT = tags((1, 1, 2))
_DIMS, _SPARSE_DIMS = 1, 3
_EXTERNAL = 1
"""Of ``TensorProto.DataLocation``: the values are in another file."""


class TensorParser(ConstantParser):
    """Parses the tensors of one file.

    Parameters
    ----------
    wire
        The file.
    locations
        Where tensors whose values are in other files are noted.
    """

    def __init__(self, wire: Wire, locations: list[tuple[Scope, str, Location]]) -> None:
        super().__init__(wire, _CODES, _TYPED)
        self._wire = wire
        self._locations = locations

    def tensor(self, message: Span, scope: Scope, name: str = "") -> Constant:
        """Return a tensor; its size is checked against where its values are said to be."""
        wire = self._wire
        dims: list[int] = []
        kind = location = 0
        raw: Span | None = None
        typed: dict[int, list[Span]] = {}
        external: dict[str, str] = {}
        for field in wire.fields(*message):
            key, value, start, end = field
            number = key >> 3
            if number == _DIMS:
                dims.extend(wire.varints(field, DIMENSIONS_CAP))
            elif key == _TYPE:
                kind = value
            elif key == _RAW:
                raw = (start, end)
            elif key == _NAME:
                name = name or wire.text(start, end)
            elif number in _TYPED:
                if end > start:
                    typed.setdefault(number, []).append((start, end))
            elif key == _ENTRY:
                self._entry((start, end), external)
            elif key == _LOCATION:
                location = value
        shape = self.shape(dims, name)
        dtype = DTYPES.get(kind)
        if dtype is None:
            raise self.corrupt("RA-IN-123", f"data type {kind}, which ONNX does not define", name)
        if dtype == "string":
            return Constant(name=name, shape=shape, dtype=dtype, unreadable="text")
        if location == _EXTERNAL:
            self._locations.append((scope, name, external_location(external, name, wire.source.where)))
            return Constant(name=name, shape=shape, dtype=dtype)
        return Constant(name=name, shape=shape, dtype=dtype, place=self.place(name, dtype, shape, raw, typed))

    def sparse(self, message: Span, name: str) -> Constant:
        """Return a sparse tensor: its values are not read, its shape is."""
        dims: list[int] = []
        dtype = "float32"
        for field in self._wire.fields(*message):
            key, _, start, end = field
            if key >> 3 == _SPARSE_DIMS:
                dims.extend(self._wire.varints(field, DIMENSIONS_CAP))
            elif key == _SPARSE_VALUES:
                values = self.tensor((start, end), Scope())
                name, dtype = name or values.name, values.dtype
        return Constant(name=name, shape=self.shape(dims, name), dtype=dtype, unreadable="sparse tensor")

    def _entry(self, message: Span, entries: dict[str, str]) -> None:
        key = value = ""
        for field, _, start, end in self._wire.fields(*message):
            if field == _KEY:
                key = self._wire.text(start, end)
            elif field == _TEXT:
                value = self._wire.text(start, end)
        entries[key] = value
