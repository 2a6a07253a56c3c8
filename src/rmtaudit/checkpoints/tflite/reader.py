"""TensorFlow Lite models, ``.tflite``: recognised by their identifier."""

from __future__ import annotations

from pathlib import Path

from rmtaudit.checkpoints.base import Checkpoint, Contents, Reader
from rmtaudit.checkpoints.files import FileSource


class TFLiteReader(Reader):
    """Reads ``.tflite`` files."""

    name = "tflite"
    extensions = (".tflite",)
    other_extensions = (".lite",)
    place = 70

    def recognises(self, contents: Contents) -> bool:
        """Whether the FlatBuffer says that it is a model."""
        return contents.head[4:8] == b"TFL3"

    def open(self, path: Path) -> Checkpoint:
        """Open a file: tables are read, buffers are measured (see :meth:`Reader.open`)."""
        source = FileSource(path)
        try:
            from rmtaudit.checkpoints.tflite.model import open_model

            return open_model(source, self.name)
        except BaseException:
            source.abandon()
            raise
