"""What a pickle may build here: plain containers, descriptions of tensors, and stand-ins for everything else.

None of these objects runs anything when it is made, filled, hashed or thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

_KEY_CAP = 1000  # leaves of a tuple used as a key: hashing a tuple of tuples of the same tuple is exponential
_LARGEST_KEY = (1 << 61) - 1  # integers beyond it can be made to share one hash


@dataclass(frozen=True, slots=True)
class StorageKind:
    """A storage class of torch: its dtype; ``None`` for bytes without a type."""

    dtype: str | None


@dataclass(frozen=True, slots=True)
class DType:
    """A torch dtype, by torch's name."""

    name: str


@dataclass(frozen=True, slots=True)
class Storage:
    """Values stored elsewhere in the file.

    Attributes
    ----------
    key
        The storage's name in the file.
    dtype
        torch's name; ``None`` for bytes without a type.
    numel
        Elements (bytes, where the dtype is ``None``).
    offset
        Elements to skip at its start (views of the oldest torch versions).
    """

    key: str
    dtype: str | None
    numel: int
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A tensor that was not built: where its values are, in elements.

    ``data`` is its storage, the bytes themselves (numpy arrays inside a pickle), or ``None`` where there are
    no values to be had, and then ``unreadable`` says why.
    """

    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    data: Storage | bytes | None
    unreadable: str | None = None
    big_endian: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Foreign:
    """A class or function that the pickle names and that is none of ours."""

    module: str
    name: str


@dataclass(slots=True, eq=False)
class Instance:
    """An object of a foreign class, or the result of a foreign function: what went into it."""

    origin: Foreign | None
    arguments: object = ()
    states: list[object] = field(default_factory=list)
    items: list[object] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class NumpyDType:
    """A numpy dtype while its pickle is being read: type character and size (``f4``), byte order."""

    code: str
    order: str = "="


@dataclass(slots=True, eq=False, kw_only=True)
class NumpyArray:
    """A numpy array while its pickle is being read."""

    shape: tuple[int, ...] = ()
    dtype: NumpyDType | None = None
    fortran: bool = False
    data: bytes = b""
    known: bool = False


class MalformedError(ValueError):
    """The pickle calls something known in a way that its own library never writes."""


def integers(values: object) -> tuple[int, ...]:
    """Return a size or stride as a tuple. Raises ``MalformedError``."""
    if type(values) not in {tuple, list} or not all(type(v) is int for v in values):  # type: ignore[attr-defined]
        raise MalformedError("a size or stride is not a list of integers")
    return tuple(values)  # type: ignore[arg-type]


def check_key(key: object) -> None:
    """Refuse keys whose hash or comparison could take for ever; what is left is flat or nearly so."""
    pending, leaves = [key], 0
    while pending:
        item = pending.pop()
        leaves += 1
        if leaves > _KEY_CAP:
            raise MalformedError("a key that is nested too deeply")
        if type(item) in {tuple, frozenset}:
            pending.extend(cast("tuple[object, ...]", item))
        elif type(item) is int and abs(item) > _LARGEST_KEY:
            raise MalformedError("a key that is too large an integer")


def extend(target: object, items: list[Any]) -> None:
    """Append to a list, or to what a foreign object holds. Raises ``MalformedError``."""
    if type(target) is list:
        target.extend(items)
    elif type(target) is Instance:
        target.items.extend(items)
    else:
        raise MalformedError(f"items appended to {type(target).__name__}")
