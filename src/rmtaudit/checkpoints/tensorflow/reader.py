"""Frozen TensorFlow graphs, ``.pb``: recognised, parsed, their constants named with what takes them."""

from __future__ import annotations

import re
from pathlib import Path

from rmtaudit.checkpoints.base import Checkpoint, Contents, Reader
from rmtaudit.checkpoints.files import FileSource
from rmtaudit.checkpoints.protobuf import Wire, varint_in
from rmtaudit.errors import NotACheckpointError

_OPERATOR = re.compile(rb"[A-Z_][A-Za-z0-9_>.]{0,200}")
_SAVED = re.compile(rb"\x08[\x01-\x7f]\x12.{1,5}?\x0a", re.DOTALL)
_TEXT = re.compile(rb"\s*(#.*\n\s*)*(node|saved_model_schema_version|meta_graphs)\s*[:{]")


class FrozenGraphReader(Reader):
    """Reads ``.pb`` files whose weights are constants of the graph."""

    name = "tensorflow-graph"
    extensions = (".pb",)
    other_extensions = (".pbtxt",)
    place = 80

    def recognises(self, contents: Contents) -> bool:
        """Whether the file begins with an operator: a name, and a type that is an identifier."""
        return _begins_with_an_operator(contents.head)

    def may_know(self, contents: Contents) -> bool:
        """Whether it is a SavedModel, or a graph as text: both are refused by name."""
        head = contents.head
        return not contents.folder and (_SAVED.match(head) is not None or _TEXT.match(head) is not None)

    def open(self, path: Path) -> Checkpoint:
        """Open a file: the graph is read, its constants are measured (see :meth:`Reader.open`)."""
        source = FileSource(path)
        try:
            return _open(source, self.name)
        except BaseException:
            source.abandon()
            raise


def saved_model_refusal(where: str) -> NotACheckpointError:
    """Return the error for a SavedModel: its weights are variables in a format that is not read.

    Parameters
    ----------
    where
        The printable name of its file or folder.
    """
    return NotACheckpointError(
        "RA-IN-178",
        "This is a TensorFlow SavedModel, whose weights are variables in a format that rmtaudit "
        "does not read.",
        hint="Convert the folder: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx",
        where=where,
    )


def _open(source: FileSource, name: str) -> Checkpoint:
    from rmtaudit.checkpoints.graphs.checkpoint import GraphCheckpoint
    from rmtaudit.checkpoints.graphs.claims import specifications
    from rmtaudit.checkpoints.graphs.model import unique_names
    from rmtaudit.checkpoints.tensorflow.operators import TensorFlowTrace, claims_of
    from rmtaudit.checkpoints.tensorflow.schema import Parser

    head = bytes(source.pread(0, min(4096, source.size)))
    if not _begins_with_an_operator(head):
        if _TEXT.match(head):
            raise NotACheckpointError(
                "RA-IN-179",
                "This is a TensorFlow graph in text form.",
                hint="Write it again in binary form: tf.io.write_graph(graph, folder, name, as_text=False)",
                where=source.where,
            )
        if _SAVED.match(head):
            raise saved_model_refusal(source.where)
    graph = Parser(Wire(source, "RA-IN-175")).graph()
    constants = unique_names(graph.scopes)
    trace = TensorFlowTrace()
    claims = (
        claim for scope in graph.scopes for node in scope.nodes for claim in claims_of(trace, scope, node)
    )
    warnings = []
    if graph.variables:
        warnings.append(
            f"the graph is not frozen: {graph.variables} variables have no values in this file; freeze it, "
            "or give the checkpoint that belongs to it"
        )
    return GraphCheckpoint(source, name, specifications(constants, claims), warnings)


def _begins_with_an_operator(head: bytes) -> bool:
    """Whether the first field is a ``NodeDef``: fields 1 (name) and 2 (type), and nothing before them."""
    if head[:1] != b"\x0a":
        return False
    _, at = varint_in(head, 1)
    if head[at : at + 1] != b"\x0a":
        return False
    length, at = varint_in(head, at + 1)
    name = head[at : at + length]
    at += length
    if not name or any(byte < 0x20 or byte == 0x7F for byte in name) or head[at : at + 1] != b"\x12":
        return False
    length, at = varint_in(head, at + 1)
    return length > 0 and _OPERATOR.fullmatch(head[at : at + length]) is not None
