"""The program of an ``.mlmodel`` file. Source: ``Model.proto`` and ``MIL.proto`` of coremltools."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from rmtaudit.checkpoints.coreml.program import Operation, Value
from rmtaudit.checkpoints.coreml.wire import MalformedMessageError, fields, message, number, text, varint

_ML_PROGRAM = 502
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


def functions(data: memoryview) -> dict[str, list[Operation]] | None:
    """Return the operators of each function of a model; ``None`` for a model that is no ML program.

    Raises
    ------
    MalformedMessageError
        The bytes are not such a message.
    """
    program = [message(value) for key, value in fields(data) if key == _ML_PROGRAM]
    if not program:
        return None
    result: dict[str, list[Operation]] = {}
    for key, value in fields(program[0]):
        if key == 2:
            name, body = _entry(value)
            result[name] = list(_function(body))
    return result


def _entry(value: int | memoryview) -> tuple[str, memoryview]:
    """Return key and value of an entry of a map."""
    name, body = "", memoryview(b"")
    for key, part in fields(message(value)):
        if key == 1:
            name = text(part)
        elif key == 2:
            body = message(part)
    return name, body


def _function(data: memoryview) -> Iterator[Operation]:
    for key, value in fields(data):
        if key == 3:
            yield from _block(_entry(value)[1], _NESTED)


def _block(data: memoryview, left: int) -> Iterator[Operation]:
    if left == 0:
        raise MalformedMessageError(f"blocks nested more than {_NESTED} deep")
    for key, value in fields(data):
        if key == 3:
            yield from _operation(message(value), left)


def _operation(data: memoryview, left: int) -> Iterator[Operation]:
    kind, outputs, shape = "", [], None
    inputs: dict[str, str | Value] = {}
    for key, value in fields(data):
        if key == 1:
            kind = text(value)
        elif key == 2:
            name, body = _entry(value)
            binding = _binding(body)
            if binding is not None:
                inputs[name] = binding
        elif key == 3:
            name, sizes = _output(message(value))
            outputs.append(name)
            shape = sizes if shape is None else shape
        elif key == 4:
            yield from _block(message(value), left - 1)
        elif key == 5:
            name, body = _entry(value)
            inputs.setdefault(name, _value(body))
    yield Operation(type=kind, outputs=tuple(outputs), shape=shape or (), inputs=inputs)


def _binding(data: memoryview) -> str | Value | None:
    """Return the first of the bindings of an argument."""
    for key, value in fields(data):
        if key == 1:
            for inner, part in fields(message(value)):
                if inner == 1:
                    return text(part)
                if inner == 2:
                    return _value(message(part))
    return None


def _output(data: memoryview) -> tuple[str, tuple[int, ...]]:
    name = ""
    shape: tuple[int, ...] = ()
    for key, value in fields(data):
        if key == 1:
            name = text(value)
        elif key == 2:
            _, shape = _type(message(value))
    return name, shape


def _type(data: memoryview) -> tuple[str, tuple[int, ...]]:
    """Return the type of elements and the sizes of a tensor type; no type for lists and the like."""
    kind, sizes = "", []
    for key, value in fields(data):
        if key != 1:
            continue
        for inner, part in fields(message(value)):
            if inner == 1:
                kind = _TYPES.get(number(part), f"type {number(part)}")
            elif inner == 3:
                sizes.append(_size(message(part)))
    return kind, tuple(sizes)


def _size(data: memoryview) -> int:
    for key, value in fields(data):
        if key == 1:
            return sum(number(part) for inner, part in fields(message(value)) if inner == 1)
    return 0


def _value(data: memoryview) -> Value:
    kind = ""
    shape: tuple[int, ...] = ()
    file, offset = "", 0
    numbers: tuple[float, ...] | None = None
    for key, value in fields(data):
        if key == 2:
            kind, shape = _type(message(value))
        elif key == 3:
            numbers = _immediate(message(value), kind)
        elif key == 5:
            for inner, part in fields(message(value)):
                if inner == 1:
                    file = text(part)
                elif inner == 2:
                    offset = number(part)
    return Value(type=kind, shape=shape, file=file, offset=offset, numbers=numbers)


def _immediate(data: memoryview, kind: str) -> tuple[float, ...] | None:
    """Return the numbers of an immediate tensor; ``None`` for text, lists and dictionaries."""
    for key, value in fields(data):
        if key == 1:
            for inner, part in fields(message(value)):
                return _numbers(inner, message(part), kind)
    return None


def _numbers(field: int, data: memoryview, kind: str) -> tuple[float, ...] | None:
    packed = [value for key, value in fields(data) if key == 1]
    code = {1: "f", 6: "d"}.get(field)
    if field == 7:
        code = _IN_BYTES.get(kind)
        if code is None:
            return None
    if code is not None:
        raw = b"".join(bytes(message(part)) for part in packed)
        return struct.unpack(
            f"<{len(raw) // struct.calcsize(code)}{code}", raw[: len(raw) - len(raw) % struct.calcsize(code)]
        )
    if field not in {2, 3, 5}:
        return None
    result: list[float] = []
    for part in packed:
        if isinstance(part, int):
            result.append(_signed(part))
            continue
        at = 0
        while at < len(part):
            found, at = varint(part, at)
            result.append(_signed(found))
    return tuple(result)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
