"""What a path holds, by its contents, and whether it can be opened: decided before torch is imported."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.base import Contents
from rmtaudit.checkpoints.npz.reader import NpzReader
from rmtaudit.checkpoints.registry import contents_of, families, own_readers
from rmtaudit.checkpoints.sharded import is_index
from rmtaudit.engine.sources.words import printed, split_name
from rmtaudit.entry_points import is_allowed, registered
from rmtaudit.errors import CorruptError, UsageError

PLUGINS = "rmtaudit.sources"
"""The entry-point group of openers of other distributions."""

BANNER = b"%%MatrixMarket"

_TEXTS = frozenset({".csv", ".tsv", ".edges", ".txt"})


class Kind(Enum):
    """What a path is opened as."""

    ZARR = "zarr"
    NPY = "npy"
    NPZ = "npz"
    MATRIX_MARKET = "Matrix Market"
    CHECKPOINT = "checkpoint"


def check_readable(text: str) -> None:
    """Raise what opening the checkpoints would that a SOURCE names, and what :func:`kind_of` raises.

    Text files, which some commands read, and files that a plugin may know are not looked at.
    """
    parts = [part for part in text.split(" @ ") if part.strip()]
    for part in parts if len(parts) > 1 else [text]:
        path, _ = split_name(part.strip() if len(parts) > 1 else part)
        if path.suffix.lower() in _TEXTS or (has_plugins() and not is_ours(path)):
            continue
        if kind_of(path) is Kind.CHECKPOINT:
            open_checkpoint(path).close()


def has_plugins() -> bool:
    """Whether there is a plugin that may be asked. Imports none."""
    return any(is_allowed(entry) for entry in registered(PLUGINS))


def is_ours(path: Path) -> bool:
    """Whether a path is there and of a format that rmtaudit itself is sure of: no plugin is asked then."""
    try:
        if not path.exists():
            return False
        if path.is_dir():
            endings = tuple(ending for family in families(own_readers()) for ending in family)
            return _is_zarr(path) or any(each.name.lower().endswith(endings) for each in path.iterdir())
    except OSError:  # a name too long, a folder that may not be listed: opening it will say so
        return True
    contents, _ = contents_of(path)
    return (
        _kind_of_contents(path, contents) is not None
        or is_index(path)
        or any(reader.recognises(contents) for reader in own_readers())
    )


def kind_of(path: Path) -> Kind:
    """Return what a path is opened as.

    Raises
    ------
    InputError
        It cannot be read.
    CorruptError
        RA-MS-012, RA-MS-016: it is not of the format of its ending.
    UsageError
        RA-MS-031, RA-MS-032: its contents do not decide it.
    """
    if path.is_dir():
        return Kind.ZARR if _is_zarr(path) else Kind.CHECKPOINT
    contents, size = contents_of(path)
    kind = _kind_of_contents(path, contents)
    if kind is not None:
        return kind
    head, ending = contents.head, path.suffix.lower()
    if ending in _TEXTS:
        raise UsageError(
            "RA-MS-031",
            "The text file holds a list of edges or a list of points, and does not state which.",
            hint="Add --laplacian normalised (or combinatorial), or --kernel matern --length L.",
            where=printed(path),
        )
    if ending == ".mtx":
        raise CorruptError(
            "RA-MS-016",
            "The file does not begin as a Matrix Market file does.",
            hint="Write it again.",
            where=printed(path),
        )
    if ending in {".npy", ".npz"}:
        raise CorruptError(
            "RA-MS-012",
            f"A NumPy file does not begin with {head[:8]!r}.",
            hint="Create it again.",
            where=printed(path),
        )
    if ending in {".bin", ".raw", ".dat"} and not head.startswith((b"PK", b"\x80")):
        raise UsageError(
            "RA-MS-032",
            f"The file holds {size:,} bytes, and nothing states what they are.",
            hint="If they are raw numbers, add --dtype float64 --shape ROWSxCOLUMNS.",
            where=printed(path),
        )
    return Kind.CHECKPOINT


def _kind_of_contents(path: Path, contents: Contents) -> Kind | None:
    head = contents.head
    if head.startswith(b"\x93NUMPY"):
        return Kind.NPY
    if head[: len(BANNER)].lower() == BANNER.lower():
        return Kind.MATRIX_MARKET
    return Kind.NPZ if head.startswith(b"PK\x03\x04") and _is_npz(path, contents) else None


def _is_zarr(path: Path) -> bool:
    return any((path / mark).exists() for mark in ("zarr.json", ".zarray", ".zgroup"))


def _is_npz(path: Path, contents: Contents) -> bool:
    """Whether a zip archive holds nothing but arrays of numpy's, at the top, or claims to by its name."""
    if not contents.names:
        return path.suffix.lower() == ".npz"
    return NpzReader().recognises(contents) and not any("/" in name for name in contents.names)
