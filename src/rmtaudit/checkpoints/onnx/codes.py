"""Quantised weights of one ONNX graph: their codes, and where their scales are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rmtaudit.checkpoints.graphs.claims import Claim, belongings
from rmtaudit.checkpoints.graphs.expressions import Expression, Reshaped, is_view, leaf_of
from rmtaudit.checkpoints.graphs.model import Node, Scope
from rmtaudit.checkpoints.onnx.operators import finished
from rmtaudit.checkpoints.onnx.trace import OnnxTrace
from rmtaudit.matrices.tensors import FLOATING, Role

Annotations = dict[str, tuple[str, str]]

_CODES = frozenset({"int8", "uint8", "int16", "uint16", "int4", "uint4", "int2", "uint2"})
_LONGEST_SEARCH = 6  # operators between an integer product and its scale


class Quantised:
    """Codes of one graph, and where their scales may be.

    Parameters
    ----------
    trace, scope
        The graph.
    annotations
        Names of scale and zero point that the file states for a tensor.
    """

    def __init__(self, trace: OnnxTrace, scope: Scope, annotations: Annotations) -> None:
        self.trace = trace
        self.scope = scope
        self._annotations = annotations

    def value(self, name: str) -> Expression | None:
        """Return how a value comes of constants."""
        return self.trace.value(self.scope, name)

    def codes(self, name: str) -> Expression | None:
        """Return a value that is made of stored codes and nothing else."""
        value = self.value(name)
        if value is None or not is_view(value) or leaf_of(value).constant.dtype not in _CODES:
            return None
        return value

    def claim(
        self,
        codes: Expression | None,
        scale: str,
        zero: str,
        side: int,
        *,
        role: Role,
        scheme: str,
    ) -> Iterable[Claim]:
        """Yield the claim on codes whose scale is an input of the operator."""
        if codes is None:
            return
        made = self.trace.dequantised(
            codes,
            self.trace.scale(self.scope, scale),
            self.trace.scale(self.scope, zero) if zero else None,
            side,
        )
        if made is None:
            yield Claim(expression=codes, role=role, unknown=(leaf_of(codes).constant.name, scheme))
            yield from belongings(self.value(each) for each in (scale, zero))
        else:
            yield from finished(made, role, f"{leaf_of(codes).constant.dtype} ({scheme})")

    def searched(self, codes: Expression, node: Node, zero: str, side: int, role: Role) -> Iterable[Claim]:
        """Yield the claim on codes whose scale multiplies the product, somewhere behind the operator."""
        name = leaf_of(codes).constant.name
        zero_point = self.trace.scale(self.scope, zero) if zero else None
        scheme = f"{leaf_of(codes).constant.dtype} ({node.op})"
        for scale in self._scales(node, name):
            vector = [length for length in scale.shape if length > 1]
            if len(vector) < 2:
                flat = Reshaped(scale, tuple(vector))
                made = self.trace.dequantised(codes, flat, zero_point, side)
                if made is not None:
                    yield from finished(made, role, scheme)
                    return
        yield Claim(expression=codes, role=role, unknown=(name, node.op))
        yield from belongings([zero_point])

    def _scales(self, node: Node, name: str) -> Iterator[Expression]:
        """Yield candidates: stated for the tensor, named after it, and the only constant that multiplies."""
        stated = self._annotations.get(name, ("", ""))[0]
        stem = name.removesuffix("_quantized").removesuffix("_q")
        behind = list(self._factors(node.outputs[0] if node.outputs else "", _LONGEST_SEARCH))
        names = {leaf_of(each).constant.name for each in behind}
        for candidate in dict.fromkeys((stated, f"{stem}_scale", f"{name}_scale")):
            scale = self.trace.scale(self.scope, candidate)
            if (
                scale is not None
                and leaf_of(scale).constant.dtype in FLOATING
                and (stated or candidate in names)
            ):
                yield scale
        if len(behind) == 1:
            yield behind[0]

    def _factors(self, value: str, left: int) -> Iterator[Expression]:
        """Yield the floating constants that multiply a value, as the operators after it do."""
        consumer = self.scope.only_consumer(value) if left and value else None
        if consumer is None:
            return
        node, index = consumer
        if node.op == "Mul":
            yield from self._constants(node.input(1 - index), left)
        if node.op in {"Mul", "Cast", "Identity", "Reshape", "Transpose"} and node.outputs:
            yield from self._factors(node.outputs[0], left - 1)

    def _constants(self, value: str, left: int) -> Iterator[Expression]:
        expression = self.trace.scale(self.scope, value)
        if expression is not None:
            if leaf_of(expression).constant.dtype in FLOATING:
                yield expression
            return
        place = self.scope.lookup(value) if left and value else None
        if (
            place is not None
            and isinstance(place[1], Node)
            and place[1].op == "Mul"
            and place[0] is self.scope
        ):
            for name in place[1].inputs[:2]:
                yield from self._constants(name, left - 1)
