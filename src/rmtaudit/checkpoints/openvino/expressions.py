"""What becomes of a constant before an operator takes it: converted, shifted, scaled, reshaped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.openvino.constants import Constant
from rmtaudit.checkpoints.openvino.ir import Graph, Operator

if TYPE_CHECKING:
    import torch

    from rmtaudit.checkpoints.files import FileSource

_LONGEST = 16
_LONGEST_SCALE = 4
_RESHAPING = frozenset({"Reshape", "Squeeze", "Unsqueeze"})
_ARITHMETIC = frozenset({"Subtract", "Multiply"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """An expression of constants.

    Attributes
    ----------
    type
        ``"Const"``, ``"Convert"``, ``"Subtract"``, ``"Multiply"``, ``"Transpose"`` or ``"Reshape"``.
    operator
        The operator that it is the output of.
    shape
        Sizes of its values.
    arguments
        What it is made of; the weight itself comes first.
    constant
        The constant that it is; ``None`` for everything else.
    order
        Of the sides, for a transposition.
    """

    type: str
    operator: Operator
    shape: tuple[int, ...]
    arguments: tuple[Expression, ...] = ()
    constant: Constant | None = None
    order: tuple[int, ...] = ()

    def leaves(self) -> Iterator[Expression]:
        """Yield its constants, the codes or values of the weight first."""
        if self.constant is not None:
            yield self
        for argument in self.arguments:
            yield from argument.leaves()

    @property
    def plain(self) -> bool:
        """Whether its values are those of one constant, in another shape or order at most."""
        return self.type not in _ARITHMETIC and all(argument.plain for argument in self.arguments[:1])

    def evaluate(self, weights: FileSource) -> torch.Tensor:
        """Return its values: CPU; float32 where anything was computed."""
        if self.constant is not None:
            return self.constant.load(weights)
        value = self.arguments[0].evaluate(weights)
        if self.type == "Transpose":
            return value.permute(self.order)
        if self.type == "Subtract":
            return value.float() - self.arguments[1].evaluate(weights).float()
        if self.type == "Multiply":
            return value.float() * self.arguments[1].evaluate(weights).float()
        return value.reshape(self.shape)


class Expressions:
    """The expressions of a graph's inputs.

    Parameters
    ----------
    graph
        The graph.
    constants
        Its constants, by number of the operator.
    weights
        The ``.bin``: shapes and orders that are constants themselves are read at once.
    """

    def __init__(self, graph: Graph, constants: dict[str, Constant], weights: FileSource) -> None:
        self._graph, self._constants, self._weights = graph, constants, weights
        self._known: dict[tuple[str, int], Expression | None] = {}

    def of_input(self, operator: Operator, index: int) -> Expression | None:
        """Return what feeds an input; ``None`` where it depends on anything but constants."""
        producer = self._graph.producer(operator, index)
        return None if producer is None else self._of(producer, _LONGEST)

    def _of(self, operator: Operator, left: int) -> Expression | None:
        """Return the expression of an operator, of at most ``left`` operators one behind the other."""
        place = (operator.key, left)
        if place not in self._known:
            self._known[place] = self._made(operator, left)
        return self._known[place]

    def _made(self, operator: Operator, left: int) -> Expression | None:
        stored = self._constants.get(operator.key)
        if stored is not None:
            return Expression(type="Const", operator=operator, shape=stored.shape, constant=stored)
        if left == 0 or operator.type not in _ARITHMETIC | _RESHAPING | {
            "Convert",
            "Transpose",
            "FakeQuantize",
        }:
            return None
        producer = self._graph.producer(operator, 0)
        first = None if producer is None else self._of(producer, left - 1)
        if operator.type in _ARITHMETIC:
            return self._arithmetic(operator, first, left)
        if first is None:
            return None
        if operator.type == "Convert":
            return Expression(type="Convert", operator=operator, shape=first.shape, arguments=(first,))
        if operator.type == "FakeQuantize":
            leaf = next(first.leaves())
            return first if leaf.constant is not None and not leaf.constant.codes else None
        return self._rearranged(operator, first)

    def _arithmetic(self, operator: Operator, first: Expression | None, left: int) -> Expression | None:
        producer = self._graph.producer(operator, 1)
        second = None if producer is None else self._of(producer, min(left - 1, _LONGEST_SCALE))
        if first is None or second is None:
            return None
        if operator.type == "Multiply" and math.prod(first.shape) < math.prod(second.shape):
            first, second = second, first
        shape = _broadcast(first.shape, second.shape)
        if shape != first.shape:
            return None
        return Expression(type=operator.type, operator=operator, shape=shape, arguments=(first, second))

    def _rearranged(self, operator: Operator, first: Expression) -> Expression | None:
        numbers = self._integers(operator)
        if numbers is None:
            return None
        if operator.type == "Transpose":
            if sorted(numbers) != list(range(len(first.shape))):
                return None
            shape = tuple(first.shape[side] for side in numbers)
            return Expression(
                type="Transpose", operator=operator, shape=shape, arguments=(first,), order=tuple(numbers)
            )
        shape = _reshaped(operator.type, first.shape, numbers)
        if math.prod(shape) != math.prod(first.shape):
            return None
        return Expression(type="Reshape", operator=operator, shape=shape, arguments=(first,))

    def _integers(self, operator: Operator) -> list[int] | None:
        """Return the second input, where it is a short list of constant integers."""
        producer = self._graph.producer(operator, 1)
        stored = None if producer is None else self._constants.get(producer.key)
        if stored is None or stored.element_type not in {"i64", "i32"} or stored.elements > 16:
            return None
        data = bytes(self._weights.pread(stored.offset, stored.size))
        width = 8 if stored.element_type == "i64" else 4
        return [
            int.from_bytes(data[at : at + width], "little", signed=True) for at in range(0, len(data), width)
        ]


def _reshaped(kind: str, shape: tuple[int, ...], numbers: list[int]) -> tuple[int, ...]:
    """Return the shape after ``Reshape``, ``Squeeze`` or ``Unsqueeze``; a wrong one for wrong numbers."""
    if kind == "Squeeze":
        return tuple(
            size for side, size in enumerate(shape) if size != 1 or (numbers and side not in numbers)
        )
    if kind == "Unsqueeze":
        result = list(shape)
        for side in sorted(number % (len(shape) + len(numbers)) for number in numbers):
            result.insert(side, 1)
        return tuple(result)
    sizes = [shape[side] if size == 0 and side < len(shape) else size for side, size in enumerate(numbers)]
    if sizes.count(-1) == 1:
        known = math.prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = math.prod(shape) // known if known else 0
    return tuple(sizes) if all(size >= 0 for size in sizes) else (-1,)


def _broadcast(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the shape of two arrays together, by NumPy's rule; ``None`` where they do not fit."""
    rank = max(len(first), len(second))
    padded = [(1,) * (rank - len(shape)) + shape for shape in (first, second)]
    result = []
    for a, b in zip(*padded, strict=True):
        if a != b and 1 not in {a, b}:
            return None
        result.append(b if a == 1 else a)
    return tuple(result)
