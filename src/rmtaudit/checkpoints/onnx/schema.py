"""The messages of ``onnx.proto3`` that weights need: model, graph, operator, attribute, tensor.

Field numbers and types are those of ONNX 1.23 (``onnx/onnx.proto3``, IR version 13). The file is walked by
position: values stay where they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rmtaudit.checkpoints.graphs.model import Constant, Node, Scope
from rmtaudit.checkpoints.graphs.places import Numbers, Typed
from rmtaudit.checkpoints.onnx.external import Location
from rmtaudit.checkpoints.onnx.tensors import TensorParser
from rmtaudit.checkpoints.protobuf import BYTES, FIXED32, VARINT, Field, Wire
from rmtaudit.errors import CorruptError, UnsafeError
from rmtaudit.names import display_name

DEEPEST = 64
"""Most graphs inside one another."""
_TENSORS_CAP = 1_000_000


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
        self._where = wire.source.where
        self._model = Model()
        self._tensors = 0
        self._tensors_of = TensorParser(wire, self._model.locations)

    def model(self) -> Model:
        """Return the model. Raises ``CorruptError`` where it breaks the format."""
        graphs = 0
        for each in self._wire.fields(0, self._wire.source.size):
            if each.number == 2 and each.kind == BYTES:
                self._model.producer = self._wire.text(each)
            elif each.number == 7 and each.kind == BYTES:
                graphs += 1
                self._graph(each, None, 0)
            elif each.number == 25 and each.kind == BYTES:
                self._function(each)
            elif each.number == 20:
                self._model.warnings.append("what the file holds for further training was not looked at")
        if graphs != 1:
            raise self._tensors_of.corrupt("RA-IN-121", f"{graphs} graphs; a model has one")
        return self._model

    def _graph(self, message: Field, parent: Scope | None, depth: int) -> None:
        if depth > DEEPEST:
            raise CorruptError(
                "RA-IN-122",
                f"graphs are nested more than {DEEPEST} deep.",
                hint="Do not trust the file.",
                where=self._where,
            )
        scope = Scope(parent=parent)
        self._model.scopes.append(scope)
        for each in self._wire.fields(message.start, message.end):
            if each.kind != BYTES:
                continue
            if each.number == 1:
                self._node(each, scope, depth)
            elif each.number == 5:
                self._add(self._tensors_of.tensor(each, scope), scope)
            elif each.number == 15:
                self._add(self._tensors_of.sparse(each, ""), scope)
            elif each.number == 14:
                self._annotation(each)

    def _function(self, message: Field) -> None:
        name = domain = overload = ""
        inputs: list[str] = []
        outputs: list[str] = []
        scope = Scope()
        self._model.scopes.append(scope)
        for each in self._wire.fields(message.start, message.end):
            if each.kind != BYTES:
                continue
            if each.number == 1:
                name = self._wire.text(each)
            elif each.number == 4:
                inputs.append(self._wire.text(each))
            elif each.number == 5:
                outputs.append(self._wire.text(each))
            elif each.number == 7:
                self._node(each, scope, 1)
            elif each.number == 10:
                domain = self._wire.text(each)
            elif each.number == 13:
                overload = self._wire.text(each)
        function = Function(inputs=tuple(inputs), outputs=tuple(outputs), body=scope)
        self._model.functions[operator_name(domain, name, overload)] = function

    def _node(self, message: Field, scope: Scope, depth: int) -> None:
        inputs: list[str] = []
        outputs: list[str] = []
        op = domain = overload = ""
        stored: list[Field] = []
        for each in self._wire.fields(message.start, message.end):
            if each.kind != BYTES:
                continue
            if each.number == 1:
                inputs.append(self._wire.text(each))
            elif each.number == 2:
                outputs.append(self._wire.text(each))
            elif each.number == 4:
                op = self._wire.text(each)
            elif each.number == 7:
                domain = self._wire.text(each)
            elif each.number == 8:
                overload = self._wire.text(each)
            elif each.number == 5:
                stored.append(each)
        name = operator_name(domain, op, overload)
        attributes: dict[str, Any] = {}
        if name != "Constant":
            scope.nodes.append(
                Node(op=name, inputs=tuple(inputs), outputs=tuple(outputs), attributes=attributes)
            )
        for each in stored:
            self._attribute(each, attributes, scope, depth, outputs if name == "Constant" else [])

    def _attribute(
        self, message: Field, attributes: dict[str, Any], scope: Scope, depth: int, outputs: list[str]
    ) -> None:
        """Parse an attribute: small numbers, bodies, and, of ``Constant``, its tensor."""
        name = ""
        integers: list[int] = []
        floats: list[tuple[int, int]] = []
        for each in self._wire.fields(message.start, message.end):
            if each.number == 1 and each.kind == BYTES:
                name = self._wire.text(each)
            elif each.number == 3 and each.kind == VARINT:
                attributes[name] = self._wire.varints(each, 1)[0]
            elif each.number == 8 and each.kind in {VARINT, BYTES}:
                integers.extend(self._wire.varints(each, _TENSORS_CAP))
            elif each.number in {2, 7} and each.kind in {FIXED32, BYTES}:
                floats.append((each.start, each.end))
            elif each.number == 4 and each.kind == BYTES and each.end - each.start <= 256:
                attributes[name] = self._wire.text(each)
            elif each.number in {6, 11} and each.kind == BYTES:
                self._graph(each, scope, depth + 1)
            elif each.number in {5, 10} and each.kind == BYTES:
                tensor = self._tensors_of.tensor(each, scope, outputs[0] if outputs else "")
                if outputs:
                    self._add(tensor, scope)
                else:
                    self._add_attribute(tensor, name, scope)
            elif each.number in {22, 23} and each.kind == BYTES:
                self._add(self._tensors_of.sparse(each, outputs[0] if outputs else ""), scope)
        if integers:
            attributes[name] = tuple(integers)
        if outputs and name in {"value_int", "value_ints"}:
            numbers = attributes.get(name)
            values = numbers if isinstance(numbers, tuple) else (numbers or 0,)
            shape = (len(values),) if name == "value_ints" else ()
            place: Any = Numbers(values)
            self._add(Constant(name=outputs[0], shape=shape, dtype="int64", place=place), scope)
        elif outputs and floats and name in {"value_float", "value_floats"}:
            count = sum(end - start for start, end in floats) // 4
            shape = () if name == "value_float" and count == 1 else (count,)
            place = Typed(source=self._wire.source, spans=tuple(floats), stored="float32", code="RA-IN-125")
            self._add(Constant(name=outputs[0], shape=shape, dtype="float32", place=place), scope)

    def _annotation(self, message: Field) -> None:
        """Parse a ``TensorAnnotation``: which tensors are the scale and the zero point of a tensor."""
        tensor = ""
        parameters: dict[str, str] = {}
        for each in self._wire.fields(message.start, message.end):
            if each.number == 1 and each.kind == BYTES:
                tensor = self._wire.text(each)
            elif each.number == 2 and each.kind == BYTES:
                entry = {
                    inner.number: self._wire.text(inner)
                    for inner in self._wire.fields(each.start, each.end)
                    if inner.kind == BYTES
                }
                parameters[entry.get(1, "")] = entry.get(2, "")
        if "SCALE_TENSOR" in parameters:
            self._model.annotations[tensor] = (
                parameters["SCALE_TENSOR"],
                parameters.get("ZERO_POINT_TENSOR", ""),
            )

    def _add(self, constant: Constant, scope: Scope) -> None:
        self._tensors += 1
        if self._tensors > _TENSORS_CAP:
            raise self._tensors_of.corrupt("RA-IN-121", f"more than {_TENSORS_CAP} tensors")
        if constant.name in scope.constants:
            raise UnsafeError(
                "RA-IN-126",
                f"two tensors of one graph are called '{display_name(constant.name)}'.",
                hint="Do not trust the file.",
                where=self._where,
            )
        scope.constants[constant.name] = constant

    def _add_attribute(self, tensor: Constant, attribute: str, scope: Scope) -> None:
        """Add the tensor of an attribute of any operator but ``Constant``: nobody can name it."""
        if tensor.elements > 1 and tensor.dtype != "string":
            self._tensors += 1
            label = f"{tensor.name or attribute}#{self._tensors}"
            self._add(Constant(name=label, shape=tensor.shape, dtype=tensor.dtype, place=tensor.place), scope)


def operator_name(domain: str, name: str, overload: str = "") -> str:
    """Return the name of an operator, with its domain where that is not the default one."""
    label = name if domain in {"", "ai.onnx"} else f"{domain}::{name}"
    return f"{label}:{overload}" if overload else label
