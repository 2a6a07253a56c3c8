"""How a value of an ONNX graph comes of constants: the operators that only move numbers, and scales."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from rmtaudit.checkpoints.graphs.expressions import (
    Dequantised,
    Expression,
    Pieces,
    Reshaped,
    Transposed,
    fits,
    is_view,
    joined,
    leaf_of,
)
from rmtaudit.checkpoints.graphs.model import Node, Scope
from rmtaudit.checkpoints.graphs.trace import Trace
from rmtaudit.matrices.tensors import FLOATING

_SAME = frozenset(
    {"Identity", "Cast", "CastLike", "QuantizeLinear", "Dropout", "MemcpyFromHost", "MemcpyToHost"}
)
_SCALING = frozenset({"Mul", "Div"})
FOLLOWED = _SAME | _SCALING | {
    "DequantizeLinear", "com.microsoft::DequantizeLinear", "Sub", "Concat", "Transpose", "Slice", "Split",
    "Reshape", "Flatten", "Squeeze", "Unsqueeze",
}  # fmt: skip
"""The operators whose outputs may come of constants, as far as a weight is concerned."""

_FLOATS = FLOATING | {"float4_e2m1fn"}


class OnnxTrace(Trace):
    """Follows the operators of ONNX."""

    def __init__(self) -> None:
        super().__init__()
        self._fixed: dict[Scope, set[str]] = {}

    def varies(self, scope: Scope, name: str) -> bool:
        """Whether a value depends on what the network is given."""
        home: Scope | None = scope
        while home is not None:
            if name in self._fixed_names(home):
                return False
            if home.producer(name) is not None:
                return True
            if name in home.bindings:
                home, name = home.bindings[name]
            else:
                home = home.parent
        return True

    def _fixed_names(self, scope: Scope) -> set[str]:
        """Return the values of a graph that come of constants alone; operators are in their order."""
        if scope not in self._fixed:
            fixed = self._fixed[scope] = set(scope.constants)
            for node in scope.nodes:
                if node.inputs and all(not each or each in fixed for each in node.inputs):
                    fixed.update(node.outputs)
        return self._fixed[scope]

    def _made(self, scope: Scope, node: Node, index: int) -> Expression | None:
        op = node.op
        if op not in FOLLOWED:
            return None
        if op in {"DequantizeLinear", "com.microsoft::DequantizeLinear"}:
            return self._dequantised(scope, node)
        if op == "Concat":
            parts = [self.value(scope, name) for name in node.inputs]
            known = [part for part in parts if part is not None]
            side = node.integer("axis", 0)
            if not known or len(known) != len(parts):
                return None
            return joined(known, side + len(known[0].shape) if side < 0 else side)
        if op in {"Mul", "Div", "Sub"}:
            return self._arithmetic(scope, node)
        inner = self.value(scope, node.input(0))
        if inner is None or (index and op != "Split"):
            return None
        if op in _SAME:
            return self._cast(inner) if op.startswith("Cast") else inner
        if op == "Transpose":
            order = node.integers("perm") or tuple(reversed(range(len(inner.shape))))
            return Transposed(inner, order) if sorted(order) == list(range(len(inner.shape))) else None
        if op in {"Slice", "Split"}:
            return self._cut(scope, node, index, inner)
        shape = self._reshaped(scope, node, inner.shape)
        if shape is None or math.prod(shape) != math.prod(inner.shape) or any(side < 0 for side in shape):
            return None
        return Reshaped(inner, shape)

    def _cast(self, inner: Expression) -> Expression:
        """Return codes that become numbers as a dequantisation that still lacks its scale."""
        dtype = leaf_of(inner).constant.dtype
        if not is_view(inner) or dtype in _FLOATS or dtype in {"bool", "string", "int64"}:
            return inner
        return Dequantised(codes=inner, by_arithmetic=True)

    def _arithmetic(self, scope: Scope, node: Node) -> Expression | None:
        """Return codes from which a zero point is subtracted, or that a scale multiplies or divides.

        A weight that is stored as numbers stays as it is: a factor in front of it is no part of it.
        """
        left, right = (self.value(scope, node.input(side)) for side in (0, 1))
        if left is None or right is None:
            return None
        if node.op == "Mul" and math.prod(left.shape) < math.prod(right.shape):
            left, right = right, left
        if math.prod(right.shape) == 1 and is_view(left) and leaf_of(left).constant.dtype in _FLOATS:
            return left if node.op in _SCALING else None
        if isinstance(right, Dequantised) and right.scale is None and right.zero is None:
            right = right.codes  # the zero point was cast as the codes were
        if not isinstance(left, Dequantised) or not left.by_arithmetic or not is_view(right):
            return None
        if not fits(right.shape, left.shape, None, 0):
            return None
        if node.op == "Sub" and left.zero is None and left.scale is None:
            return replace(left, zero=right)
        if node.op in _SCALING and left.scale is None:
            dtype = leaf_of(right).constant.dtype
            dtype = dtype if dtype in FLOATING else left.dtype
            return replace(left, scale=right, dtype=dtype, divides=node.op == "Div")
        return None

    def _dequantised(self, scope: Scope, node: Node) -> Expression | None:
        """Return ``(x - zero) * scale``: one scale, one a slice of an axis (1 unless stated), or blocks."""
        codes = self.value(scope, node.input(0))
        if codes is None:
            return None
        if not is_view(codes) or leaf_of(codes).constant.dtype in {
            "float32",
            "float16",
            "bfloat16",
            "float64",
        }:
            return codes  # quantised while it runs: the stored numbers are the weight
        return self.dequantised(
            codes,
            self.scale(scope, node.input(1)),
            self.scale(scope, node.input(2)) if node.input(2) else None,
            node.integer("axis", 1),
            node.integer("block_size", 0),
        )

    def dequantised(
        self,
        codes: Expression,
        scale: Expression | None,
        zero: Expression | None,
        side: int,
        block: int = 0,
    ) -> Dequantised | None:
        """Return codes with their scale and zero point; ``None`` where these do not fit."""
        if scale is None or leaf_of(scale).constant.dtype not in FLOATING or not is_view(codes):
            return None
        rank = len(codes.shape)
        side = side + rank if side < 0 else side
        single = math.prod(scale.shape) == 1
        for part in (scale, zero):
            if part is not None and not (block >= 0 and fits(part.shape, codes.shape, side, block)):
                return None
        dtype = leaf_of(scale).constant.dtype
        dtype = dtype if dtype in {"float32", "float16", "bfloat16", "float64"} else "float32"
        only_one = single and (zero is None or math.prod(zero.shape) == 1)
        return Dequantised(
            codes=codes, scale=scale, zero=zero, side=None if only_one else side, block=block, dtype=dtype
        )

    def _cut(self, scope: Scope, node: Node, index: int, inner: Expression) -> Expression | None:
        rank = len(inner.shape)
        if node.op == "Split":
            side = node.integer("axis", 0)
            side = side + rank if side < 0 else side
            if not 0 <= side < rank:
                return None
            sizes = node.integers("split") or (
                self.integers(scope, node.input(1)) if node.input(1) else _equal(inner.shape[side], node)
            )
            if sizes is None or sum(sizes) != inner.shape[side] or min(sizes) < 0 or index >= len(sizes):
                return None
            start = sum(sizes[:index])
            return Pieces(inner, side, ((start, start + sizes[index]),))
        starts, ends = (self._list(scope, node, name, at) for name, at in (("starts", 1), ("ends", 2)))
        axes = self._list(scope, node, "axes", 3)
        steps = self._list(scope, node, "steps", 4)
        if starts is None or ends is None or len(starts) != 1 or len(ends) != 1 or (steps or (1,)) != (1,):
            return None
        side = (axes or (0,))[0]
        side = side + rank if side < 0 else side
        if len(axes or (0,)) != 1 or not 0 <= side < rank:
            return None
        length = inner.shape[side]
        start, stop = (min(max(end + length if end < 0 else end, 0), length) for end in (starts[0], ends[0]))
        return Pieces(inner, side, ((start, max(start, stop)),))

    def _list(self, scope: Scope, node: Node, name: str, at: int) -> tuple[int, ...] | None:
        """Return a list that is an attribute in old versions of an operator, and an input in new ones."""
        return node.integers(name) or (self.integers(scope, node.input(at)) if node.input(at) else None)

    def _reshaped(self, scope: Scope, node: Node, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        if node.op == "Reshape":
            wanted = node.integers("shape") or self.integers(scope, node.input(1))
            return None if wanted is None else _filled(wanted, shape, bool(node.integer("allowzero", 0)))
        if node.op == "Flatten":
            axis = node.integer("axis", 1)
            axis = axis + len(shape) if axis < 0 else axis
            return (math.prod(shape[:axis]), math.prod(shape[axis:]))
        if node.op == "Squeeze":
            axes = self._list(scope, node, "axes", 1)
            if axes is None:
                return None if node.input(1) else tuple(side for side in shape if side != 1)
            dropped = {axis % max(1, len(shape)) for axis in axes}
            return tuple(side for at, side in enumerate(shape) if at not in dropped)
        if node.op == "Unsqueeze":
            axes = self._list(scope, node, "axes", 1)
            if axes is None or len(axes) > 8:
                return None
            rank = len(shape) + len(axes)
            places = {axis + rank if axis < 0 else axis for axis in axes}
            rest = iter(shape)
            return tuple(1 if at in places else next(rest, 1) for at in range(rank))
        return None


def _equal(length: int, node: Node) -> tuple[int, ...]:
    """Return the sizes of a split in equal parts, the last one shorter where they do not divide."""
    count = node.integer("num_outputs", len(node.outputs))
    if not 0 < count <= 1 << 16:
        return (length,)
    size = -(-length // count)
    return tuple(max(0, min(size, length - size * at)) for at in range(count))


def _filled(wanted: Iterable[int], shape: tuple[int, ...], zero_is_zero: bool) -> tuple[int, ...] | None:
    """Return the shape that ``Reshape`` makes: 0 keeps a side, -1 is what is left."""
    sides = [
        shape[at] if side == 0 and not zero_is_zero and at < len(shape) else side
        for at, side in enumerate(wanted)
    ]
    if sides.count(-1) == 1:
        rest = math.prod(side for side in sides if side != -1)
        if rest <= 0 or math.prod(shape) % rest:
            return None
        sides[sides.index(-1)] = math.prod(shape) // rest
    return tuple(sides)
