"""The program of an ``.mlmodel`` file. Source: ``Model.proto`` and ``MIL.proto`` of coremltools."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from rmtaudit.checkpoints.coreml.program import Operation, Value
from rmtaudit.checkpoints.protobuf import Field, Wire

_ML_PROGRAM = 502
_NUMBERS_CAP = 1 << 25
"""Most numbers of a value that the program holds itself: the program has at most 256 MiB."""

_TEXT_CAP = 1 << 16

Span = tuple[int, int]
"""Where the bytes of a message begin and end in the file."""

_TYPES = {
    1: "bool", 2: "string", 10: "fp16", 11: "fp32", 12: "fp64", 13: "bf16", 40: "fp8e4m3fn", 41: "fp8e5m2",
    21: "int8", 22: "int16", 23: "int32", 24: "int64", 25: "int4",
    31: "uint8", 32: "uint16", 33: "uint32", 34: "uint64", 35: "uint4", 36: "uint2", 37: "uint1",
    38: "uint6", 39: "uint3",
}  # fmt: skip
_NESTED = 16
_IN_BYTES = {
    "fp16": "e", "fp32": "f", "int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "uint32": "I",
    "int32": "i", "int64": "q", "uint64": "Q",
}  # fmt: skip


def functions(wire: Wire) -> dict[str, list[Operation]] | None:
    """Return the operators of each function of a model; ``None`` for a model that is no ML program.

    Raises
    ------
    CorruptError
        The file is not such a message.
    """
    program = [wire.span(each) for each in wire.fields(0, wire.source.size) if each[0] >> 3 == _ML_PROGRAM]
    if not program:
        return None
    result: dict[str, list[Operation]] = {}
    for each in wire.fields(*program[0]):
        if each[0] >> 3 == 2:
            name, body = _entry(wire, each)
            result[name] = list(_function(wire, body))
    return result


def _entry(wire: Wire, field: Field) -> tuple[str, Span]:
    """Return key and value of an entry of a map."""
    name, body = "", (0, 0)
    for each in wire.fields(*wire.span(field)):
        if each[0] >> 3 == 1:
            name = _text(wire, each)
        elif each[0] >> 3 == 2:
            body = wire.span(each)
    return name, body


def _function(wire: Wire, function: Span) -> Iterator[Operation]:
    for each in wire.fields(*function):
        if each[0] >> 3 == 3:
            yield from _block(wire, _entry(wire, each)[1], _NESTED)


def _block(wire: Wire, block: Span, left: int) -> Iterator[Operation]:
    if left == 0:
        raise wire.corrupt(f"blocks nested more than {_NESTED} deep", block[0])
    for each in wire.fields(*block):
        if each[0] >> 3 == 3:
            yield from _operation(wire, wire.span(each), left)


def _operation(wire: Wire, operation: Span, left: int) -> Iterator[Operation]:
    kind, outputs, shape = "", [], None
    inputs: dict[str, str | Value] = {}
    for each in wire.fields(*operation):
        number = each[0] >> 3
        if number == 1:
            kind = _text(wire, each)
        elif number == 2:
            name, body = _entry(wire, each)
            binding = _binding(wire, body)
            if binding is not None:
                inputs[name] = binding
        elif number == 3:
            name, sizes = _output(wire, wire.span(each))
            outputs.append(name)
            shape = sizes if shape is None else shape
        elif number == 4:
            yield from _block(wire, wire.span(each), left - 1)
        elif number == 5:
            name, body = _entry(wire, each)
            inputs.setdefault(name, _value(wire, body))
    yield Operation(type=kind, outputs=tuple(outputs), shape=shape or (), inputs=inputs)


def _binding(wire: Wire, argument: Span) -> str | Value | None:
    """Return the first of the bindings of an argument."""
    for each in wire.fields(*argument):
        if each[0] >> 3 == 1:
            for inner in wire.fields(*wire.span(each)):
                if inner[0] >> 3 == 1:
                    return _text(wire, inner)
                if inner[0] >> 3 == 2:
                    return _value(wire, wire.span(inner))
    return None


def _output(wire: Wire, output: Span) -> tuple[str, tuple[int, ...]]:
    name = ""
    shape: tuple[int, ...] = ()
    for each in wire.fields(*output):
        if each[0] >> 3 == 1:
            name = _text(wire, each)
        elif each[0] >> 3 == 2:
            _, shape = _type(wire, wire.span(each))
    return name, shape


def _type(wire: Wire, message: Span) -> tuple[str, tuple[int, ...]]:
    """Return the type of elements and the sizes of a tensor type; no type for lists and the like."""
    kind, sizes = "", []
    for each in wire.fields(*message):
        if each[0] >> 3 != 1:
            continue
        for inner in wire.fields(*wire.span(each)):
            if inner[0] >> 3 == 1:
                kind = _TYPES.get(wire.number(inner), f"type {wire.number(inner)}")
            elif inner[0] >> 3 == 3:
                sizes.append(_size(wire, wire.span(inner)))
    return kind, tuple(sizes)


def _size(wire: Wire, dimension: Span) -> int:
    for each in wire.fields(*dimension):
        if each[0] >> 3 == 1:
            constant = wire.fields(*wire.span(each))
            return sum(wire.number(inner) for inner in constant if inner[0] >> 3 == 1)
    return 0


def _value(wire: Wire, message: Span) -> Value:
    kind = ""
    shape: tuple[int, ...] = ()
    file, offset = "", 0
    numbers: tuple[float, ...] | None = None
    for each in wire.fields(*message):
        number = each[0] >> 3
        if number == 2:
            kind, shape = _type(wire, wire.span(each))
        elif number == 3:
            numbers = _immediate(wire, wire.span(each), kind)
        elif number == 5:
            for inner in wire.fields(*wire.span(each)):
                if inner[0] >> 3 == 1:
                    file = _text(wire, inner)
                elif inner[0] >> 3 == 2:
                    offset = wire.number(inner)
    return Value(type=kind, shape=shape, file=file, offset=offset, numbers=numbers)


def _immediate(wire: Wire, message: Span, kind: str) -> tuple[float, ...] | None:
    """Return the numbers of an immediate tensor; ``None`` for text, lists and dictionaries."""
    for each in wire.fields(*message):
        if each[0] >> 3 == 1:
            for inner in wire.fields(*wire.span(each)):
                return _numbers(wire, inner[0] >> 3, wire.span(inner), kind)
    return None


def _numbers(wire: Wire, field: int, message: Span, kind: str) -> tuple[float, ...] | None:
    packed = [each for each in wire.fields(*message) if each[0] >> 3 == 1]
    code = {1: "f", 6: "d"}.get(field)
    if field == 7:
        code = _IN_BYTES.get(kind)
        if code is None:
            return None
    if code is not None:
        size = struct.calcsize(code)
        raw = b"".join(wire.content(start, end, size * _NUMBERS_CAP) for start, end in map(wire.span, packed))
        return struct.unpack(f"<{len(raw) // size}{code}", raw[: len(raw) - len(raw) % size])
    if field not in {2, 3, 5}:
        return None
    return tuple(number for each in packed for number in wire.varints(each, _NUMBERS_CAP))


def _text(wire: Wire, field: Field) -> str:
    start, end = wire.span(field)
    try:
        return wire.content(start, end, _TEXT_CAP).decode()
    except UnicodeDecodeError as error:
        raise wire.corrupt("a text that is not UTF-8", start) from error
