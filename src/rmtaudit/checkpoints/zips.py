"""The directory of a zip archive, and where its entries lie. What contradicts itself is refused.

Of the standard library's ``zipfile`` nothing is used: it builds an object an entry before any rule can be
applied, and inflates.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import msgspec

from rmtaudit.errors import CorruptError, UnsafeError
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from rmtaudit.checkpoints.files import FileSource

ENTRIES_CAP = 1_000_000
"""Most entries of an archive."""

_DIRECTORY_CAP = 256 << 20
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000


class ZipEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the archive.

    Attributes
    ----------
    name
        As the directory has it.
    header
        Position of its local header.
    size, unpacked
        Bytes that it takes in the archive, and as the directory says outside it.
    method
        How it is compressed: 0 not at all, 8 by deflate.
    checksum
        CRC-32 of the unpacked bytes.
    encrypted
        Whether a password is needed.
    """

    name: str
    header: int
    size: int
    unpacked: int
    method: int
    checksum: int
    encrypted: bool

    @property
    def deflated(self) -> bool:
        """Whether its bytes are compressed in the usual way."""
        return self.method == 8

    @property
    def stored(self) -> bool:
        """Whether its bytes lie in the archive as they are."""
        return self.method == 0


def list_entries(source: FileSource) -> list[ZipEntry]:
    """Return the entries of the central directory in the order of their positions.

    Raises
    ------
    CorruptError
        The archive is truncated or contradicts itself.
    UnsafeError
        It has too many entries, two of one name, one that leaves the folder, or overlapping ones.
    """
    start, size, count = _directory(source)
    if count > ENTRIES_CAP or size > _DIRECTORY_CAP:
        raise UnsafeError(
            "RA-IN-057",
            f"The archive has {count} entries; at most {ENTRIES_CAP} are read.",
            where=source.where,
        )
    data = bytes(source.pread(start, size))
    entries: list[ZipEntry] = []
    position = 0
    for _ in range(count):
        entry, position = _central(data, position, source.where)
        entries.append(entry)
    if position != size:
        raise _corrupt(f"its directory holds {size - position} bytes more than its entries", source.where)
    _check_names(entries, source.where)
    entries.sort(key=lambda entry: entry.header)
    _check_ranges(entries, start, source.where)
    return entries


def data_offset(source: FileSource, entry: ZipEntry) -> int:
    """Return the position of an entry's first byte, its local header compared with the directory.

    Raises
    ------
    CorruptError
        They differ, or the bytes leave the file.
    UnsafeError
        The entry is compressed or encrypted.
    """
    if entry.encrypted or not entry.stored:
        how = "encrypted" if entry.encrypted else "compressed"
        raise UnsafeError(
            "RA-IN-058",
            f"The entry '{display_name(entry.name)}' is {how}; torch stores entries uncompressed.",
            hint="Unpack the archive and save the checkpoint again, if you trust it.",
            where=source.where,
        )
    return packed_offset(source, entry)


def packed_offset(source: FileSource, entry: ZipEntry) -> int:
    """Return the position of an entry's first byte, compressed or not, as :func:`data_offset` does.

    Raises
    ------
    CorruptError
        The local header differs from the directory, or the bytes leave the file.
    """
    name = entry.name.encode()
    if entry.header + _LOCAL.size + len(name) > source.size:
        raise _corrupt(f"The entry '{display_name(entry.name)}' extends past the file", source.where)
    data = bytes(source.pread(entry.header, _LOCAL.size + len(name)))
    fields = _LOCAL.unpack_from(data)
    magic, method, stored, length, extra = fields[0], fields[3], fields[7], fields[9], fields[10]
    if magic != b"PK\x03\x04" or method != entry.method or length != len(name) or data[_LOCAL.size :] != name:
        raise _corrupt(
            f"the local header of '{display_name(entry.name)}' differs from the directory", source.where
        )
    if stored not in {0, 0xFFFFFFFF, entry.size}:
        raise _corrupt(
            f"the local size of '{display_name(entry.name)}' differs from the directory", source.where
        )
    offset: int = entry.header + _LOCAL.size + length + extra
    if offset + entry.size > source.size:
        raise _corrupt(f"The entry '{display_name(entry.name)}' extends past the file", source.where)
    return offset


def _directory(source: FileSource) -> tuple[int, int, int]:
    """Return position, size and number of entries of the central directory."""
    length = min(source.size, _END.size)
    tail = bytes(source.pread(source.size - length, length))
    at = 0 if tail.startswith(b"PK\x05\x06") and tail.endswith(b"\0\0") else -1
    if at < 0:  # a comment may stand behind the record
        length = min(source.size, _END.size + 0xFFFF)
        tail = bytes(source.pread(source.size - length, length))
        at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > length:
        raise CorruptError(
            "RA-IN-056",
            f"The zip archive of {source.size} bytes has no end record; the file looks truncated.",
            hint="Download it again.",
            where=source.where,
        )
    _, disk, directory_disk, here, count, size, start, comment = _END.unpack_from(tail, at)
    end = source.size - length + at
    if end + _END.size + comment != source.size:
        raise _corrupt(f"{source.size - end - _END.size - comment} bytes follow the end record", source.where)
    if end >= _LOCATOR.size:
        magic, disk64, place, _ = _LOCATOR.unpack(source.pread(end - _LOCATOR.size, _LOCATOR.size))
        if magic == b"PK\x06\x07":
            end, here, count, size, start, disk = _directory64(source, place, end - _LOCATOR.size, disk64)
    if disk or directory_disk not in {0, 0xFFFF} or here != count:
        raise _corrupt("it is split over several files", source.where)
    if start + size != end:
        raise _corrupt(f"its directory ({start} to {start + size}) does not end at {end}", source.where)
    return start, size, count


def _directory64(source: FileSource, place: int, end: int, disk: int) -> tuple[int, int, int, int, int, int]:
    if place + _END64.size > end:
        raise _corrupt("its 64-bit end record is misplaced", source.where)
    magic, _, _, _, own, other, here, count, size, start = _END64.unpack(source.pread(place, _END64.size))
    if magic != b"PK\x06\x06":
        raise _corrupt("its 64-bit end record is misplaced", source.where)
    return place, here, count, size, start, own | other | disk


def _central(data: bytes, position: int, where: str) -> tuple[ZipEntry, int]:
    if position + _CENTRAL.size > len(data):
        raise _corrupt("its directory ends early", where)
    fields = _CENTRAL.unpack_from(data, position)
    magic, flags, method, checksum = fields[0], fields[3], fields[4], fields[7]
    packed, size, name_length, extra_length, comment_length = fields[8:13]
    header = fields[16]
    name_end = position + _CENTRAL.size + name_length
    extra_end = name_end + extra_length
    if magic != b"PK\x01\x02" or extra_end + comment_length > len(data):
        raise _corrupt("its directory is damaged", where)
    try:
        name = data[name_end - name_length : name_end].decode("utf-8")
    except UnicodeDecodeError as error:
        raise _corrupt("an entry has a name that is not UTF-8", where) from error
    size, packed, header = _extended(data[name_end:extra_end], [size, packed, header], name, where)
    if method == 0 and packed != size:
        raise _corrupt(f"The entry '{display_name(name)}' is stored but has two sizes", where)
    entry = ZipEntry(
        name=name,
        header=header,
        size=packed,
        unpacked=size,
        method=method,
        checksum=checksum,
        encrypted=bool(flags & _ENCRYPTED),
    )
    return entry, extra_end + comment_length


def _extended(extra: bytes, values: list[int], name: str, where: str) -> list[int]:
    """Put the 64-bit values of the extra field 1 in place of those that are all ones."""
    missing = [i for i, value in enumerate(values) if value == 0xFFFFFFFF]
    position = 0
    while missing and position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        if kind == 1 and length >= 8 * len(missing) and position + 4 + length <= len(extra):
            wide = struct.unpack_from(f"<{len(missing)}Q", extra, position + 4)
            for i, value in zip(missing, wide, strict=True):
                values[i] = value
            return values
        position += 4 + length
    if missing:
        raise _corrupt(f"The entry '{display_name(name)}' lacks its 64-bit sizes", where)
    return values


def _check_names(entries: list[ZipEntry], where: str) -> None:
    seen: set[str] = set()
    for entry in entries:
        name = entry.name
        if name in seen:
            raise UnsafeError("RA-IN-059", f"Two entries are named '{display_name(name)}'.", where=where)
        seen.add(name)
        parts = name.replace("\\", "/").split("/")
        if not name or name[0] in "/\\" or ".." in parts or parts[0][1:2] == ":" or "\0" in name:
            raise UnsafeError(
                "RA-IN-060",
                f"The entry '{display_name(name)}' lies outside the archive's folder.",
                where=where,
            )


def _check_ranges(entries: list[ZipEntry], directory: int, where: str) -> None:
    ends = [*(entry.header for entry in entries[1:]), directory]
    for entry, end in zip(entries, ends, strict=True):
        if entry.header + _LOCAL.size + len(entry.name.encode()) + entry.size > end:
            raise UnsafeError(
                "RA-IN-061",
                f"The entry '{display_name(entry.name)}' overlaps what follows it.",
                where=where,
            )


def _corrupt(fault: str, where: str) -> CorruptError:
    return CorruptError(
        "RA-IN-062", f"The zip archive is damaged: {fault}.", hint="Download it again.", where=where
    )
