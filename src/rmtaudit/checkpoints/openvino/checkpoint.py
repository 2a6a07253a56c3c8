"""From the graph of an OpenVINO model to a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.files import FileSource
from rmtaudit.checkpoints.lazy import LazyCheckpoint, LazyTensor, Load, Span
from rmtaudit.checkpoints.openvino.constants import Constant, constant
from rmtaudit.checkpoints.openvino.expressions import Expression, Expressions
from rmtaudit.checkpoints.openvino.ir import Graph, Operator, parse
from rmtaudit.checkpoints.openvino.roles import Presented, other_inputs, present, weight_inputs
from rmtaudit.matrices.tensors import Encoding, Role, TensorSpec, Use

if TYPE_CHECKING:
    import torch

_SCALE, _INDEX = "scale or zero point of a quantised weight", "shape, axis or index"
_NOT_LEARNED = frozenset({_SCALE, _INDEX})
_STEPS = 4
"""Most operators between a vector and what takes it."""


def openvino_checkpoint(graph: FileSource, weights: FileSource, format: str) -> LazyCheckpoint:
    """Return the checkpoint of a model; the caller closes both files if this raises.

    Raises
    ------
    CorruptError
        The graph is damaged, or does not fit the values.
    UnsafeError
        The graph holds what no model needs.
    """
    tensors: list[LazyTensor] = []
    names: set[str] = set()
    for each in parse(graph):
        for tensor in _Reading(each, weights, names).tensors():
            tensors.append(tensor)
            names.add(tensor.spec.name)
    return LazyCheckpoint(graph.path, format, [graph, weights], tensors, [])


class _Reading:
    """The constants of one graph and what takes them."""

    def __init__(self, graph: Graph, weights: FileSource, names: set[str]) -> None:
        self._graph, self._weights = graph, weights
        self._names = set(names)
        self._constants = {
            key: constant(operator, weights)
            for key, operator in graph.operators.items()
            if operator.type == "Const"
        }
        self._roles: dict[str, tuple[Expression, Presented]] = {}
        self._parts: dict[str, str] = {}
        expressions = Expressions(graph, self._constants, weights)
        for operator in graph.operators.values():
            for index in weight_inputs(operator):
                expression = expressions.of_input(operator, index)
                seen = None if expression is None else present(operator, index, expression.shape)
                if expression is not None and seen is not None:
                    self._take(expression, seen)
        self._recurrent: set[str] = set()
        self._consumers = self._vector_consumers()

    def _take(self, expression: Expression, seen: Presented) -> None:
        leaves = list(expression.leaves())
        self._roles.setdefault(leaves[0].operator.key, (expression, seen))
        for leaf in leaves[1:]:
            self._parts.setdefault(leaf.operator.key, _SCALE)

    def _vector_consumers(self) -> dict[str, str]:
        """Return what the elementwise operators do with constants, by number of the constant."""
        result: dict[str, str] = {}
        for operator in self._graph.operators.values():
            for index, reason in other_inputs(operator).items():
                producer = self._graph.producer(operator, index)
                for _ in range(_STEPS):
                    if producer is None or producer.type not in {"Convert", "Reshape", "Unsqueeze"}:
                        break
                    producer = self._graph.producer(producer, 0)
                if producer is not None and producer.type == "Const":
                    result.setdefault(producer.key, reason)
                    if operator.type.endswith(("Sequence", "Cell")):
                        self._recurrent.add(producer.key)
        return result

    def tensors(self) -> Iterator[LazyTensor]:
        """Yield every constant, in stored order."""
        views: dict[tuple[int, int, str], int] = {}
        for each in self._constants.values():
            views[each.offset, each.size, each.element_type] = (
                views.get((each.offset, each.size, each.element_type), 0) + 1
            )
        for key, stored in self._constants.items():
            name = self._name(self._graph.operators[key])
            place = (stored.offset, stored.size, stored.element_type)
            alias = place if views[place] > 1 and stored.size else None
            yield self._tensor(name, key, stored, alias)

    def _name(self, operator: Operator) -> str:
        name = f"{self._graph.prefix}{operator.name}"
        if name in self._names:
            name = f"{name} ({operator.key})"
        while name in self._names:
            name += "'"
        self._names.add(name)
        return name

    def _tensor(self, name: str, key: str, stored: Constant, alias: object) -> LazyTensor:
        if key in self._roles:
            expression, seen = self._roles[key]
            return self._weight(name, stored, (expression, seen), alias)
        reason = self._parts.get(key) or self._reason(key, stored)
        unreadable = None
        if not reason and stored.codes and len(stored.shape) > 1:
            unreadable = f"quantised (unknown: {stored.element_type})"
        elif not stored.dtype:
            unreadable = f"values of type {stored.element_type or 'unknown'}"
        spec = TensorSpec(
            name=name,
            shape=stored.shape,
            dtype=stored.dtype or "uint8",
            alias=alias if alias is None else str(alias),
            unreadable=unreadable,
            role=Role(use=Use.NONE, reason=reason, counted=reason not in _NOT_LEARNED) if reason else None,
        )
        return LazyTensor(spec=spec, values=None if unreadable else _stored(self._weights, stored))

    def _reason(self, key: str, stored: Constant) -> str:
        """Return why a constant that no operator takes as a weight is none; ``""`` where that is unknown."""
        if stored.element_type in {"i64", "i32", "u64", "u32", "boolean"} and len(stored.shape) < 2:
            return _INDEX
        reason = self._consumers.get(key, "")
        recurrent = reason in {"bias", "initial state"} and key in self._recurrent
        return reason if recurrent or sum(size > 1 for size in stored.shape) < 2 else ""

    def _weight(
        self, name: str, stored: Constant, taken: tuple[Expression, Presented], alias: object
    ) -> LazyTensor:
        expression, seen = taken
        quantised = not expression.plain
        unknown = stored.codes and (
            not quantised or stored.element_type not in {"i4", "u4", "i8", "u8", "f8e4m3", "f8e5m2"}
        )
        encoding = None
        known = all(leaf.constant is not None and leaf.constant.dtype for leaf in expression.leaves())
        if unknown or not known:
            unreadable = f"quantised (unknown: {stored.element_type})"
        else:
            unreadable = None
            encoding = _encoding(expression, seen, name) if quantised and stored.codes else None
        spec = TensorSpec(
            name=name,
            shape=seen.shape,
            dtype="float32" if quantised else stored.dtype or "uint8",
            alias=alias if alias is None else str(alias),
            unreadable=unreadable,
            role=seen.role,
            encoding=encoding,
        )
        if unreadable:
            return LazyTensor(spec=spec, values=None)
        leaf = next(expression.leaves())
        if expression.plain and leaf.shape == seen.shape and not _moves(expression):
            return LazyTensor(spec=spec, values=_stored(self._weights, stored))
        return LazyTensor(spec=spec, values=_evaluating(expression, self._weights, seen.shape))


def _moves(expression: Expression) -> bool:
    return expression.type == "Transpose" or any(_moves(each) for each in expression.arguments[:1])


def _stored(weights: FileSource, stored: Constant) -> Span | Load:
    if stored.element_type in {"i4", "u4"}:
        return lambda: stored.load(weights)
    return Span(source=weights, offset=stored.offset, dtype=stored.dtype, shape=stored.shape)


def _evaluating(expression: Expression, weights: FileSource, shape: tuple[int, ...]) -> Load:
    def load() -> torch.Tensor:
        return expression.evaluate(weights).reshape(shape)

    return load


def _encoding(expression: Expression, seen: Presented, name: str) -> Encoding:
    """Return how a quantised weight is stored: the type of its codes, and how many values share a scale."""
    leaves = [leaf for leaf in expression.leaves() if leaf.constant is not None]
    codes = leaves[0].constant
    scales = max((leaf.shape for leaf in leaves[1:]), key=math.prod, default=())
    size = sum(leaf.constant.size for leaf in leaves if leaf.constant is not None)
    assert codes is not None
    return Encoding(
        scheme=f"OpenVINO {codes.element_type}",
        dtype={"i4": "int4", "u4": "uint4"}.get(codes.element_type, codes.dtype),
        block=_block(codes.shape, scales, seen.shape),
        bits=8 * size / max(codes.elements, 1),
        parts=(name, *(leaf.operator.name for leaf in leaves[1:])),
    )


def _block(codes: tuple[int, ...], scales: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Return rows and columns that share a scale: of rows x groups x group, or of rows x columns."""
    scales = (1,) * (len(codes) - len(scales)) + scales
    if math.prod(scales) == 1 or len(shape) != 2 or len(scales) != len(codes):
        return None
    steps = tuple(size // scale for size, scale in zip(codes, scales, strict=True))
    if len(codes) == 2:
        return (steps[0], steps[1])
    if len(codes) == 3 and codes[0] == shape[0] and codes[1] * codes[2] == shape[1]:
        return (steps[0], steps[1] * steps[2])
    return None
