"""Small MessagePack files of Flax, how they are broken, and what a broken one may do: be read, or be refused.

``python tests/fuzz/fuzz_flax.py -max_total_time=600`` runs it under atheris.
"""

from __future__ import annotations

import struct
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import InputError

MARKS = (0x80, 0x8F, 0x93, 0xC0, 0xC1, 0xC4, 0xC6, 0xC7, 0xC9, 0xD4, 0xD8, 0xDB, 0xDD, 0xDF, 0xE0, 0xFF)
"""First bytes of items that a byte is set to."""


def array(values: np.ndarray, dtype: str | None = None) -> msgpack.ExtType:
    """Return an array as ``flax.serialization`` packs it; ``dtype`` overrides numpy's name."""
    data = (values.shape, dtype or values.dtype.name, values.tobytes())
    return msgpack.ExtType(1, msgpack.packb(data))


def pack(tree: Mapping[str, Any]) -> bytes:
    """Return the bytes of nested maps with arrays, as ``flax.serialization`` writes them."""
    result: bytes = msgpack.packb(tree, default=array, use_bin_type=True)
    return result


def chunked(values: np.ndarray, size: int) -> dict[str, Any]:
    """Return an array in chunks, as Flax splits those of more than 2^30 bytes."""
    flat = values.reshape(-1)
    return {
        "__msgpack_chunked_array__": True,
        "shape": {str(i): side for i, side in enumerate(values.shape)},
        "chunks": {str(i): flat[at : at + size] for i, at in enumerate(range(0, flat.size, size))},
    }


def seeds() -> list[bytes]:
    """Return small valid files."""
    rng = np.random.default_rng(20261130)
    kernel = rng.standard_normal((6, 4), dtype=np.float32)
    return [
        pack({"params": {"dense": {"kernel": kernel, "bias": kernel[0]}}, "step": 3}),
        pack({"params": {"big": chunked(kernel, 7)}, "opt_state": {"0": {"mu": kernel}}}),
        pack({"a": [kernel, {"b": array(kernel.astype(np.float16).view(np.int16), "bfloat16")}], "c": None}),
        pack({"x": msgpack.ExtType(2, msgpack.packb((1.0, 2.0))), "y": 1.5, "z": b"bytes", "k": kernel}),
    ]


def mutate(data: bytes, picks: Sequence[tuple[int, int, int]]) -> bytes:
    """Return the file with changes, each of (kind, position, value)."""
    for kind, position, value in picks:
        at = position % max(1, len(data))
        match kind % 5:
            case 0:
                data = data[:at] if value % 8 == 0 else data[:at] + bytes([value & 255]) + data[at + 1 :]
            case 1:
                data = data[:at] + bytes([MARKS[value % len(MARKS)]]) + data[at + 1 :]
            case 2:
                data = data[:at] + b"\xdf" + struct.pack(">I", value << 16 & 0xFFFFFFFF) + data[at + 5 :]
            case 3:
                data = data[:at] + bytes([MARKS[value % len(MARKS)]]) * (value % 300) + data[at:]
            case _:
                data = data[:at] + data[max(0, at - value % 64) : at] + data[at:]
    return data


def target(data: bytes, folder: Path | None = None) -> None:
    """Open a file and read all of it. Anything but an ``InputError`` is a fault."""
    with tempfile.TemporaryDirectory() as temporary:
        path = (folder or Path(temporary)) / "model.msgpack"
        path.write_bytes(data)
        try:
            with open_checkpoint(path) as checkpoint:
                for spec in checkpoint.tensors:
                    if spec.unreadable is None:
                        assert tuple(checkpoint.read(spec.name).shape) == spec.shape
        except InputError:
            return


if __name__ == "__main__":
    import atheris

    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds()):
            Path(corpus, str(number)).write_bytes(seed)
        atheris.instrument_all()
        atheris.Setup([*sys.argv, corpus], target)
        atheris.Fuzz()
