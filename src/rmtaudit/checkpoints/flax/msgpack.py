"""MessagePack, walked without loading it: the structure is kept, arrays are places in the file.

Source: the MessagePack specification (github.com/msgpack/msgpack/blob/master/spec.md).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NoReturn

from rmtaudit.checkpoints.files import FileSource
from rmtaudit.errors import CorruptError, UnsafeError
from rmtaudit.matrices.tensors import ITEMSIZE

ITEMS_CAP = 2_000_000
"""Most items of a file: keys, numbers, maps, arrays."""

_DEPTH_CAP = 64
_TEXT_CAP = 1 << 20
_WINDOW = 1 << 16
_LARGEST = 1 << 60
_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_CONSTANTS: dict[int, bool | None] = {0xC0: None, 0xC2: False, 0xC3: True}
_TEXTS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_BINARY = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_LISTS, _MAPS = {0xDC: 2, 0xDD: 4}, {0xDE: 2, 0xDF: 4}
_ARRAY, _SCALAR = 1, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredArray:
    """An array: dtype by numpy's name, sizes, and where its values are."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Passed:
    """A value that is no part of a model and was passed over: bytes, or an extension of another kind."""

    what: str


class Walker:
    """Reads one file from its beginning to its end.

    Parameters
    ----------
    source
        The file.
    """

    def __init__(self, source: FileSource) -> None:
        self._source = source
        self._at = 0
        self._window, self._window_at = b"", 0
        self._left = ITEMS_CAP

    def walk(self) -> object:
        """Return the one item that the file holds.

        Raises
        ------
        CorruptError
            It is damaged, or bytes follow it.
        UnsafeError
            It has more items, or is nested deeper, than a model.
        """
        item = self._item(_DEPTH_CAP)
        if self._at != self._source.size:
            self._corrupt(f"{self._source.size - self._at} bytes follow its end at {self._at}")
        return item

    def _item(self, depth: int) -> object:
        self._left -= 1
        if depth == 0 or self._left < 0:
            raise self._too_much()
        first = self._take(1)[0]
        if first < 0x80 or first >= 0xE0:
            return first if first < 0x80 else first - 256
        if 0x80 <= first < 0x90 or first in _MAPS:
            return self._map(first & 15 if first < 0x90 else self._length(_MAPS[first]), depth)
        if first < 0xA0 or first in _LISTS:
            return self._list(first & 15 if first < 0xA0 else self._length(_LISTS[first]), depth)
        if first < 0xC0 or first in _TEXTS:
            return self._text(first & 31 if first < 0xC0 else self._length(_TEXTS[first]))
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        if first in _NUMBERS:
            code = _NUMBERS[first]
            return struct.unpack(code, self._take(struct.calcsize(code)))[0]
        if first in _BINARY:
            self._skip(self._length(_BINARY[first]))
            return Passed("bytes")
        if first in _EXTENSIONS or first in _FIXED_EXTENSIONS:
            length = self._length(_EXTENSIONS[first]) if first in _EXTENSIONS else _FIXED_EXTENSIONS[first]
            return self._extension(length, depth)
        return self._corrupt(f"no item begins with {first:#x} at {self._at - 1}")

    def _too_much(self) -> UnsafeError:
        return UnsafeError(
            "RA-IN-161",
            f"The file holds more than {ITEMS_CAP} items, or nested more than {_DEPTH_CAP} deep.",
            where=self._source.where,
        )

    def _map(self, count: int, depth: int) -> dict[str, object]:
        self._check_room(2 * count)
        result: dict[str, object] = {}
        for _ in range(count):
            at = self._at
            key = self._item(depth - 1)
            if type(key) is int:
                key = str(key)
            if type(key) is not str:
                self._corrupt(f"a key at {at} is not text")
            if key in result:
                self._corrupt(f"the key at {at} occurs twice")
            result[key] = self._item(depth - 1)
        return result

    def _list(self, count: int, depth: int) -> list[object]:
        self._check_room(count)
        return [self._item(depth - 1) for _ in range(count)]

    def _extension(self, length: int, depth: int) -> object:
        kind = self._take(1)[0]
        end = self._at + length
        if end > self._source.size:
            self._corrupt(f"an extension of {length} bytes at {self._at} extends past the file")
        if kind not in {_ARRAY, _SCALAR}:
            self._skip(length)
            return Passed(f"an extension of type {kind}")
        result = self._array(end, depth)
        if self._at != end:
            self._corrupt(f"an array that ends at {self._at} instead of {end}")
        return result

    def _array(self, end: int, depth: int) -> StoredArray:
        """Return the array whose shape, dtype and bytes come next."""
        at = self._at
        first = self._take(1)[0]
        shape, dtype = (self._item(depth - 1), self._item(depth - 1)) if first == 0x93 else (None, None)
        if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
            self._corrupt(f"an array at {at} without a shape")
        if not isinstance(dtype, str):
            self._corrupt(f"an array at {at} without a dtype")
        first = self._take(1)[0]
        if first not in _BINARY:
            self._corrupt(f"an array at {at} without bytes")
        length = self._length(_BINARY[first])
        offset = self._at
        if offset + length > end:
            self._corrupt(f"an array at {at} whose bytes extend past it")
        elements = 1
        for size in shape:
            elements *= size
            if elements >= _LARGEST:
                self._corrupt(f"an array at {at} of {shape} values")
        if dtype in ITEMSIZE and elements * ITEMSIZE[dtype] != length:
            self._corrupt(
                f"an array at {at} of {length} bytes, but its shape {shape} of {dtype} needs "
                f"{elements * ITEMSIZE[dtype]}"
            )
        self._skip(length)
        return StoredArray(dtype=dtype, shape=tuple(shape), offset=offset, nbytes=length)

    def _text(self, length: int) -> str:
        if length > _TEXT_CAP:
            self._corrupt(f"a text of {length} bytes at {self._at}")
        try:
            return self._take(length).decode()
        except UnicodeDecodeError:
            return self._corrupt(f"a text at {self._at - length} is not UTF-8")

    def _length(self, width: int) -> int:
        return int.from_bytes(self._take(width), "big")

    def _check_room(self, items: int) -> None:
        """Refuse a number of items that the rest of the file cannot hold."""
        if items > self._source.size - self._at:
            self._corrupt(f"{items} items at {self._at} do not fit in {self._source.size - self._at} bytes")
        if items > self._left:
            raise self._too_much()

    def _take(self, length: int) -> bytes:
        if length > self._source.size - self._at:
            self._corrupt(f"it ends at {self._source.size}, in the middle of an item; it looks truncated")
        inside = self._at - self._window_at
        if not 0 <= inside <= len(self._window) - length:
            reach = min(max(length, _WINDOW), self._source.size - self._at)
            self._window, self._window_at, inside = bytes(self._source.pread(self._at, reach)), self._at, 0
        self._at += length
        return self._window[inside : inside + length]

    def _skip(self, length: int) -> None:
        if length > self._source.size - self._at:
            self._corrupt(
                f"{length} bytes at {self._at} extend past the file of {self._source.size}; it "
                "looks truncated"
            )
        self._at += length

    def _corrupt(self, fault: str) -> NoReturn:
        raise CorruptError(
            "RA-IN-160",
            f"The MessagePack file is damaged: {fault}.",
            hint="Download it again.",
            where=self._source.where,
        )
