"""The bytes of an HDF5 file, alone or inside an archive, read within bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from rmtaudit.errors import CorruptError, InputError, UnsafeError

if TYPE_CHECKING:
    from rmtaudit.checkpoints.files import FileSource

UNDEFINED = (1 << 64) - 1
"""The address of what is not there."""

METADATA_CAP = 256 << 20
"""Most bytes of headers, links and attributes that are read of one file."""

_PAGE = 4096


class Window:
    """A range of a file that is a file of its own.

    Parameters
    ----------
    source
        The file.
    start, size
        Position and length of the range in bytes.

    Attributes
    ----------
    source, start, size
        As given.
    base
        Position, within the range, that addresses count from.
    """

    def __init__(self, source: FileSource, start: int, size: int) -> None:
        self.source, self.start, self.size = source, start, size
        self.base = 0
        self._budget = METADATA_CAP
        self._page, self._page_at = b"", 0

    def metadata(self, address: int, length: int, what: str) -> bytes:
        """Return bytes of the structure of the file.

        Raises
        ------
        CorruptError
            They lie outside the file.
        UnsafeError
            More of them were asked for than any structure has.
        """
        at = self.locate(address, length, what)
        self._budget -= length + 16
        if self._budget < 0:
            raise UnsafeError(
                "RA-IN-142",
                f"The file has more than {METADATA_CAP} bytes of headers.",
                where=self.source.where,
            )
        inside = at - self._page_at
        if not 0 <= inside <= len(self._page) - length:
            reach = min(max(length, _PAGE), self.start + self.size - at)
            self._page, self._page_at, inside = bytes(self.source.pread(at, reach)), at, 0
        return self._page[inside : inside + length]

    def locate(self, address: int, length: int, what: str) -> int:
        """Return the position in the file of an address whose ``length`` bytes are all in the range."""
        at = self.base + address
        if length < 0 or at + length > self.size:
            self.corrupt(f"{what} at {address} of {length} bytes extends past the file of {self.size} bytes")
        return self.start + at

    def corrupt(self, fault: str) -> NoReturn:
        """Raise ``CorruptError``."""
        raise self.damaged(fault)

    def damaged(self, fault: str) -> CorruptError:
        """Return the error for a structure that breaks the format."""
        return CorruptError(
            "RA-IN-140",
            f"The HDF5 file is damaged: {fault}.",
            hint="Download it again.",
            where=self.source.where,
        )

    def unsupported(self, what: str) -> NoReturn:
        """Raise the error for a structure that Keras does not write."""
        raise InputError(
            "RA-IN-143",
            f"The HDF5 file has {what}, which rmtaudit does not read.",
            hint="Copy it with h5repack, or load and save it with Keras.",
            where=self.source.where,
        )

    def unsafe(self, what: str) -> NoReturn:
        """Raise the error for values that lie in other files."""
        raise UnsafeError(
            "RA-IN-141",
            f"The file has {what}; reading it would open another file on this machine.",
            hint="Write the values into the file itself, if you trust it.",
            where=self.source.where,
        )
