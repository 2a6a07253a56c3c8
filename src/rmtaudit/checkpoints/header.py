"""The JSON header of a safetensors file: hostile text to a list of entries."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection
from typing import Annotated, Any, NamedTuple, NoReturn

import msgspec

from rmtaudit.errors import CorruptError, UnsafeError
from rmtaudit.names import display_name

TENSORS_CAP = 1_000_000
"""Most tensors that a file may hold."""

_LISTS_CAP = 4 * TENSORS_CAP  # an entry needs two; a header of "[],[],…" would take 20 times its size
_LARGEST = 1 << 63
_LONGEST_NAME = 1000
_FIELDS = frozenset({"dtype", "shape", "data_offsets"})


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One tensor of the header; ``begin`` and ``end`` count from the first byte after the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Header(NamedTuple):
    """What a header says: the tensors in their order, its notes (``__metadata__``), and what is odd."""

    entries: list[Entry]
    metadata: dict[str, str]
    warnings: list[str]


def parse_header(header: bytes, where: str) -> Header:
    """Return what a header says.

    Parameters
    ----------
    header
        The bytes between the length and the values.
    where
        The file, for messages.

    Raises
    ------
    CorruptError
        The header breaks a rule of the format.
    UnsafeError
        It opens more lists than :data:`TENSORS_CAP` tensors can need.
    """
    regular = _parse_regular(header)
    if regular is not None:
        return regular
    table = _decode(header, where)
    warnings: list[str] = []
    metadata = {}
    if "__metadata__" in table:
        metadata = _metadata(table.pop("__metadata__"), where, warnings)
    extra: set[str] = set()
    entries = [_entry(name, fields, where, extra) for name, fields in table.items()]
    if extra:
        names = ", ".join(f"'{display_name(name, longest=40)}'" for name in sorted(extra)[:5])
        warnings.append(f"entries of the header have fields that the format does not define: {names}")
    warnings += odd_names(table)
    return Header(entries, metadata, warnings)


def odd_names(names: Collection[str]) -> list[str]:
    """Return a warning about tensor names that cannot be shown as they are; nothing where there are none."""
    lengths = {*map(len, names)}
    if 0 not in lengths and max(lengths, default=0) <= _LONGEST_NAME and "".join(names).isprintable():
        return []
    odd = sum(not name or len(name) > _LONGEST_NAME or not name.isprintable() for name in names)
    return (
        [f"{odd} tensor names are empty, very long or hold characters that cannot be printed"] if odd else []
    )


_Natural = Annotated[int, msgspec.Meta(ge=0)]


class _Fields(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An entry of a regular header."""

    dtype: str
    shape: tuple[_Natural, ...]
    data_offsets: tuple[_Natural, _Natural]


_METADATA = re.compile(r'\{\s*"__metadata__"\s*:\s*')
_FOLLOWING = re.compile(r'\s*(?:,\s*(?=")|(?=\}))')
_ENTRIES = msgspec.json.Decoder(dict[str, _Fields])


def _parse_regular(header: bytes) -> Header | None:
    """Return what a header says that is as writers make it: a third of the time of the careful parser.

    ``None`` for any other, valid or not, which the careful parser reads or refuses. Without escapes, each of
    the three keys occurs at least once in the text for each entry that the text holds, also for one that a
    later entry of the same name replaces: equal counts show that no key occurs twice.
    """
    try:
        text = header.decode("utf-8")
        metadata: dict[str, str] = {}
        start = _METADATA.match(text)
        if start is not None:
            metadata, end = _NOTES.raw_decode(text, start.end())
            if type(metadata) is not dict or not all(type(value) is str for value in metadata.values()):
                return None
            following = _FOLLOWING.match(text, end)
            if following is None:
                return None
            text = "{" + text[following.end() :]
        if "\\" in text or not 0 < text.count("[") <= _LISTS_CAP:
            return None
        table = _ENTRIES.decode(text)
    except (ValueError, RecursionError):
        return None
    count = len(table)
    keys = ('"dtype"', '"shape"', '"data_offsets"')
    if count > TENSORS_CAP or "__metadata__" in table or any(text.count(key) != count for key in keys):
        return None
    shapes = {fields.shape for fields in table.values()}
    if any(math.prod(size or 1 for size in shape) >= _LARGEST for shape in shapes):
        return None
    entries = [
        Entry(name, fields.dtype, fields.shape, *fields.data_offsets) for name, fields in table.items()
    ]
    if not all(entry.begin <= entry.end < _LARGEST for entry in entries):
        return None
    return Header(entries, metadata, odd_names(table))


def _unique_notes(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    notes = dict(pairs)
    if len(notes) != len(pairs):
        raise _RejectedError("a key occurs twice")
    return notes


_NOTES = json.JSONDecoder(object_pairs_hook=_unique_notes)


class _RejectedError(ValueError):
    """Why the header was refused while its JSON was being parsed."""


def _decode(header: bytes, where: str) -> dict[str, Any]:
    if not header.startswith(b"{"):
        raise CorruptError(
            "RA-IN-024", f"The header must begin with '{{', but begins with {header[:1]!r}.", where=where
        )
    if header.count(b"[") > _LISTS_CAP:
        raise UnsafeError("RA-IN-025", f"The header opens more than {_LISTS_CAP} lists.", where=where)
    try:
        text = header.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorruptError(
            "RA-IN-026", f"The header is not UTF-8 at byte {8 + error.start}: {error.reason}.", where=where
        ) from error
    count = 0

    def unique(pairs: list[tuple[str, Any]]) -> Any:
        nonlocal count
        count += 1
        found = dict(pairs)
        if len(found) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise _RejectedError(f"The key '{display_name(twice)}' occurs twice")
        if count > TENSORS_CAP + 2:
            raise _RejectedError(f"more than {TENSORS_CAP} tensors")
        return _compact(found) if found.keys() == _FIELDS else found

    try:
        table = json.loads(text, object_pairs_hook=unique, parse_constant=_no_constant)
    except _RejectedError as error:
        raise CorruptError("RA-IN-027", f"The header is not valid: {error}.", where=where) from error
    except RecursionError as error:
        raise CorruptError("RA-IN-028", "The header is nested too deeply.", where=where) from error
    except ValueError as error:
        raise CorruptError("RA-IN-028", f"The header is not JSON: {error}.", where=where) from error
    if type(table) is not dict:
        raise CorruptError("RA-IN-028", "The header is not a JSON object.", where=where)
    return table


def _compact(fields: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Return an entry's values as tuples, which the garbage collector need not visit again and again.

    JSON has no tuples, so nothing else in the header can pass for the result.
    """
    shape, offsets = fields["shape"], fields["data_offsets"]
    return (
        fields["dtype"],
        tuple(shape) if type(shape) is list else shape,
        tuple(offsets) if type(offsets) is list else offsets,
    )


def _no_constant(literal: str) -> NoReturn:
    raise _RejectedError(f"{literal} is not JSON")


def _metadata(metadata: object, where: str, warnings: list[str]) -> dict[str, str]:
    if metadata is None:
        warnings.append("__metadata__ is null; the format requires an object")
        return {}
    if type(metadata) is not dict or not all(type(value) is str for value in metadata.values()):
        raise CorruptError("RA-IN-029", "__metadata__ must map strings to strings.", where=where)
    return metadata


def _entry(name: str, fields: object, where: str, extra: set[str]) -> Entry:
    if type(fields) is dict:
        missing = sorted(_FIELDS - fields.keys())
        if missing:
            raise _bad(name, f"has no {' and no '.join(missing)}", where)
        extra.update(fields.keys() - _FIELDS)
        fields = _compact(fields)
    if type(fields) is not tuple:
        raise _bad(name, "is not a JSON object", where)
    dtype, shape, offsets = fields
    if type(dtype) is not str:
        raise _bad(name, "dtype is not a string", where)
    if type(shape) is not tuple:
        raise _bad(name, "shape is not a list", where)
    elements = 1
    for size in shape:  # loops, not generators: this runs for each of up to a million tensors
        if type(size) is not int or size < 0:
            raise _bad(name, "shape is not a list of integers from 0", where)
        elements *= size or 1
        if elements >= _LARGEST:
            raise _bad(name, "the product of its sizes overflows 2^63", where)
    if type(offsets) is not tuple or len(offsets) != 2:
        raise _bad(name, "data_offsets is not a list of two integers", where)
    begin, end = offsets
    if type(begin) is not int or type(end) is not int:
        raise _bad(name, "data_offsets is not a list of two integers", where)
    if not 0 <= begin <= end < _LARGEST:
        raise _bad(name, f"data_offsets {begin} to {end} is not a range", where)
    if not name.isascii():
        _check_encodable(name, where)
    return Entry(name, dtype, shape, begin, end)


def _check_encodable(name: str, where: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise CorruptError(
            "RA-IN-036", f"The tensor name '{display_name(name)}' holds a lone surrogate.", where=where
        ) from error


def _bad(name: str, fault: str, where: str) -> CorruptError:
    return CorruptError("RA-IN-030", f"Tensor '{display_name(name)}': {fault}.", where=where)
