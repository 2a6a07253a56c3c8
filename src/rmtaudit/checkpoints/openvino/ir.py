"""The XML of an OpenVINO model to a graph: operators, and which output feeds which input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from rmtaudit.checkpoints.files import FileSource
from rmtaudit.errors import CorruptError, UnsafeError

XML_CAP = 256 << 20
"""Largest graph in bytes."""

OPERATORS_CAP = 1_000_000
"""Most operators of a graph."""

_PIECE = 1 << 20
_DEPTH_CAP = 64


@dataclass(slots=True, kw_only=True)
class Operator:
    """One operator of the graph.

    Attributes
    ----------
    key
        Its number in its graph.
    name, type
        As in the file: ``"Constant_11"``, ``"Const"``.
    data
        Its attributes: ``element_type``, ``transpose_b`` …
    inputs
        Numbers of its input ports, in order.
    """

    key: str
    name: str
    type: str
    data: Mapping[str, str] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Graph:
    """A graph, or the body of a loop or a branch.

    Attributes
    ----------
    prefix
        Names of the operators that it is inside of.
    operators
        By number, in stored order.
    producers
        Number of the operator that feeds an input, by number of the operator and its port.
    """

    prefix: str
    operators: dict[str, Operator] = field(default_factory=dict)
    producers: dict[tuple[str, str], str] = field(default_factory=dict)

    def producer(self, operator: Operator, index: int) -> Operator | None:
        """Return the operator that feeds an input."""
        if index >= len(operator.inputs):
            return None
        key = self.producers.get((operator.key, operator.inputs[index]))
        return None if key is None else self.operators.get(key)


def parse(source: FileSource) -> list[Graph]:
    """Return the graph of a model and those inside it.

    Raises
    ------
    CorruptError
        It is not well formed, or not a graph.
    UnsafeError
        It declares entities or a document type, or is larger than a graph is.
    """
    if source.size > XML_CAP:
        raise UnsafeError(
            "RA-IN-202", f"The graph has {source.size} bytes; at most {XML_CAP} are read.", where=source.where
        )
    builder = _Builder(source.where)
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.StartDoctypeDeclHandler = builder.refuse
    parser.EntityDeclHandler = builder.refuse
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    try:
        for at in range(0, source.size, _PIECE):
            parser.Parse(bytes(source.pread(at, min(_PIECE, source.size - at))), False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise CorruptError(
            "RA-IN-200",
            f"The XML of the graph is damaged: {error}.",
            hint="Download it again.",
            where=source.where,
        ) from error
    return builder.graphs


class _Builder:
    """Handlers that build the graphs element by element; elements of other names are passed over."""

    def __init__(self, where: str) -> None:
        self.graphs: list[Graph] = []
        self._where = where
        self._open: list[str] = []
        self._scopes: list[Graph] = []
        self._operators: list[Operator] = []
        self._count = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take the beginning of an element."""
        parent = self._open[-1] if self._open else ""
        self._open.append(tag)
        if len(self._open) > _DEPTH_CAP:
            raise UnsafeError(
                "RA-IN-202", f"The XML elements are nested more than {_DEPTH_CAP} deep.", where=self._where
            )
        if not parent and tag != "net":
            self._corrupt(f"the root is '{tag[:40]}', not 'net'")
        if tag == "net" or (tag in {"body", "then_body", "else_body"} and parent == "layer"):
            prefix = "".join(f"{operator.name}/" for operator in self._operators)
            graph = Graph(prefix=prefix)
            self.graphs.append(graph)
            self._scopes.append(graph)
        elif tag == "layer" and parent == "layers":
            self._layer(attributes)
        elif tag == "data" and parent == "layer" and self._operators:
            self._operators[-1].data = attributes
        elif tag == "port" and parent == "input" and self._operators:
            self._operators[-1].inputs.append(attributes.get("id", ""))
        elif tag == "edge" and parent == "edges" and self._scopes:
            target = (attributes.get("to-layer", ""), attributes.get("to-port", ""))
            self._scopes[-1].producers[target] = attributes.get("from-layer", "")

    def end(self, tag: str) -> None:
        """Take the end of an element."""
        self._open.pop()
        parent = self._open[-1] if self._open else ""
        if tag == "layer" and parent == "layers" and self._operators:
            self._operators.pop()
        elif tag == "net" or (tag in {"body", "then_body", "else_body"} and parent == "layer"):
            self._scopes.pop()

    def refuse(self, *_: object) -> NoReturn:
        """Refuse a declaration."""
        raise UnsafeError(
            "RA-IN-203",
            "The XML of the graph declares a document type or entities, which no OpenVINO model does.",
            where=self._where,
        )

    def _layer(self, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > OPERATORS_CAP:
            raise UnsafeError(
                "RA-IN-202", f"The graph has more than {OPERATORS_CAP} operators.", where=self._where
            )
        key = attributes.get("id", "")
        operator = Operator(key=key, name=attributes.get("name", key), type=attributes.get("type", ""))
        graph = self._scopes[-1]
        if key in graph.operators:
            self._corrupt(f"two operators have the number '{key[:40]}'")
        graph.operators[key] = operator
        self._operators.append(operator)

    def _corrupt(self, fault: str) -> NoReturn:
        raise CorruptError("RA-IN-200", f"The graph is damaged: {fault}.", where=self._where)
