"""From a parsed ONNX model to what its operators take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rmtaudit.checkpoints.graphs.claims import Claim
from rmtaudit.checkpoints.graphs.expressions import Expression
from rmtaudit.checkpoints.graphs.model import Node, Scope
from rmtaudit.checkpoints.onnx.integers import claims_of_integers
from rmtaudit.checkpoints.onnx.operators import claims_of
from rmtaudit.checkpoints.onnx.schema import Function, Model
from rmtaudit.checkpoints.onnx.trace import OnnxTrace
from rmtaudit.matrices.tensors import TensorSpec

_CALLS_CAP = 20_000
"""Most operators inside called functions that are looked at."""
_DEEPEST_CALL = 16


def all_claims(model: Model) -> Iterator[Claim]:
    """Yield what all operators take, those of called functions with the values of the call."""
    trace = OnnxTrace()
    bodies = {id(function.body) for function in model.functions.values()}
    budget = [_CALLS_CAP]
    for scope in model.scopes:
        if id(scope) not in bodies:
            yield from _of_scope(trace, scope, model, budget, 0)
    for scope in model.scopes:
        if id(scope) in bodies:  # what no call claimed: constants inside
            yield from _of_nodes(trace, scope, model)


def renamed(tensors: list[tuple[TensorSpec, Expression]]) -> list[tuple[TensorSpec, Expression]]:
    """Return tensors with the names that dequantised weights had before ONNX Runtime quantised them.

    Its tool calls the codes of ``w`` ``w_quantized`` and the scale ``w_scale``.
    """
    taken = {spec.name for spec, _ in tensors}
    found = []
    for spec, expression in tensors:
        stem = spec.name.removesuffix("_quantized")
        parts = () if spec.encoding is None else spec.encoding.parts
        if stem and stem != spec.name and f"{stem}_scale" in parts and stem not in taken:
            taken.add(stem)
            spec = replace(spec, name=stem)
        found.append((spec, expression))
    return found


def _of_scope(trace: OnnxTrace, scope: Scope, model: Model, budget: list[int], depth: int) -> Iterator[Claim]:
    yield from _of_nodes(trace, scope, model)
    if not model.functions or depth >= _DEEPEST_CALL:
        return
    for node in scope.nodes:
        function = model.functions.get(node.op)
        if function is None or budget[0] < len(function.body.nodes):
            continue
        budget[0] -= len(function.body.nodes) + 1
        yield from _of_scope(trace, _called(function, scope, node), model, budget, depth + 1)


def _of_nodes(trace: OnnxTrace, scope: Scope, model: Model) -> Iterator[Claim]:
    for node in scope.nodes:
        yield from claims_of(trace, scope, node)
        yield from claims_of_integers(trace, scope, node, model.annotations)


def _called(function: Function, scope: Scope, node: Node) -> Scope:
    """Return the body of a function with its formal inputs bound to the values of a call."""
    bindings = {
        formal: (scope, actual)
        for formal, actual in zip(function.inputs, node.inputs, strict=False)
        if actual
    }
    return Scope(constants=function.body.constants, nodes=function.body.nodes, bindings=bindings)
