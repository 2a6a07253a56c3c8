"""The readers of PyTorch's two formats: how each is recognised. What reads them is imported when one is."""

from __future__ import annotations

import re
from pathlib import Path

from rmtaudit.checkpoints.base import Checkpoint, Reader
from rmtaudit.checkpoints.files import FileSource

_PICKLE = re.compile(rb"\x80[\x00-\x05]|(?:\(*c|\(+i)[\w.]{1,200}\n[\w.]{1,200}\n|\([dl][pq]|[]}]q\x00|\(S'")


class TorchZipReader(Reader):
    """Reads ``.pt``, ``.pth`` and ``.bin`` files of torch >= 1.6, TorchScript archives among them."""

    name = "torch-zip"
    extensions = (".pt", ".pth", ".bin", ".ckpt", ".th", ".tar", ".pkl", ".model")

    def recognises(self, head: bytes) -> bool:
        """Whether the file begins as a zip archive that is not empty."""
        return head.startswith(b"PK\x03\x04")

    def open(self, path: Path) -> Checkpoint:
        """Open a file; its directory and its pickle are checked in full (see :meth:`Reader.open`)."""
        source = FileSource(path)
        try:
            from rmtaudit.checkpoints.torch_zip import open_archive

            return open_archive(source, self.name)
        except BaseException:
            source.abandon()
            raise


class TorchLegacyReader(Reader):
    """Reads the format of torch < 1.6, and lone pickles of arrays."""

    name = "torch-legacy"
    extensions = (".pt", ".pth", ".bin", ".ckpt", ".th", ".tar", ".pkl", ".pickle", ".model")

    def recognises(self, head: bytes) -> bool:
        """Whether the file begins as a pickle does, or as the tar archive of torch < 0.2."""
        return _PICKLE.match(head) is not None or head[257:262] == b"ustar"

    def open(self, path: Path) -> Checkpoint:
        """Open a file; its pickles are read, and its storages measured (see :meth:`Reader.open`)."""
        source = FileSource(path)
        try:
            from rmtaudit.checkpoints.torch_legacy import open_pickles

            return open_pickles(source, self.name)
        except BaseException:
            source.abandon()
            raise
