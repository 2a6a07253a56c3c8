"""What ``torch.save`` writes since 1.6: a zip archive of a pickle and one raw record a storage."""

from __future__ import annotations

import io

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.files import FileSource
from rmtaudit.checkpoints.globals import foreign_warning
from rmtaudit.checkpoints.pickles import InertUnpickler
from rmtaudit.checkpoints.state import named_tensors
from rmtaudit.checkpoints.storages import Record, TorchCheckpoint, check_storages, locate
from rmtaudit.checkpoints.zero import check_whole
from rmtaudit.checkpoints.zips import ZipEntry, data_offset, list_entries
from rmtaudit.errors import CorruptError, NotACheckpointError, UnsafeError
from rmtaudit.names import display_name

PICKLE_CAP = 256 << 20
"""Largest pickle of an archive in bytes; a million tensors take about half of it."""


def open_archive(source: FileSource, format: str) -> Checkpoint:
    """Return the checkpoint of an archive; the caller closes ``source`` if this raises an ``InputError``."""
    entries = {entry.name: entry for entry in list_entries(source)}
    root = _root(entries, source.where)
    starts = {
        name: data_offset(source, entry)
        for name, entry in entries.items()
        if not name.startswith(f"{root}code/")  # TorchScript's sources: compressed, never read
    }
    pickled = _bytes(source, entries[f"{root}data.pkl"])
    unpickler = InertUnpickler(io.BytesIO(pickled), len(pickled), source.where)
    held = unpickler.load()
    check_whole(held, source.where)
    found = named_tensors(held, source.where)
    records = {
        key: Record(starts[stored.name], stored.size)
        for key in unpickler.storages
        if (stored := entries.get(f"{root}data/{key}")) is not None
    }
    check_storages(unpickler.storages, records, source.where)
    big_endian = is_big_endian(source, entries.get(f"{root}byteorder"))
    tensors = locate(found.tensors, records, source.where, big_endian=big_endian)
    warnings = found.warnings + foreign_warning(unpickler.foreign)
    return TorchCheckpoint(source, format, tensors, warnings)


def _root(entries: dict[str, ZipEntry], where: str) -> str:
    """Return the archive's one folder, with its slash (``""`` where the pickle is at the top)."""
    pickles = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
    roots = {name[: -len("data.pkl")] for name in pickles if name.count("/") <= 1}
    if not roots:
        raise NotACheckpointError(
            "RA-IN-063", "This is a zip archive, but not one of torch: it has no data.pkl.", where=where
        )
    if len(roots) > 1:
        raise UnsafeError("RA-IN-064", "The archive has more than one data.pkl.", where=where)
    root = roots.pop()
    strays = [name for name in entries if not name.startswith(root)]
    if strays:
        raise UnsafeError(
            "RA-IN-064",
            f"The archive has more than one folder: '{display_name(root)}' and '{display_name(strays[0])}'.",
            where=where,
        )
    return root


def _bytes(source: FileSource, entry: ZipEntry) -> bytes:
    if entry.size > PICKLE_CAP:
        raise UnsafeError(
            "RA-IN-065",
            f"The data.pkl has {entry.size} bytes; at most {PICKLE_CAP} are read.",
            where=source.where,
        )
    return bytes(source.pread(data_offset(source, entry), entry.size))


def is_big_endian(source: FileSource, entry: ZipEntry | None) -> bool:
    """Return whether the entry ``byteorder`` says that numbers are stored most significant byte first.

    Raises
    ------
    CorruptError
        It says neither that nor the opposite.
    """
    if entry is None:
        return False  # torch < 2.1 did not say; big-endian machines are not where checkpoints come from
    order = _bytes(source, entry)[:16] if entry.size < 64 else b"?"
    if order not in {b"little", b"big"}:
        raise CorruptError("RA-IN-066", f"Unknown byte order {order!r}.", where=source.where)
    return order == b"big"
