"""The tables of a TensorFlow Lite model that weights need: operators, tensors, buffers, quantisation.

Field numbers are those of ``tensorflow/lite/schema/schema.fbs`` (version 3, TensorFlow 2.20).
"""

from __future__ import annotations

import math
from collections import Counter

from msgspec.structs import replace

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.files import FileSource
from rmtaudit.checkpoints.graphs.checkpoint import GraphCheckpoint
from rmtaudit.checkpoints.graphs.claims import Claim, specifications
from rmtaudit.checkpoints.graphs.expressions import Dequantised, Expression, Leaf
from rmtaudit.checkpoints.graphs.model import Constant, Node, Scope, unique_names
from rmtaudit.checkpoints.graphs.places import Raw, bytes_of
from rmtaudit.checkpoints.tflite.flatbuffer import Buffer, Table
from rmtaudit.checkpoints.tflite.operators import OPERATORS, TFLiteTrace, claims_of, is_quantised
from rmtaudit.errors import CorruptError
from rmtaudit.matrices.skips import SkipReason
from rmtaudit.matrices.tensors import TensorSpec
from rmtaudit.names import display_name

DTYPES = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 5: "string", 6: "bool", 7: "int16",
    8: "complex64", 9: "int8", 10: "float64", 11: "complex128", 12: "uint64", 15: "uint32", 16: "uint16",
    17: "int4", 18: "bfloat16",
}  # fmt: skip
"""torch's name of the dtype, by ``TensorType``."""

VERSION = 3
_TABLES_CAP = 1_000_000
_SIDES_CAP = 64
_CODES = frozenset({"int8", "uint8", "int4", "int16", "int32", "int64"})


class _Model:
    """A model as it is parsed."""

    def __init__(self, source: FileSource) -> None:
        self.source = source
        self.trace = TFLiteTrace()
        self.scopes: list[Scope] = []
        self._buffer = Buffer(source, "RA-IN-165")
        self._left = _TABLES_CAP
        root = self._buffer.root()
        version = root.number(0, "u4")
        if version != VERSION:
            raise CorruptError(
                "RA-IN-166",
                f"The TensorFlow Lite model has version {version}; version {VERSION} is read.",
                where=source.where,
            )
        self._operators = [self._operator_name(table) for table in root.tables(1, _TABLES_CAP)]
        self._buffers = root.tables(4, _TABLES_CAP)
        self._places: dict[int, tuple[int, int]] = {}
        graphs = root.tables(2, 1 << 16)
        if not graphs:
            raise CorruptError("RA-IN-166", "The TensorFlow Lite model has no graph.", where=source.where)
        for graph in graphs:
            self._graph(graph)

    def _graph(self, graph: Table) -> None:
        scope = Scope()
        self.scopes.append(scope)
        tensors = graph.tables(0, self._left)
        operators = graph.tables(3, self._left)
        self._left -= len(tensors) + len(operators)
        shapes: list[tuple[int, ...]] = []
        for index, tensor in enumerate(tensors):
            shape = tensor.integers(0, _SIDES_CAP)
            shapes.append(shape)
            constant = self._constant(tensor, shape, index)
            if constant is not None:
                scope.constants[str(index)] = constant
        for operator in operators:
            code = operator.number(0, "u4")
            if code >= len(self._operators):
                raise self._buffer.corrupt(
                    f"operator code {code} of {len(self._operators)}", operator.position
                )
            inputs, outputs = (operator.integers(field, 1 << 16) for field in (1, 2))
            op = self._operators[code]
            attributes: dict[str, object] = {}
            if outputs and 0 <= outputs[0] < len(shapes):
                attributes["shape"] = shapes[outputs[0]]
            options = operator.table(4)
            if options is not None and op in {"BATCH_MATMUL", "GATHER", "FULLY_CONNECTED"}:
                attributes.update(_options(op, options))
            scope.nodes.append(
                Node(op=op, inputs=_names(inputs), outputs=_names(outputs), attributes=attributes)
            )

    def _operator_name(self, table: Table) -> str:
        code = max(table.number(0, "i1"), table.number(3, "i4"))
        return OPERATORS.get(code, f"operator {code}")

    def _constant(self, tensor: Table, shape: tuple[int, ...], index: int) -> Constant | None:
        """Return a tensor that has a buffer with values; ``None`` for one that is computed."""
        number = tensor.number(2, "u4")
        if number >= len(self._buffers):
            raise self._buffer.corrupt(f"Buffer {number} of {len(self._buffers)}", tensor.position)
        if number not in self._places:
            self._places[number] = self._place(self._buffers[number], number)
        start, length = self._places[number]
        if not length or number == 0:
            return None
        name = tensor.text(3) or f"tensor {index}"
        kind = tensor.number(1, "i1")
        dtype = DTYPES.get(kind)
        if any(side < 0 for side in shape) or math.prod(max(1, side) for side in shape) >= 1 << 62:
            raise self._fault(name, f"its shape is {list(shape[:8])}")
        if dtype is None or dtype == "string":
            reason = "text" if dtype else f"data type {kind}, which rmtaudit does not know"
            return Constant(name=name, shape=shape, dtype=dtype or "string", unreadable=reason)
        if tensor.table(6) is not None:
            return Constant(name=name, shape=shape, dtype=dtype, unreadable="sparse tensor")
        needed = bytes_of(dtype, math.prod(shape))
        if needed != length:
            raise self._fault(name, f"{length} bytes of values, but its shape needs {needed}")
        constant = Constant(
            name=name,
            shape=shape,
            dtype=dtype,
            place=Raw(self.source, start, length),
            alias=(number, dtype, shape),
        )
        return self._quantised(tensor, constant)

    def _quantised(self, tensor: Table, constant: Constant) -> Constant:
        """Note how codes become numbers: ``(q - zero) * scale``, one of each or one a slice of one side."""
        table = tensor.table(4)
        if table is None or constant.dtype not in _CODES:
            return constant
        scales = table.vector(2, 4)
        if table.number(4, "u1"):
            details = "custom" if table.number(4, "u1") == 1 else "blockwise"
            reason = f"quantised (unknown: {details} quantisation)"
            return replace(constant, unreadable=reason, skip=SkipReason.QUANTISED)
        if scales is None or not scales[1]:
            return constant
        zeros = table.vector(3, 8)
        side = table.number(6, "i4")
        count = scales[1]
        many = 0 <= side < len(constant.shape) and count == constant.shape[side]
        if not (count == 1 or many) or (zeros is not None and zeros[1] not in {0, 1, count}):
            raise self._fault(
                constant.name, f"{count} scales along side {side} of {list(constant.shape[:8])}"
            )
        stated = self._buffer.bytes(scales[0], 4 * count)
        constant = replace(constant, alias=(*constant.alias, stated))
        scale = Leaf(self._numbers("float32", scales, 4))
        zero = Leaf(self._numbers("int64", zeros, 8)) if zeros is not None and zeros[1] else None
        single = count == 1
        made = Dequantised(
            codes=self.trace.plain(constant), scale=scale, zero=zero, side=None if single else side
        )
        self.trace.quantised[constant] = made
        return constant

    def _numbers(self, dtype: str, vector: tuple[int, int], size: int) -> Constant:
        start, count = vector
        return Constant(name="", shape=(count,), dtype=dtype, place=Raw(self.source, start, size * count))

    def _place(self, buffer: Table, number: int) -> tuple[int, int]:
        """Return where the values of a buffer are: in it, or, of a large model, behind the tables."""
        offset, size = buffer.number(1, "u8"), buffer.number(2, "u8")
        if offset > 1 or size > 1:
            if offset + size > self.source.size:
                raise CorruptError(
                    "RA-IN-167",
                    f"Buffer {number} ends at {offset + size}, but the file has {self.source.size} bytes.",
                    hint="Download it again.",
                    where=self.source.where,
                )
            return offset, size
        vector = buffer.vector(0, 1)
        return (0, 0) if vector is None else vector

    def _fault(self, name: str, fault: str) -> CorruptError:
        return CorruptError(
            "RA-IN-168",
            f"Tensor '{display_name(name)}': {fault}.",
            hint="Download it again.",
            where=self.source.where,
        )


def open_model(source: FileSource, name: str) -> Checkpoint:
    """Return the opened model of a file. Raises ``CorruptError``."""
    model = _Model(source)
    constants = unique_names(model.scopes)
    claims: list[Claim] = []
    for scope in model.scopes:
        for node in scope.nodes:
            claims.extend(claims_of(model.trace, scope, node))
    claims += [
        Claim(expression=model.trace.leaf(constant), role=None, scheme=is_quantised(constant))
        for constant in constants
        if constant in model.trace.quantised
    ]
    return GraphCheckpoint(source, name, _once(specifications(constants, claims)), [])


def _once(tensors: list[tuple[TensorSpec, Expression]]) -> list[tuple[TensorSpec, Expression]]:
    """Return tensors with an alias for those alone that share a buffer."""
    seen = Counter(spec.alias for spec, _ in tensors)
    return [
        (spec if seen[spec.alias] > 1 else replace(spec, alias=None), expression)
        for spec, expression in tensors
    ]


def _options(op: str, options: Table) -> dict[str, int]:
    if op == "BATCH_MATMUL":
        return {"adj_x": options.number(0, "u1"), "adj_y": options.number(1, "u1")}
    if op == "GATHER":
        return {"axis": options.number(0, "i4")}
    return {"weights_format": options.number(1, "i1")}


def _names(indices: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(str(index) if index >= 0 else "" for index in indices)
