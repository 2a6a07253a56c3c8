"""How a value of a graph comes of constants: the walk back, the same for every format."""

from __future__ import annotations

from abc import ABC, abstractmethod

from rmtaudit.checkpoints.graphs.expressions import Expression, Leaf, Reshaped, is_view, leaf_of
from rmtaudit.checkpoints.graphs.model import Constant, Node, Scope
from rmtaudit.checkpoints.graphs.places import small_integers

_LONGEST_CHAIN = 64


class Trace(ABC):
    """Follows values back to constants. Answers are kept: a value is followed once.

    A format says in :meth:`_made` what its operators do.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Scope, str], Expression | None] = {}
        self._leaves: dict[Constant, Leaf] = {}
        self._depth = 0

    def leaf(self, constant: Constant) -> Expression:
        """Return the one expression of a constant's values."""
        return self.plain(constant)

    def plain(self, constant: Constant) -> Leaf:
        """Return the one expression of a constant as it is stored."""
        return self._leaves.setdefault(constant, Leaf(constant))

    def value(self, scope: Scope, name: str) -> Expression | None:
        """Return how a value comes of constants; ``None`` where it depends on more than one of them."""
        if (scope, name) in self._known:
            return self._known[scope, name]
        place = scope.lookup(name) if name else None
        if place is None:
            return None
        home, thing, index = place
        if isinstance(thing, Constant):
            return self.leaf(thing)
        if not thing.outputs:
            return None
        key = (home, thing.outputs[index])
        if key not in self._known:
            self._known[key] = None  # a circle comes to nothing
            if self._depth < _LONGEST_CHAIN:
                self._depth += 1
                self._known[key] = self._made(home, thing, index)
                self._depth -= 1
        return self._known[key]

    def integers(self, scope: Scope, name: str) -> tuple[int, ...] | None:
        """Return the values of a small integer constant."""
        expression = self.value(scope, name)
        if expression is None or not is_view(expression):
            return None
        constant = leaf_of(expression).constant
        numbers = small_integers(constant)
        while isinstance(expression, Reshaped):
            expression = expression.of
        return numbers if isinstance(expression, Leaf) else None

    def scale(self, scope: Scope, name: str) -> Expression | None:
        """Return a value that may be a scale or a zero point: a stored one."""
        expression = self.value(scope, name)
        return expression if expression is not None and is_view(expression) else None

    @abstractmethod
    def _made(self, scope: Scope, node: Node, index: int) -> Expression | None:
        """Return how an output of an operator comes of constants; ``None`` where it does not."""
