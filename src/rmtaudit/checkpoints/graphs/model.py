"""Constants, operators and scopes: what the three formats of graphs have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from rmtaudit.matrices.skips import SkipReason


class Constant(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A tensor that the file holds. Two of them are equal where they are the same object.

    Attributes
    ----------
    name
        As the report names it.
    shape
        Sizes, outermost first.
    dtype
        torch's name of the dtype, or ``"int4"``, ``"uint4"``, ``"int2"``, ``"uint2"``, ``"float4_e2m1fn"``,
        ``"string"``.
    place
        Where its values are, as its format knows it.
    unreadable
        Why the values cannot be read; ``None`` where they can.
    skip
        The name of that reason.
    alias
        Equal for constants of the same bytes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    place: Any = None
    unreadable: str | None = None
    skip: SkipReason = SkipReason.NO_VALUES
    alias: Any = None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class Node(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """An operator. A structure of msgspec, as constants are: a dataclass takes seven times as long to make.

    Attributes
    ----------
    op
        Its type; with its domain and two colons in front where that is not the default one.
    inputs, outputs
        Names of values, ``""`` for an input that is left out.
    attributes
        Numbers, tuples of numbers, texts, and constants, by name.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = msgspec.field(default_factory=dict)

    def input(self, index: int) -> str:
        """Return the name of an input, ``""`` where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def integer(self, name: str, default: int) -> int:
        """Return an attribute that is a whole number."""
        value = self.attributes.get(name, default)
        return value if isinstance(value, int) else default

    def integers(self, name: str) -> tuple[int, ...] | None:
        """Return an attribute that is a list of whole numbers; ``None`` where it is not there."""
        value = self.attributes.get(name)
        if isinstance(value, tuple) and all(isinstance(each, int) for each in value):
            return value
        return None


@dataclass(slots=True, kw_only=True, eq=False)
class Scope:
    """A graph, or the body of an operator or a function, with the names that it can see.

    Attributes
    ----------
    constants, nodes
        Those of this graph alone.
    parent
        The graph around it, whose names it sees too.
    bindings
        For a function: the values of the call behind its inputs.
    """

    constants: dict[str, Constant] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    parent: Scope | None = None
    bindings: dict[str, tuple[Scope, str]] = field(default_factory=dict)
    _producers: dict[str, tuple[Node, int]] | None = None
    _consumers: dict[str, list[tuple[Node, int]]] | None = None

    def producer(self, value: str) -> tuple[Node, int] | None:
        """Return the operator of this graph that makes a value, and which of its outputs it is."""
        if self._producers is None:
            self._producers = {
                output: (node, index)
                for node in self.nodes
                for index, output in enumerate(node.outputs)
                if output
            }
        return self._producers.get(value)

    def consumers(self, value: str) -> list[tuple[Node, int]]:
        """Return the operators of this graph that take a value, and as which input."""
        if self._consumers is None:
            self._consumers = {}
            for node in self.nodes:
                for index, name in enumerate(node.inputs):
                    if name:
                        self._consumers.setdefault(name, []).append((node, index))
        return self._consumers.get(value, [])

    def only_consumer(self, value: str) -> tuple[Node, int] | None:
        """Return the operator that takes a value, where it is the only one."""
        consumers = self.consumers(value)
        return consumers[0] if len(consumers) == 1 else None

    def lookup(self, value: str) -> tuple[Scope, Constant | Node, int] | None:
        """Return what a name stands for here: a constant, or an output of an operator, and its scope."""
        scope: Scope | None = self
        for _ in range(_DEEPEST):
            if scope is None:
                return None
            if value in scope.constants:
                return scope, scope.constants[value], 0
            made = scope.producer(value)
            if made is not None:
                return scope, made[0], made[1]
            if value in scope.bindings:
                scope, value = scope.bindings[value]
            else:
                scope = scope.parent
        return None


_DEEPEST = 200  # scopes in one another: nested bodies, and functions that call functions


def unique_names(scopes: list[Scope]) -> list[Constant]:
    """Return all constants under names of their own: two bodies may use one name for two tensors."""
    constants = []
    taken: set[str] = set()
    for number, scope in enumerate(scopes):
        for key, constant in scope.constants.items():
            name = constant.name
            if name in taken:
                name = f"{name} (graph {number})"
                while name in taken:
                    name += "'"
                constant = replace(constant, name=name)
                scope.constants[key] = constant
            taken.add(name)
            constants.append(constant)
    return constants
