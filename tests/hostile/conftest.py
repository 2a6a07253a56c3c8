"""Builders of broken files, byte by byte: what a library would refuse to write."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def safetensors_bytes() -> Callable[..., bytes]:
    """Return a function from a header (object or bytes) and data to a file."""

    def build(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return (len(text) if length is None else length).to_bytes(8, "little") + text + data

    return build


@pytest.fixture(scope="session")
def torch_zip_bytes() -> Callable[..., bytes]:
    """Return a function from a pickle and records to a stored archive as torch writes it."""

    def build(
        pickled: bytes,
        records: Mapping[str, bytes] | None = None,
        *,
        extra: Mapping[str, bytes] | None = None,
        compression: int = zipfile.ZIP_STORED,
    ) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compression) as archive:
            archive.writestr("archive/data.pkl", pickled)
            for key, data in (records or {}).items():
                archive.writestr(f"archive/data/{key}", data)
            for name, data in (extra or {}).items():
                archive.writestr(name, data)
        return buffer.getvalue()

    return build


def storage(key: str = "0", numel: int = 6, kind: bytes = b"torch\nFloatStorage") -> bytes:
    """Return the instructions that push a persistent storage."""
    return b"(" + text("storage") + b"c" + kind + b"\n" + text(key) + text("cpu") + integer(numel) + b"tQ"


def text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + len(raw).to_bytes(4, "little") + raw


def integer(value: int) -> bytes:
    raw = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + len(raw).to_bytes(1, "little") + raw


def tensor(
    shape: tuple[int, ...] = (2, 3),
    stride: tuple[int, ...] = (3, 1),
    offset: int = 0,
    stored: bytes | None = None,
) -> bytes:
    """Return the instructions that call ``torch._utils._rebuild_tensor_v2``."""
    sizes = b"".join(b"(" + b"".join(map(integer, values)) + b"t" for values in (shape, stride))
    stored = storage() if stored is None else stored
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + stored + integer(offset) + sizes + b"\x89}tR"


def mapping(**values: bytes) -> bytes:
    """Return a whole pickle of a dictionary."""
    items = b"".join(text(key) + value for key, value in values.items())
    return b"\x80\x02}(" + items + b"u."


@pytest.fixture(scope="session")
def opcodes() -> Any:
    """Return the functions of this module that write pickles, as attributes."""

    class Opcodes:
        pass

    for function in (storage, text, integer, tensor, mapping):
        setattr(Opcodes, function.__name__, staticmethod(function))
    return Opcodes


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes bytes to a file of a name."""

    def build(data: bytes, name: str = "model.safetensors") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return build
