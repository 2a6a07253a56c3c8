"""The reader of GGUF files. What parses them is imported when one is opened."""

from __future__ import annotations

from pathlib import Path

from rmtaudit.checkpoints.base import Checkpoint, Contents, Reader
from rmtaudit.checkpoints.files import FileSource


class GgufReader(Reader):
    """Reads ``.gguf`` files of version 2 and 3."""

    name = "gguf"
    extensions = (".gguf",)
    place = 30

    def recognises(self, contents: Contents) -> bool:
        """Whether the file begins with the four letters."""
        return contents.head.startswith(b"GGUF")

    def open(self, path: Path) -> Checkpoint:
        """Open a file; its header is checked in full (see :meth:`Reader.open`)."""
        from rmtaudit.checkpoints.gguf.tensors import open_gguf

        source = FileSource(path)
        try:
            return open_gguf(source, self.name)
        except BaseException:
            source.abandon()
            raise
