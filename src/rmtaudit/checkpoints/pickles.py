"""Pickles, read without running anything.

A pickle is a program. The machine below knows its instructions but none of the names that it calls: those
become descriptions (``inert.py``, ``globals.py``), and what runs code is refused.

The base is the pure-Python unpickler of the standard library: every instruction that touches an object is
overridden below, and those of the C one cannot be (it also takes memory for the largest memo index that a
file claims).
"""

from __future__ import annotations

import codecs
import io
import pickle
import re
import struct
from typing import Any, BinaryIO, NoReturn, cast

from rmtaudit.checkpoints.arrays import fill_array, set_order
from rmtaudit.checkpoints.attributes import ATTRGETTER, GETATTR, attribute, check_attributes
from rmtaudit.checkpoints.globals import Known, is_harmless, resolve
from rmtaudit.checkpoints.inert import (
    Foreign,
    Instance,
    MalformedError,
    NumpyArray,
    NumpyDType,
    Storage,
    StorageKind,
    check_key,
    extend,
)
from rmtaudit.errors import CorruptError, UnsafeError
from rmtaudit.names import display_name

OPCODES_CAP = 20_000_000
"""Most instructions of one pickle: half a million tensors take that many."""

_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\(?:[^\\'\"abfnrtvx0-7]|[4-7][0-7]{2})")  # what codecs warns of
_SIZED = frozenset({list, tuple, str, bytes, bytearray})
_BROKEN = (pickle.UnpicklingError, EOFError, LookupError, ValueError, TypeError, AttributeError, struct.error,
           OverflowError)  # fmt: skip


class InertUnpickler(pickle._Unpickler):
    """Unpickle into inert objects.

    Parameters
    ----------
    stream
        Where the pickle is; left after its last byte.
    limit
        Bytes in the stream: no instruction can be followed by more.
    where
        The file, for messages.

    Attributes
    ----------
    storages
        Every storage that the pickle refers to, by key, in the order of the first reference.
    foreign
        Names of the classes and functions that objects were not built of.
    """

    def __init__(self, stream: BinaryIO | io.BytesIO, limit: int, where: str) -> None:
        super().__init__(stream, fix_imports=False, encoding="utf-8")
        self.where = where
        self._stream = stream
        self._limit = limit
        self.storages: dict[str, Storage] = {}
        self.foreign: dict[str, None] = {}
        self._budget = OPCODES_CAP

    def load(self) -> Any:
        """Return what the pickle describes.

        Raises
        ------
        UnsafeError
            It names something that runs code, or wants more than a checkpoint can need.
        CorruptError
            It is no well-formed pickle.
        """
        self.read, self.readline = self._bounded, self._stream.readline
        self.metastack: list[list[Any]] = []
        self.stack: list[Any] = []
        self.append = self.stack.append
        self.proto = 0
        read, dispatch = self._stream.read, self.dispatch
        try:
            for _ in range(OPCODES_CAP):
                dispatch[read(1)[0]](self)
        except pickle._Stop as stop:  # type: ignore[attr-defined]
            return stop.value
        except _BROKEN as error:
            raise CorruptError(
                "RA-IN-043", f"The pickle is not well-formed: {display_name(_said(error))}.", where=self.where
            ) from error
        raise UnsafeError(
            "RA-IN-041", f"The pickle has more than {OPCODES_CAP} instructions.", where=self.where
        )

    def persistent_load(self, pid: object) -> object:
        """Return a description of the storage that ``pid`` names."""
        if type(pid) is not tuple or not pid:
            raise MalformedError("a persistent id that is not torch's")
        if pid[0] == "module" and len(pid) >= 2:  # the source code that torch < 1.0 stored beside a class
            return pid[1]
        if pid[0] != "storage" or len(pid) not in {5, 6}:
            raise MalformedError("a persistent id that is not torch's")
        _, kind, key, _, numel, *view = pid
        if type(kind) is not StorageKind or type(numel) is not int or type(key) not in {str, int}:
            raise MalformedError("a persistent id that is not torch's")
        if numel < 0:
            raise MalformedError(f"a storage of {numel} elements")
        storage = Storage(str(key), kind.dtype, numel)
        self.storages.setdefault(storage.key, storage)
        if view and view[0] is not None:
            _, offset, size = view[0]
            if type(offset) is not int or type(size) is not int or min(offset, size) < 0:
                raise MalformedError("a view of a storage without an offset or a size")
            return Storage(storage.key, storage.dtype, numel, offset)
        return storage

    def find_class(self, module: str, name: str) -> object:
        """Return a stand-in; nothing is imported."""
        return resolve(module, name, self.where)

    def get_extension(self, code: int) -> NoReturn:
        """Refuse: the extension registry belongs to the process, not to the file."""
        raise MalformedError(f"extension code {code}")

    def _decode_string(self, value: bytes) -> str | bytes:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value  # text and bytes were one type in Python 2

    def _bounded(self, length: int) -> bytes:
        """Read; streams take memory for all that they are asked for, and the file says how much that is."""
        if length > self._limit:
            raise EOFError
        data = self._stream.read(length)
        if len(data) < length:
            raise EOFError
        return data

    def _spend(self, cost: int) -> None:
        """Pay for copies of objects: instructions of a few bytes must not copy megabytes again and again."""
        self._budget -= cost
        if self._budget < 0:
            raise UnsafeError(
                "RA-IN-042", "The pickle builds more objects than a checkpoint can need.", where=self.where
            )

    def _call(self, function: object, arguments: object) -> object:
        if type(function) is Known and type(arguments) is tuple:
            for argument in arguments:
                if type(argument) in _SIZED:
                    self._spend(len(argument))
            return function.build(*arguments)
        if type(function) is Foreign:
            path = function.module, function.name
            if path in GETATTR and type(arguments) is tuple and len(arguments) in {2, 3}:
                return self._attribute(arguments)
            if path in ATTRGETTER and type(arguments) is tuple:
                check_attributes(arguments, self.where)
            if not is_harmless(function):
                self.foreign.setdefault(f"{function.module}.{function.name}")
            return Instance(function, arguments)
        if type(function) is Instance:
            return Instance(function.origin, arguments)
        raise MalformedError(f"a call of {type(function).__name__}")

    def _attribute(self, arguments: tuple[object, ...]) -> object:
        result = attribute(arguments[0], arguments[1], self.where)
        if type(result) is Foreign and not is_harmless(result):
            self.foreign.setdefault(f"{result.module}.{result.name}")
        return result

    def _marked(self) -> list[Any]:
        return cast("list[Any]", super().pop_mark())  # type: ignore[misc]

    def _instantiate(self, kind: object, arguments: list[object]) -> None:
        self.append(self._call(kind, tuple(arguments)))

    def _load_newobj(self) -> None:
        arguments = self.stack.pop()
        kind = self.stack.pop()
        self.append(self._call(kind, arguments))

    def _load_newobj_ex(self) -> None:
        named = self.stack.pop()
        arguments = self.stack.pop()
        self.append(self._call(self.stack.pop(), (arguments, named)))

    def _load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], arguments)

    def _load_build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is Instance:
            target.states.append(state)
        elif type(target) is NumpyDType:
            set_order(target, state)
        elif type(target) is NumpyArray:
            fill_array(target, state)
        # attributes of a dictionary or a tensor (_metadata, hooks) hold no weights

    def _load_append(self) -> None:
        value = self.stack.pop()
        extend(self.stack[-1], [value])

    def _load_appends(self) -> None:
        items = self._marked()
        extend(self.stack[-1], items)

    def _load_setitem(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self._assign(self.stack[-1], [key, value])

    def _load_setitems(self) -> None:
        items = self._marked()
        self._assign(self.stack[-1], items)

    def _load_dict(self) -> None:
        items = self._marked()
        made: dict[Any, Any] = {}
        self._assign(made, items)
        self.append(made)

    def _assign(self, target: object, items: list[Any]) -> None:
        if len(items) % 2:
            raise MalformedError("a key without a value")
        if type(target) is dict:
            for i in range(0, len(items), 2):
                key = items[i]
                if type(key) is not str:
                    check_key(key)
                target[key] = items[i + 1]
        elif type(target) is Instance:
            target.items.extend(items[1::2])
        else:
            raise MalformedError(f"items set on {type(target).__name__}")

    def _load_additems(self) -> None:
        items = self._marked()
        target = self.stack[-1]
        if type(target) is set:
            for item in items:
                check_key(item)
            target.update(items)
        elif type(target) is Instance:
            target.items.extend(items)
        else:
            raise MalformedError(f"items added to {type(target).__name__}")

    def _load_frozenset(self) -> None:
        items = self._marked()
        for item in items:
            check_key(item)
        self.append(frozenset(items))

    def _load_string(self) -> None:
        data = self.readline()[:-1]
        if len(data) < 2 or data[0] != data[-1] or data[:1] not in {b"'", b'"'} or _ESCAPE.search(data):
            raise MalformedError("a string without its quotes, or with an unknown escape")
        self.append(self._decode_string(codecs.escape_decode(data[1:-1])[0]))

    def _load_frame(self) -> None:
        self.read(8)  # frames tell readers how much to fetch at once; the instructions inside follow on

    def _load_bytearray8(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(self.read(length))  # not bytearray(length): the file need not have what it claims

    def _load_buffer(self) -> NoReturn:
        raise MalformedError("values outside the pickle")

    dispatch = cast("dict[int, Any]", dict(pickle._Unpickler.dispatch))
    dispatch.update({
        pickle.FRAME[0]: _load_frame,
        pickle.STRING[0]: _load_string,
        pickle.NEWOBJ[0]: _load_newobj,
        pickle.NEWOBJ_EX[0]: _load_newobj_ex,
        pickle.REDUCE[0]: _load_reduce,
        pickle.BUILD[0]: _load_build,
        pickle.APPEND[0]: _load_append,
        pickle.APPENDS[0]: _load_appends,
        pickle.SETITEM[0]: _load_setitem,
        pickle.SETITEMS[0]: _load_setitems,
        pickle.DICT[0]: _load_dict,
        pickle.ADDITEMS[0]: _load_additems,
        pickle.FROZENSET[0]: _load_frozenset,
        pickle.BYTEARRAY8[0]: _load_bytearray8,
        pickle.NEXT_BUFFER[0]: _load_buffer,
        pickle.READONLY_BUFFER[0]: _load_buffer,
    })  # fmt: skip


def _said(error: BaseException) -> str:
    if isinstance(error, EOFError | IndexError):
        return "it ends early or takes from an empty stack"
    if isinstance(error, KeyError):
        return "it has an unknown instruction"
    return str(error)
