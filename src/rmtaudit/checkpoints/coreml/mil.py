"""The program of an ``.mlmodelc`` folder, which is text: ``TYPE NAME = OPERATOR(INPUTS)[ATTRIBUTES];``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rmtaudit.checkpoints.coreml.program import Operation, Value

_FUNCTION = re.compile(r"\bfunc\s+(\w+)\s*<")
_OUTPUT = re.compile(r"(?:tensor<\s*(\w+)\s*,\s*\[([^\]]*)\]\s*>|\w+)\s+([\w.\-]+)\s*$")
_CALL = re.compile(r"=\s*(\w+)\s*\(")
_TYPED = re.compile(r"\s*(?:tensor<\s*(\w+)\s*,\s*\[([^\]]*)\]\s*>|(\w+))\s*\((.*)\)\s*$", re.DOTALL)
_BLOB = re.compile(r'BLOBFILE\s*\(\s*path\s*=.{0,80}?"((?:[^"\\]|\\.)*)"', re.DOTALL)
_OFFSET = re.compile(r"offset\s*=[^()]{0,80}\(\s*(\d{1,18})\s*\)", re.DOTALL)
_SIZE = re.compile(r"[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?(?:0x[0-9a-fA-F.]+(?:p[+-]?\d+)?|\d[\d.eE+-]*|inf|nan)|true|false")
_PIECES = re.compile(r'"(?:[^"\\]|\\.)*"|[][(){}<>,;]')
_OPENING, _CLOSING = "([{", ")]}"
_LONGEST = 4096
"""Numbers of a value that the text holds itself, and characters of an output: longer ones are in files."""


class MalformedProgramError(Exception):
    """The text is no program."""


def functions(source: str) -> dict[str, list[Operation]]:
    """Return the operators of each function of a program.

    Raises
    ------
    MalformedProgramError
        Brackets do not match, or there is no function.
    """
    starts = list(_FUNCTION.finditer(source))
    if not source.lstrip().startswith("program") or not starts:
        raise MalformedProgramError("it is not a program with functions")
    result = {}
    for index, start in enumerate(starts):
        stop = starts[index + 1].start() if index + 1 < len(starts) else len(source)
        result[start[1]] = [
            each for statement in _statements(source, start.end(), stop) if (each := _operation(statement))
        ]
    return result


def _statements(source: str, start: int, stop: int) -> Iterator[str]:
    """Yield what is between semicolons, wherever they are nested in blocks."""
    begin = start
    for piece in _PIECES.finditer(source, start, stop):
        if piece[0] in {";", "{"}:
            yield source[begin : piece.start()]
            begin = piece.end()


def _operation(statement: str) -> Operation | None:
    call = _CALL.search(statement)
    if call is None:
        return None
    outputs, shape = [], None
    for part in _split(statement[: call.start()].strip().lstrip("(").rstrip(")")):
        output = _OUTPUT.search(part.strip()) if len(part) < _LONGEST else None
        if output is not None:
            outputs.append(output[3])
            shape = _sizes(output[2] or "") if shape is None else shape
    inputs: dict[str, str | Value] = {}
    end = _matching(statement, call.end() - 1)
    attributes = statement[end + 1 :].strip()
    for text in (statement[call.end() : end], attributes[1:-1] if attributes.startswith("[") else ""):
        for part in _split(text):
            name, equals, value = part.partition("=")
            if equals:
                inputs.setdefault(name.strip(), _value(value.strip()))
    return Operation(type=call[1], outputs=tuple(outputs), shape=shape or (), inputs=inputs)


def _split(text: str) -> list[str]:
    """Return the parts between the commas that are in no brackets and no quotes."""
    parts, begin, depth = [], 0, 0
    for piece in _PIECES.finditer(text):
        mark = piece[0]
        if mark in _OPENING or mark == "<":
            depth += 1
        elif mark in _CLOSING or mark == ">":
            depth -= 1
        elif mark == "," and depth == 0:
            parts.append(text[begin : piece.start()])
            begin = piece.end()
    parts.append(text[begin:])
    return parts


def _matching(text: str, opening: int) -> int:
    """Return the position of the bracket that closes the one at ``opening``."""
    depth = 0
    for piece in _PIECES.finditer(text, opening):
        if piece[0] in _OPENING:
            depth += 1
        elif piece[0] in _CLOSING:
            depth -= 1
            if depth == 0:
                return piece.start()
    raise MalformedProgramError("brackets do not match")


def _value(text: str) -> str | Value:
    """Return the value that a text is, or the name of an output; of a list of names, the first."""
    typed = _TYPED.match(text)
    if typed is None:
        return text.strip("() ").partition(",")[0].strip()
    kind, shape, inner = typed[1] or typed[3], _sizes(typed[2] or ""), typed[4]
    blob = _BLOB.search(inner)
    if blob is not None:
        offset = _OFFSET.search(inner, blob.end())
        if offset is None:
            raise MalformedProgramError("a value in a file without an offset")
        return Value(type=kind, shape=shape, file=blob[1], offset=int(offset[1]))
    if kind == "string" or '"' in inner:
        return Value(type="string", shape=shape)
    found = _NUMBER.findall(inner[: 32 * _LONGEST])[:_LONGEST]
    return Value(type=kind, shape=shape, numbers=tuple(_number(each) for each in found))


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(
        int(part) if _SIZE.fullmatch(part) else 0 for part in map(str.strip, text.split(",")) if part
    )


def _number(text: str) -> float:
    if text in {"true", "false"}:
        return float(text == "true")
    try:
        return float.fromhex(text) if "0x" in text else float(text)
    except (ValueError, OverflowError) as error:
        raise MalformedProgramError(f"{text[:40]!r} is not a number") from error
