"""Attributes of HDF5 objects that hold one text: Keras writes its configuration and names so."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from rmtaudit.checkpoints.hdf5.datatypes import dataspace, datatype
from rmtaudit.checkpoints.hdf5.messages import Kind, Message
from rmtaudit.checkpoints.hdf5.span import Window


def texts(window: Window, parts: Sequence[Message], wanted: frozenset[str]) -> dict[str, str]:
    """Return the attributes of these names that hold one text; others are left out.

    Raises
    ------
    CorruptError
        An attribute of one of these names is damaged.
    """
    result = {}
    for part in parts:
        if part.kind == Kind.ATTRIBUTE:
            name, text = _text(window, part.data, wanted)
            if text is not None:
                result[name] = text
    return result


def _text(window: Window, data: bytes, wanted: frozenset[str]) -> tuple[str, str | None]:
    """Return an attribute (specification IV.A.2.m): its name and its text, ``None`` if it is none."""
    if len(data) < 9 or data[0] not in {1, 2, 3}:
        window.corrupt("a damaged attribute")
    lengths = struct.unpack_from("<3H", data, 2)
    shared = data[0] > 1 and data[1] & 3
    at = 9 if data[0] == 3 else 8
    pieces = []
    for length in lengths:
        pieces.append(data[at : at + length])
        at += length if data[0] > 1 else -(-length // 8) * 8
    name = pieces[0].rstrip(b"\0").decode("utf-8", "replace")
    if name not in wanted or shared:
        return name, None
    kind = datatype(window, pieces[1])
    if dataspace(window, pieces[2]) not in {(), (1,)} or not kind.text:
        return name, None
    value = data[at : at + kind.size]
    if len(value) < kind.size:
        window.corrupt(f"the attribute '{name}' extends past its message")
    if kind.text == "variable":
        value = _from_global_heap(window, value)
    return name, value.rstrip(b"\0").decode("utf-8", "replace")


def _from_global_heap(window: Window, pointer: bytes) -> bytes:
    """Return the object of a global heap that a value of variable length points to (specification III.E)."""
    if len(pointer) < 16:
        window.corrupt("a text without an address")
    length, address, wanted = struct.unpack_from("<IQI", pointer)
    head = window.metadata(address, 16, "a global heap")
    if not head.startswith(b"GCOL"):
        window.corrupt(f"no global heap at {address}")
    end = address + struct.unpack_from("<Q", head, 8)[0]
    at = address + 16
    while at + 16 <= end:
        index, _, _, size = struct.unpack("<HHIQ", window.metadata(at, 16, "a global heap"))
        if index == wanted:
            return window.metadata(at + 16, min(length, size), "a text")
        if index == 0:
            break
        at += 16 + -(-size // 8) * 8
    raise window.damaged(f"a text that is not in its heap at {address}")
