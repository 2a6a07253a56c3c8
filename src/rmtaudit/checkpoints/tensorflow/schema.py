"""The messages of a frozen graph: ``GraphDef``, ``NodeDef``, ``AttrValue``, ``TensorProto``.

Field numbers are those of TensorFlow 2.20 (``tensorflow/core/framework/*.proto``). TensorFlow itself is not
needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from rmtaudit.checkpoints.graphs.messages import Codes, ConstantParser, Numbered, Span
from rmtaudit.checkpoints.graphs.model import Constant, Node, Scope
from rmtaudit.checkpoints.graphs.places import NARROW, Numbers
from rmtaudit.checkpoints.protobuf import BYTES, VARINT, Wire, tag, tags

DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 8: "complex64",
    9: "int64", 10: "bool", 11: "int8", 12: "uint8", 13: "int32", 14: "bfloat16", 15: "int16", 16: "uint16",
    17: "uint16", 18: "complex128", 19: "float16", 22: "uint32", 23: "uint64", 24: "float8_e5m2",
    25: "float8_e4m3fn", 29: "int4", 30: "uint4",
}  # fmt: skip
"""torch's name of the dtype, by ``DataType``: ``DT_QINT8`` … hold codes as plain integers do."""

_TYPED = {
    5: Numbered(stored="float32", dtypes=frozenset({"float32"})),
    6: Numbered(stored="float64", dtypes=frozenset({"float64"})),
    7: Numbered(stored="varint", dtypes=frozenset({"int32", "int16", "int8", "uint8", "uint16"})),
    9: Numbered(stored="float32", dtypes=frozenset({"complex64"})),
    10: Numbered(stored="varint", dtypes=frozenset({"int64"})),
    11: Numbered(stored="varint", dtypes=frozenset({"bool"})),
    12: Numbered(stored="float64", dtypes=frozenset({"complex128"})),
    13: Numbered(stored="varint", dtypes=frozenset({"float16", "bfloat16"})),
    16: Numbered(stored="varint", dtypes=frozenset({"uint32"})),
    17: Numbered(stored="varint", dtypes=frozenset({"uint64"})),
}
"""The typed fields of ``TensorProto``."""

_CODES = Codes(
    graph="RA-IN-176",
    shape="RA-IN-176",
    values="RA-IN-176",
    numbers="RA-IN-176",
    duplicate="RA-IN-177",
)
_VARIABLES = frozenset({"Variable", "VariableV2", "VarHandleOp", "TemporaryVariable"})
_NODES_CAP = 1_000_000
_LIST_CAP = 1 << 16  # numbers of an attribute
_REPEATED_CAP = 1 << 20
"""Most elements that one stored value may stand for: a vector of ones, not a file of nothing."""

_NODE, _LIBRARY = tags((1, 2))
_FUNCTION, _FUNCTION_NODE = tags((1, 3))
_NAME, _OPERATOR, _INPUT, _ATTRIBUTE = tags((1, 2, 3, 5))
_KEY, _VALUE = tags((1, 2))
_INTEGER, _BOOLEAN = tag(3, VARINT), tag(5, VARINT)
_LIST, _TENSOR = tags((1, 8))
_INTEGERS, _PACKED_INTEGERS = tag(3, VARINT), tag(3, BYTES)
_TYPE, _SHAPE, _CONTENT = tag(1, VARINT), tag(2, BYTES), tag(4, BYTES)
_SIDE, _LENGTH = tag(2, BYTES), tag(1, VARINT)

Nodes = list[tuple[str, str, tuple[str, ...], dict[str, Any]]]
"""Name, type, inputs and attributes of operators."""


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
        self._graph = Graph()
        self._count = 0
        self._constants = ConstantParser(wire, _CODES, _TYPED, fills=True)

    def graph(self) -> Graph:
        """Return the graph. Raises ``CorruptError`` where it breaks the format."""
        main = Scope()
        self._graph.scopes.append(main)
        nodes: Nodes = []
        for key, _, start, end in self._wire.fields(0, self._wire.source.size):
            if key == _NODE:
                self._node((start, end), main, nodes)
            elif key == _LIBRARY:
                self._library((start, end))
        _connect(main, nodes)
        return self._graph

    def _library(self, message: Span) -> None:
        for key, _, first, last in self._wire.fields(*message):
            if key != _FUNCTION:
                continue
            scope = Scope()
            self._graph.scopes.append(scope)
            nodes: Nodes = []
            for inner, _, start, end in self._wire.fields(first, last):
                if inner == _FUNCTION_NODE:
                    self._node((start, end), scope, nodes)
            _connect(scope, nodes)

    def _node(self, message: Span, scope: Scope, nodes: Nodes) -> None:
        self._count += 1
        if self._count > _NODES_CAP:
            raise self._constants.corrupt("RA-IN-176", f"more than {_NODES_CAP} operators")
        text = self._wire.text
        name = op = ""
        inputs: list[str] = []
        stored: list[Span] = []
        for key, _, start, end in self._wire.fields(*message):
            if key == _INPUT:
                inputs.append(_value_name(text(start, end)))
            elif key == _ATTRIBUTE:
                stored.append((start, end))
            elif key == _NAME:
                name = text(start, end)
            elif key == _OPERATOR:
                op = text(start, end)
        if op in _VARIABLES:
            self._graph.variables += 1
        attributes: dict[str, Any] = {}
        for each in stored:
            self._attribute(each, attributes, name if op == "Const" else None)
        constant = attributes.pop("value", None)
        if isinstance(constant, Constant):
            self._constants.add(constant, scope)
        else:
            values = tuple(value for value in inputs if not value.startswith("^"))
            nodes.append((name, op, values, attributes))

    def _attribute(self, message: Span, attributes: dict[str, Any], constant: str | None) -> None:
        """Parse an attribute: whole numbers, truth values, lists of numbers, and the tensor of ``Const``."""
        wire = self._wire
        name = ""
        content: Span | None = None
        for key, _, start, end in wire.fields(*message):
            if key == _KEY:
                name = wire.text(start, end)
            elif key == _VALUE:
                content = (start, end)
        if content is None:
            return
        for each in wire.fields(*content):
            key, _, start, end = each
            if key in {_INTEGER, _BOOLEAN}:
                attributes[name] = wire.varints(each, 1)[0]
            elif key == _LIST:
                numbers: list[int] = []
                for inner in wire.fields(start, end):
                    if inner[0] in {_INTEGERS, _PACKED_INTEGERS}:
                        numbers.extend(wire.varints(inner, _LIST_CAP))
                if numbers:
                    attributes[name] = tuple(numbers)
            elif key == _TENSOR and constant is not None and name == "value":
                attributes[name] = self._tensor((start, end), constant)

    def _tensor(self, message: Span, name: str) -> Constant:
        """Return a constant; its size is checked against the bytes that it has."""
        kind = 0
        sides: list[int] = []
        content: Span | None = None
        typed: dict[int, list[Span]] = {}
        for key, value, start, end in self._wire.fields(*message):
            if key == _TYPE:
                kind = value
            elif key == _SHAPE:
                sides = self._sides((start, end))
            elif end > start:
                if key == _CONTENT:
                    content = (start, end)
                elif key >> 3 in _TYPED:
                    typed.setdefault(key >> 3, []).append((start, end))
        shape = self._constants.shape(sides, name)
        dtype = DTYPES.get(kind)
        if dtype is None or dtype == "string":
            reason = "text" if dtype else f"data type {kind}, which rmtaudit does not know"
            return Constant(name=name, shape=shape, dtype=dtype or "string", unreadable=reason)
        place, unreadable = self._place(name, dtype, shape, content, typed)
        return Constant(name=name, shape=shape, dtype=dtype, place=place, unreadable=unreadable)

    def _place(
        self,
        name: str,
        dtype: str,
        shape: tuple[int, ...],
        content: Span | None,
        typed: dict[int, list[Span]],
    ) -> tuple[Any, str | None]:
        """Return where the values are, and why they cannot be read."""
        if content is not None and dtype in NARROW:  # a byte each
            return self._constants.place(name, "int8", shape, content, typed), f"dtype {dtype}"
        elements = math.prod(shape)
        if content is None:
            if not elements:
                return Numbers(()), None
            present = sum(end - start for spans in typed.values() for start, end in spans)
            if present < elements and elements > _REPEATED_CAP and len(typed) < 2:
                return None, f"one value stands for {elements} elements"
            if not typed:  # TensorFlow reads zeros
                return Numbers((0,) * elements), None
        return self._constants.place(name, dtype, shape, content, typed), None

    def _sides(self, message: Span) -> list[int]:
        sides: list[int] = []
        for key, _, start, end in self._wire.fields(*message):
            if key == _SIDE:
                size = 0
                for inner in self._wire.fields(start, end):
                    if inner[0] == _LENGTH:
                        size = self._wire.varints(inner, 1)[0]
                sides.append(size)
        return sides


def _value_name(written: str) -> str:
    """Return ``name`` for a first output, ``name:k`` for another; functions write ``name:argument:k``."""
    name, *ports = written.split(":")
    port = ports[-1] if ports and ports[-1].isdigit() else "0"
    return name if port == "0" else f"{name}:{port}"


def _connect(scope: Scope, nodes: Nodes) -> None:
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
