"""The reader of OpenVINO IR: how it is recognised. What reads it is imported when one is."""

from __future__ import annotations

import re
from pathlib import Path

from rmtaudit.checkpoints.base import Checkpoint, Contents, Reader
from rmtaudit.checkpoints.files import FileSource
from rmtaudit.errors import InputError
from rmtaudit.names import display_name

_NET = re.compile(
    rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]{0,200}\?>)?\s*(<!--.{0,2000}?-->\s*)?(<!DOCTYPE\s+net\b|<net\s)",
    re.DOTALL,
)


class OpenVINOReader(Reader):
    """Reads the ``.xml`` of an OpenVINO model, and the ``.bin`` beside it."""

    name = "openvino"
    extensions = (".xml",)
    place = 5
    companion = ".bin"

    def recognises(self, contents: Contents) -> bool:
        """Whether it is an XML document whose root is ``net``."""
        return _NET.match(contents.head) is not None

    def open(self, path: Path) -> Checkpoint:
        """Open a model; its graph is parsed, and its constants are compared with the ``.bin``."""
        graph = FileSource(path)
        try:
            weights = _weights_of(path, graph)
        except BaseException:
            graph.abandon()
            raise
        try:
            from rmtaudit.checkpoints.openvino.checkpoint import openvino_checkpoint

            return openvino_checkpoint(graph, weights, self.name)
        except BaseException:
            graph.abandon()
            weights.abandon()
            raise


def _weights_of(path: Path, graph: FileSource) -> FileSource:
    from rmtaudit.checkpoints.sharded import check_contained

    companion = path.with_suffix(".bin")
    try:
        source = FileSource(companion)
    except InputError as error:
        raise InputError(
            "RA-IN-201",
            f"The values are in '{display_name(companion.name)}', which cannot be opened: {error.message}",
            hint="Put both files in one folder.",
            where=graph.where,
        ) from error
    try:
        check_contained(companion)
    except BaseException:
        source.abandon()
        raise
    return source
