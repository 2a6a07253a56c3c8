"""The reader of Core ML: how its folders are recognised. What reads them is imported when one is."""

from __future__ import annotations

from pathlib import Path

from rmtaudit.checkpoints.base import Checkpoint, Contents, Reader


class CoreMLReader(Reader):
    """Reads ML programs of Core ML, as packages and compiled."""

    name = "coreml"
    extensions = ()
    place = 40

    def recognises(self, contents: Contents) -> bool:
        """Whether it is a folder with nothing but a manifest in it, or with a compiled program."""
        if not contents.folder:
            return False
        names = {name for name in contents.names if not name.startswith(".")}
        return names == {"Manifest.json"} or {"model.mil", "coremldata.bin"} <= names

    def open(self, path: Path) -> Checkpoint:
        """Open a folder; the program is parsed, and its constants are compared with the files of values."""
        from rmtaudit.checkpoints.coreml.package import open_package

        return open_package(path, self.name)
