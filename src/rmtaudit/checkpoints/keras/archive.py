"""What ``model.save("x.keras")`` writes: a zip archive of JSON and one HDF5 file, all of them stored."""

from __future__ import annotations

from rmtaudit.checkpoints.files import FileSource
from rmtaudit.checkpoints.hdf5.span import Window
from rmtaudit.checkpoints.keras.checkpoint import keras_checkpoint
from rmtaudit.checkpoints.keras.config import CONFIG_CAP
from rmtaudit.checkpoints.lazy import LazyCheckpoint
from rmtaudit.checkpoints.zips import ZipEntry, data_offset, list_entries
from rmtaudit.errors import InputError, UnsafeError
from rmtaudit.names import display_name

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"


def open_archive(source: FileSource, format: str) -> LazyCheckpoint:
    """Return the checkpoint of an archive; the caller closes ``source`` if this raises.

    Raises
    ------
    CorruptError, UnsafeError
        As :func:`rmtaudit.checkpoints.zips.list_entries`; an entry that is needed is compressed.
    InputError
        The weights are split over several files.
    """
    entries = {entry.name: entry for entry in list_entries(source)}
    if _WEIGHTS not in entries:
        raise InputError(
            "RA-IN-145",
            f"The archive has no {_WEIGHTS}; its weights are split over several files.",
            hint="Load it with Keras and save it without max_shard_size.",
            where=source.where,
        )
    config = _stored(source, entries[_CONFIG])
    start = _stored(source, entries[_WEIGHTS])
    size = entries[_CONFIG].size
    text = bytes(source.pread(config, size)).decode("utf-8", "replace") if size <= CONFIG_CAP else ""
    window = Window(source, start, entries[_WEIGHTS].size)
    return keras_checkpoint(source.path, format, window, text)


def _stored(source: FileSource, entry: ZipEntry) -> int:
    """Return the position of the first byte of an entry that is stored as it is."""
    if not entry.stored or entry.encrypted:
        raise UnsafeError(
            "RA-IN-146",
            f"The entry '{display_name(entry.name)}' is compressed or encrypted; Keras stores it "
            "uncompressed.",
            hint=f"Unpack the archive and audit its {_WEIGHTS}, if you trust it.",
            where=source.where,
        )
    return data_offset(source, entry)
