"""The readers of PyTorch's formats: how each is recognised. What reads them is imported when one is."""

from __future__ import annotations

import re
from pathlib import Path

from rmtaudit.checkpoints.base import Checkpoint, Contents, Reader
from rmtaudit.checkpoints.members import open_source

_PICKLE = re.compile(rb"\x80[\x00-\x05]|(?:\(*c|\(+i)[\w.]{1,200}\n[\w.]{1,200}\n|\([dl][pq]|[]}]q\x00|\(S'")

_MAGIC = re.compile(rb"\x80[\x02-\x05](\x95.{8})?\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\.", re.DOTALL)
"""The number 0x1950a86a20f9469cfc6c, which ``torch.save`` pickled first before version 1.6."""
_FORMAT = re.compile(r"(?:[^/]+/)?archive_format")
_SHARD = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")
_ZIP = b"PK\x03\x04"
_EXTENSIONS = (".bin", ".pt", ".pth", ".th", ".ckpt")


class TorchZipReader(Reader):
    """Reads ``.pt``, ``.pth`` and ``.bin`` files of torch >= 1.6, TorchScript archives among them."""

    name = "torch-zip"
    extensions = _EXTENSIONS
    other_extensions = (".tar", ".pkl", ".model")
    place = 10
    in_archives = True

    def recognises(self, contents: Contents) -> bool:
        """Whether the file is a zip archive with a ``data.pkl``, at the top or in a folder."""
        pickled = any(name == "data.pkl" or name.endswith("/data.pkl") for name in contents.names)
        return contents.head.startswith(_ZIP) and pickled

    def may_know(self, contents: Contents) -> bool:
        """Whether it is a zip archive whose directory cannot be read: what is wrong with it is said."""
        return contents.head.startswith(_ZIP) and not contents.names

    def open(self, path: Path) -> Checkpoint:
        """Open a file; its directory and its pickle are checked in full (see :meth:`Reader.open`)."""
        source = open_source(path)
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
    in_archives = True

    def recognises(self, contents: Contents) -> bool:
        """Whether the file begins with the magic number that ``torch.save`` pickled."""
        return _MAGIC.match(contents.head) is not None

    def may_know(self, contents: Contents) -> bool:
        """Whether the file begins as a pickle does, or as the tar archive of torch < 0.2."""
        head = contents.head
        return _PICKLE.match(head) is not None or head[257:262] == b"ustar"

    def open(self, path: Path) -> Checkpoint:
        """Open a file; its pickles are read, and its storages measured (see :meth:`Reader.open`)."""
        source = open_source(path)
        try:
            from rmtaudit.checkpoints.torch_legacy import open_pickles

            return open_pickles(source, self.name)
        except BaseException:
            source.abandon()
            raise


class TorchExportReader(Reader):
    """Reads ``.pt2`` archives of ``torch.export.save``."""

    name = "torch-export"
    extensions = (".pt2",)
    place = 20

    def recognises(self, contents: Contents) -> bool:
        """Whether the file is a zip archive with an ``archive_format`` and a ``data`` folder."""
        formats = [name for name in contents.names if _FORMAT.fullmatch(name)]
        roots = [name.removesuffix("archive_format") for name in formats]
        return len(roots) == 1 and any(
            name.startswith(f"{root}data/") for root in roots for name in contents.names
        )

    def open(self, path: Path) -> Checkpoint:
        """Open a file; its directory and its tables are checked in full (see :meth:`Reader.open`)."""
        source = open_source(path)
        try:
            from rmtaudit.checkpoints.torch_export import open_exported

            return open_exported(source, self.name)
        except BaseException:
            source.abandon()
            raise


class DistributedReader(Reader):
    """Reads folders of ``torch.distributed.checkpoint``, and its safetensors files of shards."""

    name = "torch-dcp"
    extensions = ()

    def recognises(self, contents: Contents) -> bool:
        """Whether the folder has a ``.metadata`` and ``.distcp`` files, or safetensors files of shards."""
        weights = [name for name in contents.names if name.endswith((".safetensors", ".distcp"))]
        if not contents.folder or not weights:
            return False  # where there are other safetensors files, they are the whole model
        plain = ".metadata" in contents.names and all(name.endswith(".distcp") for name in weights)
        return plain or all(map(_SHARD.fullmatch, weights))

    def open(self, path: Path) -> Checkpoint:
        """Open a folder; its metadata is checked against its files (see :meth:`Reader.open`)."""
        names = sorted(each.name for each in path.iterdir())
        if any(map(_SHARD.fullmatch, names)):
            from rmtaudit.checkpoints.dcp.hub import open_hub

            return open_hub(path, names, self.name)
        from rmtaudit.checkpoints.dcp.plain import open_plain

        return open_plain(path, self.name)


class ZipReader(Reader):
    """Reads zip archives of checkpoints, as Stable-Baselines3 writes them."""

    name = "zip"
    extensions = ()
    other_extensions = (".zip", ".pt2")

    def recognises(self, contents: Contents) -> bool:
        """Answer ``False``: what is in the archive has to be opened to know."""
        del contents
        return False

    def may_know(self, contents: Contents) -> bool:
        """Whether it is a zip archive whose directory can be read."""
        return contents.head.startswith(_ZIP) and bool(contents.names)

    def open(self, path: Path) -> Checkpoint:
        """Open the one checkpoint in the archive (see :meth:`Reader.open`)."""
        from rmtaudit.checkpoints.bundle import open_only

        return open_only(path)
