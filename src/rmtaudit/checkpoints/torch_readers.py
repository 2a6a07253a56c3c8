"""The readers of PyTorch's two formats: how each is recognised. What reads them is imported when one is."""

from __future__ import annotations

import re
from pathlib import Path

from rmtaudit.checkpoints.base import Checkpoint, Contents, Reader
from rmtaudit.checkpoints.files import FileSource

_PICKLE = re.compile(rb"\x80[\x00-\x05]|(?:\(*c|\(+i)[\w.]{1,200}\n[\w.]{1,200}\n|\([dl][pq]|[]}]q\x00|\(S'")

_MAGIC = re.compile(rb"\x80[\x02-\x05](\x95.{8})?\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\.", re.DOTALL)
"""The number 0x1950a86a20f9469cfc6c, which ``torch.save`` pickled first before version 1.6."""
_ZIP = b"PK\x03\x04"
_EXTENSIONS = (".bin", ".pt", ".pth", ".th", ".ckpt")


class TorchZipReader(Reader):
    """Reads ``.pt``, ``.pth`` and ``.bin`` files of torch >= 1.6, TorchScript archives among them."""

    name = "torch-zip"
    extensions = _EXTENSIONS
    other_extensions = (".tar", ".pkl", ".model")
    place = 10

    def recognises(self, contents: Contents) -> bool:
        """Whether the file is a zip archive with a ``data.pkl``, at the top or in a folder."""
        pickled = any(name == "data.pkl" or name.endswith("/data.pkl") for name in contents.names)
        return contents.head.startswith(_ZIP) and pickled

    def may_know(self, contents: Contents) -> bool:
        """Whether it is a zip archive: if it is damaged or of something else, that is said."""
        return contents.head.startswith(_ZIP)

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
    extensions = _EXTENSIONS
    other_extensions = (".tar", ".pkl", ".pickle", ".model")
    place = 10

    def recognises(self, contents: Contents) -> bool:
        """Whether the file begins with the magic number that ``torch.save`` pickled."""
        return _MAGIC.match(contents.head) is not None

    def may_know(self, contents: Contents) -> bool:
        """Whether the file begins as a pickle does, or as the tar archive of torch < 0.2."""
        head = contents.head
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
