"""ONNX models, ``.onnx``: recognised, parsed, their weights named with the operators that take them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.base import Checkpoint, Contents, Reader
from rmtaudit.checkpoints.files import FileSource
from rmtaudit.checkpoints.protobuf import Wire, varint_in

if TYPE_CHECKING:
    from rmtaudit.checkpoints.onnx.schema import Model

_DAMAGED = re.compile(rb"\x08[\x01-\x20]\x12.[\x20-\x7e]{3}|\x08[\x01-\x20]\x3a")
_KNOWN = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
"""Wire types of the fields of ``ModelProto``."""
_GRAPH = frozenset({1, 2, 5, 10, 11, 12, 13, 14, 15, 16})


class OnnxReader(Reader):
    """Reads ``.onnx`` files, and the files with weights that they name."""

    name = "onnx"
    extensions = (".onnx",)
    place = 60

    def recognises(self, contents: Contents) -> bool:
        """Whether the file begins as a model does: a version, printable texts, and a graph."""
        return _begins_a_model(contents.head)

    def may_know(self, contents: Contents) -> bool:
        """Whether a version and the name of a producer come first: what is wrong behind them is said."""
        return _DAMAGED.match(contents.head) is not None

    def open(self, path: Path) -> Checkpoint:
        """Open a file: the graph is read, its tensors are measured (see :meth:`Reader.open`)."""
        source = FileSource(path)
        try:
            return _open(source, self.name)
        except BaseException:
            source.abandon()
            raise


def _open(source: FileSource, name: str) -> Checkpoint:
    from rmtaudit.checkpoints.graphs.checkpoint import GraphCheckpoint
    from rmtaudit.checkpoints.graphs.claims import specifications
    from rmtaudit.checkpoints.graphs.model import unique_names
    from rmtaudit.checkpoints.onnx.assembly import all_claims, renamed
    from rmtaudit.checkpoints.onnx.external import ExternalFiles
    from rmtaudit.checkpoints.onnx.schema import Parser

    model = Parser(Wire(source, "RA-IN-120")).model()
    files = ExternalFiles(source.path.parent, source.where)
    try:
        _resolve(model, files)
        constants = unique_names(model.scopes)
        tensors = renamed(specifications(constants, all_claims(model)))
        others = tuple(files.sources.values())
        return GraphCheckpoint(source, name, tensors, model.warnings, others)
    except BaseException:
        files.abandon()
        raise


def _begins_a_model(head: bytes) -> bool:
    """Whether the top-level fields in the first bytes are those of ``ModelProto``, a graph among them."""
    position, seen = 0, set()
    while position < len(head):
        key, position = varint_in(head, position)
        number, kind = key >> 3, key & 7
        if _KNOWN.get(number) != kind or (number not in {8, 14, 25} and number in seen):
            return False
        seen.add(number)
        value, position = varint_in(head, position)
        if kind == 0:
            if number == 1 and not 0 < value < 64:
                return False
            continue
        inside = head[position : position + value]
        if number in {2, 3, 4, 6} and not _is_text(inside):
            return False
        if number == 7:
            first = varint_in(inside, 0)[0] if inside else 0x0A
            return first & 7 == 2 and first >> 3 in _GRAPH and 1 in seen
        position += value
    return {1, 7} <= seen or {1, 8} <= seen


def _is_text(data: bytes) -> bool:
    return all(byte >= 0x20 or byte in b"\t\r\n" for byte in data)


def _resolve(model: Model, files: object) -> None:
    """Give constants whose values are in other files their places; equal ranges are one tensor."""
    from msgspec.structs import replace

    from rmtaudit.checkpoints.graphs.places import bytes_of
    from rmtaudit.checkpoints.onnx.external import ExternalFiles

    assert isinstance(files, ExternalFiles)
    shared: dict[tuple[str, int, int], int] = {}
    for _, _, location in model.locations:
        key = (location.file, location.offset, location.length or 0)
        shared[key] = shared.get(key, 0) + 1
    for scope, name, location in model.locations:
        constant = scope.constants.get(name)
        if constant is None:
            continue
        place = files.place(location, bytes_of(constant.dtype, constant.elements), name)
        key = (location.file, location.offset, location.length or 0)
        alias = (*key, constant.dtype, constant.shape) if shared[key] > 1 and constant.elements else None
        scope.constants[name] = replace(constant, place=place, alias=alias)
