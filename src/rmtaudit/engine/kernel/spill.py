"""Features that wait on disk: a file a block, so that memory holds two blocks however many there are."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from rmtaudit.engine.kernel.features import Features
from rmtaudit.kernels.ntk import Factors, Lookup, Piece, Rows

_SHARE = 4
"""All features take at most a quarter of the free space; otherwise they are formed again (a choice)."""
_KINDS: dict[str, type[Piece]] = {"factors": Factors, "lookup": Lookup, "rows": Rows}
_NAMES = {kind: name for name, kind in _KINDS.items()}


@dataclass(slots=True, kw_only=True)
class Spill:
    """The features of blocks, on disk for as long as a kernel is formed.

    Attributes
    ----------
    folder
        It is made when it is needed; its parent exists.
    blocks
        How many there are. The features of the last one are never read again.
    device
        Where features are read to.
    """

    folder: Path
    blocks: int
    device: torch.device
    _written: set[int] = field(default_factory=set)
    _wanted: bool | None = None

    def write(self, block: int, features: Features) -> None:
        """Write the features of a block, unless there are two blocks at most, or the disk lacks the space."""
        if self._wanted is None:
            free = shutil.disk_usage(self.folder.parent).free
            self._wanted = self.blocks > 2 and self.blocks * features.nbytes <= free // _SHARE
        if not self._wanted or block == self.blocks - 1:
            return
        try:
            self.folder.mkdir(exist_ok=True)
            torch.save(_plain(features), self._path(block))
        except (OSError, RuntimeError):  # torch raises the latter where the disk is full
            self._wanted = False  # which costs time, not the kernel: features are formed again
            self._path(block).unlink(missing_ok=True)
        else:
            self._written.add(block)

    def read(self, block: int) -> Features | None:
        """Return the features of a block, if they were written."""
        if block not in self._written:
            return None
        plain = torch.load(self._path(block), weights_only=True, map_location=self.device)
        pieces = {
            name: tuple(_KINDS[kind](**tensors) for kind, tensors in each)
            for name, each in plain.pop("pieces").items()
        }
        return Features(pieces=pieces, **plain)

    def clear(self) -> None:
        """Remove the files."""
        self._written.clear()
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.folder)

    def _path(self, block: int) -> Path:
        return self.folder / f"{block}.pt"


def _plain(features: Features) -> dict[str, Any]:
    """Return features as what a reader of tensors alone reads."""
    pieces = {
        name: [
            (_NAMES[type(each)], {part.name: getattr(each, part.name) for part in fields(each)})
            for each in of
        ]
        for name, of in features.pieces.items()
    }
    return {
        "samples": features.samples,
        "outputs": features.outputs,
        "pieces": pieces,
        "rows": features.rows,
    }
