"""Points and edges: small files of numbers that are read whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.files import read_small
from rmtaudit.checkpoints.registry import read_head
from rmtaudit.engine.sources.archives import read_npy
from rmtaudit.engine.sources.words import printed
from rmtaudit.errors import CorruptError, InputError, UsageError
from rmtaudit.matrices.sources import TensorSource
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import numpy as np
    import torch

_LARGEST = 1 << 30


def read_points(path: Path) -> torch.Tensor:
    """Return points, float64, shape ``(n, d)``, of an ``.npy`` file or of a text file with a row a point.

    Raises
    ------
    CorruptError
        RA-MS-012, RA-MS-035: no array, or no numbers.
    """
    import torch

    head, size = read_head(path)
    if not head.startswith(b"\x93NUMPY"):
        return torch.from_numpy(_numbers(path, float))
    _refuse_large(size, path)
    stored = read_npy(path)
    return TensorSource(stored[:, None] if stored.ndim == 1 else stored, printed(path)).matrix


def read_edges(path: Path) -> np.ndarray[Any, Any]:
    """Return edges, int64, shape ``(m, 2)``: the first two columns of a text file.

    Raises
    ------
    CorruptError, UsageError
        RA-MS-035: no numbers, or one column.
    """
    found = _numbers(path, int)
    if found.shape[1] < 2:
        raise UsageError("RA-MS-035", "A list of edges must have two columns.", where=printed(path))
    return found[:, :2]


def _numbers(path: Path, kind: type[int] | type[float]) -> np.ndarray[Any, Any]:
    """Return the numbers of a text file, separated by commas, tabs or spaces; one line of names may lead."""
    import numpy as np

    _refuse_large(read_head(path)[1], path)
    text = read_small(path, _LARGEST).decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if lines and re.search(r"[^\s,;0-9eE+.\-]", lines[0]):
        lines = lines[1:]
    separator = next((mark for mark in (",", ";", "\t") if lines and mark in lines[0]), None)
    if not lines:
        raise InputError("RA-MS-035", "The file has no line with numbers.", where=printed(path))
    try:
        return np.loadtxt(lines, delimiter=separator, dtype=np.int64 if kind is int else np.float64, ndmin=2)
    except (ValueError, OverflowError) as error:
        raise CorruptError("RA-MS-035", f"{display_name(str(error))}.", where=printed(path)) from error


def _refuse_large(size: int, path: Path) -> None:
    if size > _LARGEST:
        raise InputError(
            "RA-MS-015",
            f"The file has {size:,} bytes of points or edges, which do not fit into memory.",
            where=printed(path),
        )
