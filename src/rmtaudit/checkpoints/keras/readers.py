"""The readers of Keras files: how each is recognised. What reads them is imported when one is."""

from __future__ import annotations

from pathlib import Path

from rmtaudit.checkpoints.base import Checkpoint, Contents, Reader
from rmtaudit.checkpoints.files import FileSource

_MAGIC = b"\x89HDF\r\n\x1a\n"
_WEIGHTS = "model.weights.h5"


class KerasHDF5Reader(Reader):
    """Reads HDF5 files: models and weights of Keras, arrays of anything else."""

    name = "keras-h5"
    extensions = (".h5", ".hdf5")
    other_extensions = (".keras", ".hdf", ".he5")
    place = 30

    def recognises(self, contents: Contents) -> bool:
        """Whether the file begins with the signature of HDF5."""
        return contents.head.startswith(_MAGIC)

    def open(self, path: Path) -> Checkpoint:
        """Open a file; all its headers are checked (see :meth:`Reader.open`)."""
        source = FileSource(path)
        try:
            from rmtaudit.checkpoints.hdf5.span import Window
            from rmtaudit.checkpoints.keras.checkpoint import keras_checkpoint

            return keras_checkpoint(path, self.name, Window(source, 0, source.size), None)
        except BaseException:
            source.abandon()
            raise


class KerasArchiveReader(Reader):
    """Reads ``.keras`` archives: a configuration, and an HDF5 file of weights."""

    name = "keras"
    extensions = (".keras",)
    place = 30

    def recognises(self, contents: Contents) -> bool:
        """Whether it is a zip archive of a configuration and weights."""
        sharded = any(name.endswith(".weights.h5") for name in contents.names)
        return "config.json" in contents.names and sharded

    def open(self, path: Path) -> Checkpoint:
        """Open an archive; its directory and all headers are checked (see :meth:`Reader.open`)."""
        source = FileSource(path)
        try:
            from rmtaudit.checkpoints.keras.archive import open_archive

            return open_archive(source, self.name)
        except BaseException:
            source.abandon()
            raise
