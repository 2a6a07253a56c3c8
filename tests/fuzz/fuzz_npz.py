"""Small NumPy files, how they are broken, and what a broken one may do: be read, or be refused.

``python tests/fuzz/fuzz_npz.py -max_total_time=600`` runs it under atheris.
"""

from __future__ import annotations

import functools
import io
import struct
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rmtaudit.errors import InputError

EXTREMES = (0, 1, 2, 8, 9, 255, 1 << 15, (1 << 16) - 1, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
"""Values that a 32-bit field of a zip archive is set to."""


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def seeds() -> list[bytes]:
    """Return small valid files: an archive, a compressed one, and two single arrays."""
    rng = np.random.default_rng(20261130)
    arrays: dict[str, Any] = {
        "layer.0.weight": rng.standard_normal((6, 4)).astype(np.float32),
        "layer.0.bias": np.zeros(6),
        "by columns": np.asfortranarray(rng.standard_normal((3, 5))),
        "swapped": np.arange(6, dtype=">i4").reshape(2, 3),
        "name": np.array("text"),
        "empty": np.zeros((0, 3)),
    }
    found = []
    saves: tuple[Any, ...] = (np.savez, np.savez_compressed)
    for save in saves:
        stream = io.BytesIO()
        save(stream, **arrays)
        found.append(stream.getvalue())
    return [*found, npy(arrays["layer.0.weight"]), npy(arrays["by columns"])]


def mutate(data: bytes, picks: Sequence[tuple[int, int, int]]) -> bytes:
    """Return the file with changes, each of (kind, position, value)."""
    for kind, position, value in picks:
        at = position % max(1, len(data))
        match kind % 5:
            case 0:
                data = data[:at]
            case 1:
                data = data[:at] + bytes([value & 255]) + data[at + 1 :]
            case 2:
                data = data[:at] + struct.pack("<I", EXTREMES[value % len(EXTREMES)]) + data[at + 4 :]
            case 3:  # a digit of a shape, in place
                digits = [place for place, byte in enumerate(data[:4096]) if 48 <= byte < 58]
                if digits:
                    place = digits[position % len(digits)]
                    data = data[:place] + b"0123456789-(,)L"[value % 15 : value % 15 + 1] + data[place + 1 :]
            case _:
                data = data[:at] + data[max(0, at - value % 64) : at] + data[at:]
    return data


def target(data: bytes, folder: Path) -> None:
    """Open a file and read all of it. Anything but an ``InputError`` is a fault."""
    from rmtaudit.checkpoints.npz.reader import (
        NpyReader,
        NpzReader,
    )  # here, so that atheris can instrument it

    path = folder / "model.npz"
    path.write_bytes(data)
    try:
        with (NpyReader() if data.startswith(b"\x93") else NpzReader()).open(path) as checkpoint:
            for spec in checkpoint.tensors:
                if spec.unreadable is None:
                    assert tuple(checkpoint.read(spec.name).shape) == spec.shape
    except InputError:
        return


if __name__ == "__main__":
    import atheris

    with atheris.instrument_imports(include=["rmtaudit.checkpoints"]):
        import rmtaudit.checkpoints.npz.tensors  # noqa: F401
    with tempfile.TemporaryDirectory() as corpus, tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds()):
            Path(corpus, str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, corpus], functools.partial(target, folder=Path(folder)))
        atheris.Fuzz()
