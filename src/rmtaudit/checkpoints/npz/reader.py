"""The readers of NumPy's files. What parses them is imported when one is opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.base import Contents, Reader
from rmtaudit.checkpoints.files import FileSource

if TYPE_CHECKING:
    from rmtaudit.checkpoints.npz.tensors import NumpyCheckpoint


class NpzReader(Reader):
    """Reads ``.npz`` archives of ``numpy.savez`` and ``numpy.savez_compressed``."""

    name = "npz"
    extensions = (".npz",)
    place = 60

    def recognises(self, contents: Contents) -> bool:
        """Whether the file is a zip archive that holds nothing but ``.npy`` files."""
        names = contents.names
        return (
            contents.head.startswith(b"PK\x03\x04") and bool(names) and all(n.endswith(".npy") for n in names)
        )

    def open(self, path: Path) -> NumpyCheckpoint:
        """Open an archive; directory and headers are checked in full (see :meth:`Reader.open`)."""
        from rmtaudit.checkpoints.npz.tensors import open_npz

        source = FileSource(path)
        try:
            return open_npz(source, self.name)
        except BaseException:
            source.abandon()
            raise


class NpyReader(Reader):
    """Reads a single ``.npy`` file as one tensor.

    Such files are data more often than weights: a folder is not searched for them, and a plugin that knows
    them comes first.
    """

    name = "npy"
    extensions = ()
    other_extensions = (".npy",)
    place = 90

    def recognises(self, contents: Contents) -> bool:
        """Return ``False``: see :meth:`may_know`."""
        del contents
        return False

    def may_know(self, contents: Contents) -> bool:
        """Whether the file begins as numpy's do."""
        return contents.head.startswith(b"\x93NUMPY")

    def open(self, path: Path) -> NumpyCheckpoint:
        """Open a file; its header is checked against its size (see :meth:`Reader.open`)."""
        from rmtaudit.checkpoints.npz.tensors import open_npy

        source = FileSource(path)
        try:
            return open_npy(source, self.name)
        except BaseException:
            source.abandon()
            raise
