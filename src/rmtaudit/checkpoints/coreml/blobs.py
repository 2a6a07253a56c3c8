"""Files of values of a Core ML program: entries of 64 bytes that say where values lie.

Source: ``mlmodel/src/MILBlob/Blob/StorageFormat.hpp`` of coremltools.
"""

from __future__ import annotations

import struct
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NoReturn

from rmtaudit.checkpoints.coreml.program import BITS, TORCH, Value
from rmtaudit.checkpoints.files import FileSource
from rmtaudit.errors import CorruptError, UnsafeError
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import torch

_SENTINEL = 0xDEADBEEF
_TYPES = (
    "", "fp16", "fp32", "uint8", "int8", "bf16", "int16", "uint16", "int4", "uint1", "uint2", "uint4",
    "uint3", "uint6", "int32", "uint32", "fp8e4m3fn", "fp8e5m2",
)  # fmt: skip
_ROOT = "@model_path/"
_FILES_CAP = 1024
_LARGEST = 1 << 60


class Blobs:
    """The files of values of one program.

    Parameters
    ----------
    folder
        The folder that ``@model_path`` stands for.
    root
        The package: links may not leave it.
    where
        The package's name for messages.
    """

    def __init__(self, folder: Path, root: Path, where: str) -> None:
        self._folder, self._root, self._where = folder, root, where
        self._files: dict[str, FileSource] = {}

    @property
    def sources(self) -> list[FileSource]:
        """The files that are open."""
        return list(self._files.values())

    def check(self, value: Value, name: str) -> tuple[FileSource, int, int]:
        """Return file, position and size in bytes of a value, compared with its entry.

        Raises
        ------
        CorruptError
            The entry is not there, or is of another type or size, or leaves the file.
        UnsafeError
            The program names a file outside the package.
        """
        source = self._source(value.file)
        where = f"The value of '{display_name(name)}' at {value.offset} of {source.where}"
        if value.offset % 64 or value.offset + 64 > source.size:
            self._corrupt(f"{where} is not in the file of {source.size} bytes")
        sentinel, kind, size, start = struct.unpack_from("<IIQQ", source.pread(value.offset, 64))
        if sentinel != _SENTINEL:
            self._corrupt(f"{where} has no entry")
        if value.elements >= _LARGEST or value.type not in BITS:
            self._corrupt(f"{where} has {value.elements} elements of type {display_name(value.type)}")
        stored = _TYPES[kind] if kind < len(_TYPES) else f"type {kind}"
        if stored != value.type and {stored, value.type} != {"uint8", "bool"}:
            self._corrupt(f"{where} holds {stored}, but the program says {value.type}")
        needed = -(-value.elements * BITS[value.type] // 8)
        if size != needed:
            self._corrupt(f"{where} has {size} bytes, but {value.elements} of {value.type} need {needed}")
        if start + size > source.size:
            self._corrupt(f"{where} extends past the file of {source.size} bytes")
        return source, start, size

    def check_numbers(self, value: Value, name: str) -> None:
        """Refuse a value of the program itself that has more or fewer numbers than its shape."""
        if not value.complete:
            count = len(value.numbers or ())
            self._corrupt(f"'{display_name(name)}' has {count} numbers, but the shape {value.shape}")

    def load(self, value: Value, name: str) -> torch.Tensor:
        """Return the numbers of a value: CPU; those of less than 8 bits as int16."""
        import torch

        from rmtaudit.checkpoints.values import tensor_from_bytes

        if not value.file:
            self.check_numbers(value, name)
            kind = getattr(torch, TORCH.get(value.type, "int16"))
            return torch.tensor(value.numbers or (), dtype=torch.float64).to(kind).reshape(value.shape)
        source, start, size = self.check(value, name)
        data = source.pread(start, size)
        if value.type in TORCH:
            return tensor_from_bytes(data, TORCH[value.type], value.shape)
        codes = unpacked(data, BITS[value.type], value.elements)
        if value.type == "int4":
            codes = torch.where(codes > 7, codes - 16, codes)
        return codes.reshape(value.shape)

    def _source(self, file: str) -> FileSource:
        if file in self._files:
            return self._files[file]
        path = PurePosixPath(file.removeprefix(_ROOT))
        plain = not path.is_absolute() and ".." not in path.parts and "\\" not in file and "\0" not in file
        if not file.startswith(_ROOT) or not plain or ":" in file or len(self._files) >= _FILES_CAP:
            self._unsafe(file)
        target = self._folder.joinpath(*path.parts)
        if not target.resolve().is_relative_to(self._root.resolve()):
            self._unsafe(file)
        self._files[file] = FileSource(target)
        return self._files[file]

    def _unsafe(self, file: str) -> NoReturn:
        raise UnsafeError(
            "RA-IN-212", f"The program reads '{display_name(file)}', outside the package.", where=self._where
        )

    def _corrupt(self, fault: str) -> NoReturn:
        raise CorruptError(
            "RA-IN-213", f"{fault}.", hint="The download may be incomplete.", where=self._where
        )


def unpacked(data: bytearray | memoryview, bits: int, count: int) -> torch.Tensor:
    """Return the first ``count`` numbers of ``bits`` bits each of a bit stream, low bits first."""
    import numpy as np
    import torch

    stream = np.unpackbits(np.frombuffer(data, np.uint8), count=count * bits, bitorder="little")
    powers = 1 << np.arange(bits, dtype=np.int16)
    return torch.from_numpy(stream.reshape(count, bits).astype(np.int16) @ powers)
