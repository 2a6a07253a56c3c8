"""The reader of Flax's MessagePack: how it is recognised. What reads it is imported when one is."""

from __future__ import annotations

import re
from pathlib import Path

from rmtaudit.checkpoints.base import Checkpoint, Contents, Reader
from rmtaudit.checkpoints.files import FileSource

_MAP = rb"(?:[\x81-\x8f]|\xde..|\xdf....)"
_KEY = rb"(?:[\xa1-\xbf]|\xd9.)[\x20-\x7e]{1,200}?"
_ARRAY = rb"(?:\xc7.|\xc8..|\xc9....|[\xd4-\xd8])[\x01-\x03][\x92-\x94]"
_BEGINNING = re.compile(
    _MAP + _KEY + b"(?:(?:" + _MAP + _KEY + b")|" + _ARRAY + b"|[\xc0-\xc3\xca-\xd3])", re.DOTALL
)
"""A map whose first key leads to another map, to an array or to a number."""


class FlaxReader(Reader):
    """Reads ``.msgpack`` files of Flax."""

    name = "flax-msgpack"
    extensions = (".msgpack",)
    place = 50

    def recognises(self, contents: Contents) -> bool:
        """Whether the file begins as a map of names to maps or arrays."""
        return _BEGINNING.match(contents.head) is not None

    def open(self, path: Path) -> Checkpoint:
        """Open a file; it is walked once, the values of its arrays are passed over."""
        source = FileSource(path)
        try:
            from rmtaudit.checkpoints.flax.checkpoint import flax_checkpoint

            return flax_checkpoint(source, self.name)
        except BaseException:
            source.abandon()
            raise
