"""Paths that lead on into a zip archive: ``agent.zip/policy.pth`` is the member ``policy.pth``.

A stored member is a range of the archive and is read in place. A deflated one is unpacked into memory, within
bounds: DEFLATE turns a megabyte into a gigabyte of zeros, and weights into hardly more than they were.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from rmtaudit.checkpoints.files import FileSource
from rmtaudit.checkpoints.inflate import Packed, first_bytes, unpacked
from rmtaudit.checkpoints.remote.paths import RemotePath
from rmtaudit.checkpoints.zips import ZipEntry, list_entries, packed_offset
from rmtaudit.errors import CorruptError, InputError, UnsafeError
from rmtaudit.names import display_name

RATIO_CAP = 32
"""How many times its size a deflated member may grow: trained float32 weights grow by about a tenth, sparse
ones and codes by a few times."""

UNPACKED_CAP = 1 << 30
"""Bytes of a deflated member that are unpacked at most: they are held in memory."""

_ABSENT = frozenset({"RA-IN-001", "RA-IN-222"})
"""Codes of a file that is not there, on this machine and in a model of the Hub."""

STREAMED_CAP = 1 << 20
"""Bytes of a deflated member that are transferred for it, where the archive is not on this machine."""

_DAMAGED = "RA-IN-186"  # the code of a deflated entry whose stream, size or checksum is wrong
_SMALL = 1 << 16  # a ratio means little for members below this size


def open_source(path: Path) -> FileSource:
    """Open a file, or a member of a zip archive where the path leads on into one.

    Raises
    ------
    InputError
        As :class:`FileSource`; the member is not there, damaged, encrypted, or grows beyond bounds.
    """
    try:
        return FileSource(path)
    except InputError as error:
        archive = _archive_of(path) if error.code in _ABSENT else None
        if archive is None:
            raise
    return open_member(archive, path.relative_to(archive).as_posix())


def open_member(archive: Path, name: str) -> FileSource:
    """Open a member of a zip archive by its name. Raises as :func:`open_source`."""
    source = FileSource(archive)
    try:
        wanted = PurePosixPath(name)
        entry = next((each for each in list_entries(source) if PurePosixPath(each.name) == wanted), None)
        if entry is None:
            raise InputError(
                "RA-IN-001",
                f"The archive has no entry '{display_name(name)}'.",
                hint="Check the path.",
                where=source.where,
            )
        start = packed_offset(source, entry)
        if entry.encrypted or not (entry.stored or entry.deflated):
            how = "encrypted" if entry.encrypted else "compressed in an unusual way"
            raise UnsafeError(
                "RA-IN-058",
                f"The entry '{display_name(entry.name)}' is {how}.",
                hint="Unpack the archive, if you trust it.",
                where=source.where,
            )
        if entry.stored:
            return FileSource(archive, window=(start, entry.size), member=entry.name)
        return _InflatedSource(archive, entry, start)
    finally:
        source.abandon()


def head_of(source: FileSource, entry: ZipEntry, length: int) -> bytes:
    """Return the first bytes of an entry; none where it is stored in a way that is not read.

    Raises
    ------
    CorruptError
        The entry is damaged.
    """
    if entry.encrypted or not (entry.stored or entry.deflated):
        return b""
    start = packed_offset(source, entry)
    if entry.stored:
        return bytes(source.pread(start, min(entry.size, length)))
    return first_bytes(Packed(source=source, entry=entry, offset=start, code=_DAMAGED), length)


class _InflatedSource(FileSource):
    """A deflated member, unpacked: positions count in what it unpacks to."""

    def __init__(self, archive: Path, entry: ZipEntry, start: int) -> None:
        super().__init__(archive, window=(start, entry.size), member=entry.name)
        self._data: bytearray | None = None
        try:
            _check_on_disk(archive, entry, self.where)
            self._data = _inflated(self, entry)
        except BaseException:
            self.abandon()
            raise
        self.size = len(self._data)

    def pread(self, offset: int, length: int) -> bytearray | memoryview:
        if self._data is None:  # it is being unpacked
            return super().pread(offset, length)
        self._check_range(offset, offset + length)
        return self._data[offset : offset + length]

    def pread_rows(self, offset: int, stride: int, rows: memoryview) -> None:
        count, length = rows.shape or (0, 0)
        self._check_range(offset, offset + stride * (count - 1) + length)
        flat, data = rows.cast("B"), self._data or bytearray()
        for row in range(count):
            begin = offset + row * stride
            flat[row * length : (row + 1) * length] = data[begin : begin + length]

    def advise(self, offset: int, stride: int, length: int, count: int) -> None:
        del offset, stride, length, count  # nothing is left to be read

    def _check_range(self, begin: int, end: int) -> None:
        if begin < 0 or end < begin or end > self.size:
            raise CorruptError(
                "RA-IN-005",
                f"Bytes {begin} to {end} were requested, but the member has {self.size} bytes.",
                where=self.where,
            )


def _check_on_disk(archive: Path, entry: ZipEntry, where: str) -> None:
    """Refuse to transfer a large member as a whole."""
    if isinstance(archive, RemotePath) and archive.streamed and entry.size > STREAMED_CAP:
        raise InputError(
            "RA-IN-226",
            f"The entry '{display_name(entry.name)}' is compressed: all its {entry.size} bytes "
            "are needed for the first number.",
            hint="Leave out --stream, or download the file.",
            where=where,
        )


def _inflated(source: FileSource, entry: ZipEntry) -> bytearray:
    """Return what a deflated member unpacks to; ``source`` is the range of its bytes."""
    if entry.unpacked > UNPACKED_CAP or entry.unpacked > max(RATIO_CAP * entry.size, _SMALL):
        raise UnsafeError(
            "RA-IN-185",
            f"The entry's {entry.size} bytes unpack to {entry.unpacked}; at most {RATIO_CAP} "
            f"times as many, and at most {UNPACKED_CAP >> 20} MiB, are unpacked.",
            hint="Unpack the archive, if you trust it, and give the file.",
            where=source.where,
        )
    result = bytearray()
    for piece in unpacked(Packed(source=source, entry=entry, offset=0, code=_DAMAGED)):
        result += piece
    return result


def _archive_of(path: Path) -> Path | None:
    """Return the zip archive that a path leads into, if there is one."""
    for parent in path.parents:
        try:
            if parent.is_dir():
                return None
            if parent.is_file():
                with parent.open("rb") as file:
                    return parent if file.read(2) == b"PK" else None
        except OSError:
            return None
    return None
