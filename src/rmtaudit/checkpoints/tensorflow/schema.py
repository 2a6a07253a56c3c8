"""The messages of a frozen graph: ``GraphDef``, ``NodeDef``, ``AttrValue``, ``TensorProto``.

Field numbers are those of TensorFlow 2.20 (``tensorflow/core/framework/*.proto``). TensorFlow itself is not
needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from rmtaudit.checkpoints.graphs.model import Constant, Node, Scope
from rmtaudit.checkpoints.graphs.places import Numbers, Raw, Typed, bytes_of
from rmtaudit.checkpoints.protobuf import BYTES, FIXED32, FIXED64, VARINT, Field, Wire
from rmtaudit.errors import CorruptError, UnsafeError
from rmtaudit.names import display_name

DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 8: "complex64",
    9: "int64", 10: "bool", 11: "int8", 12: "uint8", 13: "int32", 14: "bfloat16", 15: "int16", 16: "uint16",
    17: "uint16", 18: "complex128", 19: "float16", 22: "uint32", 23: "uint64", 24: "float8_e5m2",
    25: "float8_e4m3fn", 29: "int4", 30: "uint4",
}  # fmt: skip
"""torch's name of the dtype, by ``DataType``: ``DT_QINT8`` … hold codes as plain integers do."""

_TYPED = {
    5: ("float32", 4, ("float32",)),
    6: ("float64", 8, ("float64",)),
    7: ("varint", 0, ("int32", "int16", "int8", "uint8", "uint16")),
    9: ("float32", 8, ("complex64",)),
    10: ("varint", 0, ("int64",)),
    11: ("varint", 0, ("bool",)),
    12: ("float64", 16, ("complex128",)),
    13: ("varint", 0, ("float16", "bfloat16")),
    16: ("varint", 0, ("uint32",)),
    17: ("varint", 0, ("uint64",)),
}
"""How a numeric field of ``TensorProto`` is stored, bytes an element (0: as many as it needs), dtypes."""

_VARIABLES = frozenset({"Variable", "VariableV2", "VarHandleOp", "TemporaryVariable"})
_NODES_CAP = 1_000_000
_DIMENSIONS_CAP = 64
_REPEATED_CAP = 1 << 20
"""Most elements that one stored value may stand for: a vector of ones, not a file of nothing."""


@dataclass(slots=True, kw_only=True)
class Graph:
    """What was parsed: the graph and the bodies of its functions, and how many variables have no values."""

    scopes: list[Scope] = field(default_factory=list)
    variables: int = 0


class Parser:
    """Parses one file.

    Parameters
    ----------
    wire
        The file.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._where = wire.source.where
        self._graph = Graph()
        self._count = 0

    def graph(self) -> Graph:
        """Return the graph. Raises ``CorruptError`` where it breaks the format."""
        main = Scope()
        self._graph.scopes.append(main)
        nodes: list[tuple[str, str, tuple[str, ...], dict[str, Any]]] = []
        for each in self._wire.fields(0, self._wire.source.size):
            if each.number == 1 and each.kind == BYTES:
                self._node(each, main, nodes)
            elif each.number == 2 and each.kind == BYTES:
                self._library(each)
        _connect(main, nodes)
        return self._graph

    def _library(self, message: Field) -> None:
        for function in self._wire.fields(message.start, message.end):
            if function.number != 1 or function.kind != BYTES:
                continue
            scope = Scope()
            self._graph.scopes.append(scope)
            nodes: list[tuple[str, str, tuple[str, ...], dict[str, Any]]] = []
            for each in self._wire.fields(function.start, function.end):
                if each.number == 3 and each.kind == BYTES:
                    self._node(each, scope, nodes)
            _connect(scope, nodes)

    def _node(
        self, message: Field, scope: Scope, nodes: list[tuple[str, str, tuple[str, ...], dict[str, Any]]]
    ) -> None:
        self._count += 1
        if self._count > _NODES_CAP:
            raise self._corrupt("RA-IN-176", f"more than {_NODES_CAP} operators")
        name = op = ""
        inputs: list[str] = []
        stored: list[Field] = []
        for each in self._wire.fields(message.start, message.end):
            if each.kind != BYTES:
                continue
            if each.number == 1:
                name = self._wire.text(each)
            elif each.number == 2:
                op = self._wire.text(each)
            elif each.number == 3:
                inputs.append(_value_name(self._wire.text(each)))
            elif each.number == 5:
                stored.append(each)
        if op in _VARIABLES:
            self._graph.variables += 1
        attributes: dict[str, Any] = {}
        for each in stored:
            self._attribute(each, attributes, name if op == "Const" else None)
        constant = attributes.pop("value", None)
        if isinstance(constant, Constant):
            if name in scope.constants:
                raise UnsafeError(
                    "RA-IN-177",
                    f"two constants are called '{display_name(name)}'.",
                    hint="Do not trust the file.",
                    where=self._where,
                )
            scope.constants[name] = constant
        else:
            values = tuple(value for value in inputs if not value.startswith("^"))
            nodes.append((name, op, values, attributes))

    def _attribute(self, message: Field, attributes: dict[str, Any], constant: str | None) -> None:
        """Parse an attribute: whole numbers, truth values, lists of numbers, and the tensor of ``Const``."""
        key = ""
        value: Field | None = None
        for each in self._wire.fields(message.start, message.end):
            if each.kind == BYTES and each.number == 1:
                key = self._wire.text(each)
            elif each.kind == BYTES and each.number == 2:
                value = each
        if value is None:
            return
        for each in self._wire.fields(value.start, value.end):
            if each.number in {3, 5} and each.kind == VARINT:
                attributes[key] = self._wire.varints(each, 1)[0]
            elif each.number == 1 and each.kind == BYTES:
                numbers: list[int] = []
                for inner in self._wire.fields(each.start, each.end):
                    if inner.number == 3 and inner.kind in {VARINT, BYTES}:
                        numbers.extend(self._wire.varints(inner, 1 << 16))
                if numbers:
                    attributes[key] = tuple(numbers)
            elif each.number == 8 and each.kind == BYTES and constant is not None and key == "value":
                attributes[key] = self._tensor(each, constant)

    def _tensor(self, message: Field, name: str) -> Constant:
        """Return a constant; its size is checked against the bytes that it has."""
        kind = 0
        sides: list[int] = []
        content: Field | None = None
        typed: dict[int, list[tuple[int, int]]] = {}
        for each in self._wire.fields(message.start, message.end):
            number = each.number
            if number == 1 and each.kind == VARINT:
                kind = each.value
            elif number == 2 and each.kind == BYTES:
                sides = self._sides(each, name)
            elif number == 4 and each.kind == BYTES and each.end > each.start:
                content = each
            elif (
                number in _TYPED and each.kind in {VARINT, BYTES, FIXED32, FIXED64} and each.end > each.start
            ):
                typed.setdefault(number, []).append((each.start, each.end))
        shape = tuple(sides)
        if math.prod(max(1, side) for side in shape) >= 1 << 62:
            raise self._corrupt("RA-IN-176", f"tensor '{display_name(name)}': its shape overflows")
        dtype = DTYPES.get(kind)
        if dtype is None or dtype == "string":
            reason = "text" if dtype else f"data type {kind}, which rmtaudit does not know"
            return Constant(name=name, shape=shape, dtype=dtype or "string", unreadable=reason)
        constant = Constant(name=name, shape=shape, dtype=dtype)
        place, unreadable = self._place(constant, content, typed)
        return Constant(name=name, shape=shape, dtype=dtype, place=place, unreadable=unreadable)

    def _place(
        self, constant: Constant, content: Field | None, typed: dict[int, list[tuple[int, int]]]
    ) -> tuple[Any, str | None]:
        elements = constant.elements
        if content is not None:
            needed = bytes_of("int8" if constant.dtype in {"int4", "uint4"} else constant.dtype, elements)
            if content.end - content.start != needed or typed:
                raise self._corrupt(
                    "RA-IN-176",
                    f"tensor '{display_name(constant.name)}': {content.end - content.start} bytes of values "
                    f"at position {content.start}, but its shape needs {needed}",
                )
            unreadable = f"dtype {constant.dtype}" if constant.dtype in {"int4", "uint4"} else None
            return Raw(self._wire.source, content.start, needed), unreadable
        if not elements:
            return Numbers(()), None
        if len(typed) > 1:
            raise self._corrupt("RA-IN-176", f"tensor '{display_name(constant.name)}': values of two types")
        present = sum(end - start for spans in typed.values() for start, end in spans)
        if present < elements and elements > _REPEATED_CAP:
            return None, f"one value stands for {elements} elements"
        if not typed:  # TensorFlow reads zeros
            return Numbers((0,) * elements), None
        (number, spans), *_ = typed.items()
        stored, size, dtypes = _TYPED[number]
        fits = present <= size * elements and present % size == 0 if size else present <= 10 * elements
        if constant.dtype not in dtypes or not fits:
            raise self._corrupt(
                "RA-IN-176",
                f"tensor '{display_name(constant.name)}': {present} bytes of numbers in field {number} for "
                f"{elements} of {constant.dtype}",
            )
        place = Typed(
            source=self._wire.source, spans=tuple(spans), stored=stored, code="RA-IN-176", fills=True
        )
        return place, None

    def _sides(self, message: Field, name: str) -> list[int]:
        sides: list[int] = []
        for each in self._wire.fields(message.start, message.end):
            if each.number == 2 and each.kind == BYTES:
                size = 0
                for inner in self._wire.fields(each.start, each.end):
                    if inner.number == 1 and inner.kind == VARINT:
                        size = self._wire.varints(inner, 1)[0]
                sides.append(size)
        if len(sides) > _DIMENSIONS_CAP or any(side < 0 for side in sides):
            raise self._corrupt(
                "RA-IN-176",
                f"tensor '{display_name(name)}': {len(sides)} sides, or one of negative length",
            )
        return sides

    def _corrupt(self, code: str, fault: str) -> CorruptError:
        return CorruptError(code, f"{fault}.", hint="Re-download it.", where=self._where)


def _value_name(written: str) -> str:
    """Return ``name`` for a first output, ``name:k`` for another; functions write ``name:argument:k``."""
    name, *ports = written.split(":")
    port = ports[-1] if ports and ports[-1].isdigit() else "0"
    return name if port == "0" else f"{name}:{port}"


def _connect(scope: Scope, nodes: list[tuple[str, str, tuple[str, ...], dict[str, Any]]]) -> None:
    """Add operators with the outputs that others take: a node does not say how many it has."""
    last: dict[str, int] = {}
    for _, _, inputs, _ in nodes:
        for value in inputs:
            name, _, port = value.partition(":")
            if port:
                last[name] = max(last.get(name, 0), min(int(port), 1 << 10))
    for name, op, inputs, attributes in nodes:
        outputs = (name, *(f"{name}:{port}" for port in range(1, last.get(name, 0) + 1)))
        scope.nodes.append(Node(op=op, inputs=inputs, outputs=outputs, attributes=attributes))
