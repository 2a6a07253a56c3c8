"""Recurrent cells that are written out: which gates share the outputs of a product.

``tf.nn.rnn_cell`` and Keras multiply once and split the product in gates; a sigmoid or a tangent behind each
part tells which is which.
"""

from __future__ import annotations

from dataclasses import dataclass

from rmtaudit.checkpoints.graphs.model import Scope

_LONGEST_WAY = 6  # operators before and after the split


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Names of operators, as a format writes them.

    Attributes
    ----------
    passing
        What may lie between the product and the split.
    adding
        What may lie between the split and the activation.
    split, sigmoid, tanh
        The split and the activations.
    """

    passing: frozenset[str]
    adding: frozenset[str]
    split: frozenset[str]
    sigmoid: frozenset[str]
    tanh: frozenset[str]


_GATES = {
    ("sigmoid", "tanh", "sigmoid", "sigmoid"): ("i", "g", "f", "o"),  # tf.nn.rnn_cell
    ("sigmoid", "sigmoid", "tanh", "sigmoid"): ("i", "f", "g", "o"),  # Keras
    ("sigmoid", "sigmoid", "tanh"): ("z", "r", "n"),  # Keras, GRU
    ("sigmoid", "sigmoid"): ("r", "z"),  # tf.nn.rnn_cell, GRU: the candidate is a product of its own
}
"""Names of the gates (PyTorch's), by the activation behind each part of the split."""


def gate_names(scope: Scope, product: str, cell: Cell) -> tuple[str, ...]:
    """Return the names of the gates that share the outputs of a product, in their order; none if it has none.

    Parameters
    ----------
    scope
        The graph.
    product
        The value that a matrix product makes.
    cell
        The operators of the format.
    """
    before = ""
    value = product
    for _ in range(_LONGEST_WAY):
        consumer = scope.only_consumer(value)
        if consumer is None or not consumer[0].outputs:
            return ()
        node = consumer[0]
        if node.op in cell.split:
            behind = tuple(before or _activation(scope, output, cell) for output in node.outputs)
            return _GATES.get(behind, ())
        if node.op in cell.sigmoid:
            before = "sigmoid"
        elif node.op not in cell.passing:
            return ()
        value = node.outputs[0]
    return ()


def _activation(scope: Scope, value: str, cell: Cell) -> str:
    for _ in range(_LONGEST_WAY):
        consumer = scope.only_consumer(value)
        if consumer is None or not consumer[0].outputs:
            return ""
        node = consumer[0]
        if node.op in cell.sigmoid:
            return "sigmoid"
        if node.op in cell.tanh:
            return "tanh"
        if node.op not in cell.adding:
            return ""
        value = node.outputs[0]
    return ""


def equal_parts(names: tuple[str, ...], outputs: int) -> tuple[tuple[str, int, int], ...]:
    """Return parts of equal length; none where they do not divide the outputs."""
    if not names or outputs % len(names):
        return ()
    size = outputs // len(names)
    return tuple((name, at * size, (at + 1) * size) for at, name in enumerate(names))
