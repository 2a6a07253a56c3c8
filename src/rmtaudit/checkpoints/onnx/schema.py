"""The messages of ``onnx.proto3`` that weights need: model, graph, operator, attribute, tensor.

Field numbers and types are those of ONNX 1.23 (``onnx/onnx.proto3``, IR version 13). The file is walked by
position: values stay where they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rmtaudit.checkpoints.graphs.messages import CONSTANTS_CAP, Span
from rmtaudit.checkpoints.graphs.model import Constant, Node, Scope
from rmtaudit.checkpoints.graphs.places import Numbers, Typed
from rmtaudit.checkpoints.onnx.external import Location
from rmtaudit.checkpoints.onnx.tensors import TensorParser
from rmtaudit.checkpoints.protobuf import BYTES, FIXED32, VARINT, Wire, tag, tags
from rmtaudit.errors import CorruptError

DEEPEST = 64
"""Most graphs inside one another."""

_TEXT_CAP = 256  # bytes of an attribute that is a text
_SETTING_CAP = 128  # bytes of an attribute that is remembered

_PRODUCER, _MODEL_GRAPH, _MODEL_FUNCTION = tags((2, 7, 25))
_TRAINING = 20
_GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_ANNOTATION, _GRAPH_SPARSE = tags((1, 5, 14, 15))
_FUNCTION_NAME, _FUNCTION_INPUT, _FUNCTION_OUTPUT, _FUNCTION_NODE, _FUNCTION_DOMAIN, _FUNCTION_OVERLOAD = (
    tags((1, 4, 5, 7, 10, 13))
)
_INPUT, _OUTPUT, _OPERATOR, _ATTRIBUTE, _DOMAIN, _OVERLOAD = tags((1, 2, 4, 5, 7, 8))
_NAME, _TEXT, _TENSOR, _GRAPH, _TENSORS, _GRAPHS, _SPARSE, _SPARSES = tags((1, 4, 5, 6, 10, 11, 22, 23))
_INTEGER, _INTEGERS, _PACKED_INTEGERS = tag(3, VARINT), tag(8, VARINT), tag(8, BYTES)
_FLOATS = frozenset(tag(number, kind) for number in (2, 7) for kind in (FIXED32, BYTES))
_ANNOTATED, _ANNOTATION = tags((1, 2))
_KEY, _VALUE = tags((1, 2))


@dataclass(slots=True, kw_only=True, eq=False)
class Function:
    """A function of the model: its formal inputs and outputs, and its body."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    body: Scope


@dataclass(slots=True, kw_only=True, eq=False)
class Model:
    """What was parsed.

    Attributes
    ----------
    scopes
        The graph, the bodies of its operators in their order, and those of functions.
    functions
        By domain and name, as an operator writes them.
    locations
        Of constants in other files, by constant.
    producer
        Who wrote the file.
    annotations
        Names of scale and zero point, by the tensor that they are stated for.
    warnings
        What is odd.
    """

    scopes: list[Scope] = field(default_factory=list)
    functions: dict[str, Function] = field(default_factory=dict)
    locations: list[tuple[Scope, str, Location]] = field(default_factory=list)
    producer: str = ""
    annotations: dict[str, tuple[str, str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Parser:
    """Parses one file.

    Parameters
    ----------
    wire
        The file.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._model = Model()
        self._unnamed = 0
        self._tensors = TensorParser(wire, self._model.locations)
        self._settings: dict[bytes, dict[str, Any]] = {}

    def model(self) -> Model:
        """Return the model. Raises ``CorruptError`` where it breaks the format."""
        graphs = 0
        for key, _, start, end in self._wire.fields(0, self._wire.source.size):
            if key == _PRODUCER:
                self._model.producer = self._wire.text(start, end)
            elif key == _MODEL_GRAPH:
                graphs += 1
                self._graph((start, end), None, 0)
            elif key == _MODEL_FUNCTION:
                self._function((start, end))
            elif key >> 3 == _TRAINING:
                self._model.warnings.append("what the file holds for further training was not read")
        if graphs != 1:
            raise self._tensors.corrupt("RA-IN-121", f"the file has {graphs} graphs; a model has one")
        return self._model

    def _graph(self, message: Span, parent: Scope | None, depth: int) -> None:
        if depth > DEEPEST:
            raise CorruptError(
                "RA-IN-122",
                f"Graphs are nested more than {DEEPEST} deep.",
                hint="Do not trust the file.",
                where=self._wire.source.where,
            )
        scope = Scope(parent=parent)
        self._model.scopes.append(scope)
        for key, _, start, end in self._wire.fields(*message):
            if key == _GRAPH_NODE:
                self._node((start, end), scope, depth)
            elif key == _GRAPH_TENSOR:
                self._tensors.add(self._tensors.tensor((start, end), scope), scope)
            elif key == _GRAPH_SPARSE:
                self._tensors.add(self._tensors.sparse((start, end), ""), scope)
            elif key == _GRAPH_ANNOTATION:
                self._annotation((start, end))

    def _function(self, message: Span) -> None:
        name = domain = overload = ""
        inputs: list[str] = []
        outputs: list[str] = []
        scope = Scope()
        self._model.scopes.append(scope)
        for key, _, start, end in self._wire.fields(*message):
            if key == _FUNCTION_NODE:
                self._node((start, end), scope, 1)
            elif key == _FUNCTION_NAME:
                name = self._wire.text(start, end)
            elif key == _FUNCTION_INPUT:
                inputs.append(self._wire.text(start, end))
            elif key == _FUNCTION_OUTPUT:
                outputs.append(self._wire.text(start, end))
            elif key == _FUNCTION_DOMAIN:
                domain = self._wire.text(start, end)
            elif key == _FUNCTION_OVERLOAD:
                overload = self._wire.text(start, end)
        function = Function(inputs=tuple(inputs), outputs=tuple(outputs), body=scope)
        self._model.functions[operator_name(domain, name, overload)] = function

    def _node(self, message: Span, scope: Scope, depth: int) -> None:
        text = self._wire.text
        inputs: list[str] = []
        outputs: list[str] = []
        op = domain = overload = ""
        stored: list[Span] = []
        for key, _, start, end in self._wire.fields(*message):
            if key == _INPUT:
                inputs.append(text(start, end))
            elif key == _OUTPUT:
                outputs.append(text(start, end))
            elif key == _ATTRIBUTE:
                stored.append((start, end))
            elif key == _OPERATOR:
                op = text(start, end)
            elif key == _DOMAIN:
                domain = text(start, end)
            elif key == _OVERLOAD:
                overload = text(start, end)
        name = operator_name(domain, op, overload)
        attributes: dict[str, Any] = {}
        if name == "Constant":
            for each in stored:
                self._attribute(each, attributes, scope, depth, outputs)
            return
        scope.nodes.append(Node(op=name, inputs=tuple(inputs), outputs=tuple(outputs), attributes=attributes))
        for each in stored:
            self._setting(each, attributes, scope, depth)

    def _setting(self, message: Span, attributes: dict[str, Any], scope: Scope, depth: int) -> None:
        """Parse an attribute of an operator; many operators have the same small ones, parsed once."""
        start, end = message
        if end - start > _SETTING_CAP:
            self._attribute(message, attributes, scope, depth, [])
            return
        stored = self._wire.content(start, end, _SETTING_CAP)
        known = self._settings.get(stored)
        if known is None:
            known = {}
            if self._attribute(message, known, scope, depth, []):
                self._settings[stored] = known
        attributes.update(known)

    def _attribute(
        self, message: Span, attributes: dict[str, Any], scope: Scope, depth: int, outputs: list[str]
    ) -> bool:
        """Parse an attribute: small numbers, bodies, and, of ``Constant``, its tensor.

        Returns
        -------
        bool
            Whether it is only numbers and text: no body and no tensor, which are parts of the model.
        """
        wire, tensors = self._wire, self._tensors
        name = ""
        integers: list[int] = []
        floats: list[Span] = []
        plain = True
        for each in wire.fields(*message):
            key, _, start, end = each
            if key == _NAME:
                name = wire.text(start, end)
            elif key == _INTEGER:
                attributes[name] = wire.varints(each, 1)[0]
            elif key in {_INTEGERS, _PACKED_INTEGERS}:
                integers.extend(wire.varints(each, CONSTANTS_CAP))
            elif key in _FLOATS:
                floats.append((start, end))
            elif key == _TEXT and end - start <= _TEXT_CAP:
                attributes[name] = wire.text(start, end)
            elif key in {_GRAPH, _GRAPHS}:
                plain = False
                self._graph((start, end), scope, depth + 1)
            elif key in {_TENSOR, _TENSORS}:
                plain = False
                tensor = tensors.tensor((start, end), scope, outputs[0] if outputs else "")
                if outputs:
                    tensors.add(tensor, scope)
                else:
                    self._add_unnamed(tensor, name, scope)
            elif key in {_SPARSE, _SPARSES}:
                plain = False
                tensors.add(tensors.sparse((start, end), outputs[0] if outputs else ""), scope)
        if integers:
            attributes[name] = tuple(integers)
        if outputs and name in {"value_int", "value_ints"}:
            numbers = attributes.get(name)
            values = numbers if isinstance(numbers, tuple) else (numbers or 0,)
            shape = (len(values),) if name == "value_ints" else ()
            place: Any = Numbers(values)
            tensors.add(Constant(name=outputs[0], shape=shape, dtype="int64", place=place), scope)
        elif outputs and floats and name in {"value_float", "value_floats"}:
            count = sum(end - start for start, end in floats) // 4
            shape = () if name == "value_float" and count == 1 else (count,)
            place = Typed(source=wire.source, spans=tuple(floats), stored="float32", code="RA-IN-125")
            tensors.add(Constant(name=outputs[0], shape=shape, dtype="float32", place=place), scope)
        return plain

    def _annotation(self, message: Span) -> None:
        """Parse a ``TensorAnnotation``: which tensors are the scale and the zero point of a tensor."""
        tensor = ""
        parameters: dict[str, str] = {}
        for key, _, start, end in self._wire.fields(*message):
            if key == _ANNOTATED:
                tensor = self._wire.text(start, end)
            elif key == _ANNOTATION:
                entry = {
                    inner: self._wire.text(first, last)
                    for inner, _, first, last in self._wire.fields(start, end)
                    if inner in {_KEY, _VALUE}
                }
                parameters[entry.get(_KEY, "")] = entry.get(_VALUE, "")
        if "SCALE_TENSOR" in parameters:
            self._model.annotations[tensor] = (
                parameters["SCALE_TENSOR"],
                parameters.get("ZERO_POINT_TENSOR", ""),
            )

    def _add_unnamed(self, tensor: Constant, attribute: str, scope: Scope) -> None:
        """Add the tensor of an attribute of any operator but ``Constant``: nobody can name it."""
        if tensor.elements > 1 and tensor.dtype != "string":
            self._unnamed += 1
            label = f"{tensor.name or attribute}#{self._tensors.count + self._unnamed}"
            self._tensors.add(
                Constant(name=label, shape=tensor.shape, dtype=tensor.dtype, place=tensor.place), scope
            )


def operator_name(domain: str, name: str, overload: str = "") -> str:
    """Return the name of an operator, with its domain where that is not the default one."""
    label = name if domain in {"", "ai.onnx"} else f"{domain}::{name}"
    return f"{label}:{overload}" if overload else label
