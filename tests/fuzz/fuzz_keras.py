"""Small HDF5 and Keras files, how they are broken, and what a broken one may do: be read, or be refused.

``python tests/fuzz/fuzz_keras.py -max_total_time=600`` runs it under atheris.
"""

from __future__ import annotations

import io
import json
import struct
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import InputError

EXTREMES = (
    0,
    1,
    2,
    7,
    8,
    16,
    255,
    256,
    1 << 16,
    (1 << 31) - 1,
    1 << 32,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
)
"""Values that a field is set to."""

CONFIG = {
    "class_name": "Sequential",
    "config": {
        "name": "m",
        "layers": [
            {"class_name": "Dense", "config": {"name": "d", "dtype": {"config": {"mode": "int8"}}}},
            {"class_name": "LSTM", "config": {"name": "r"}},
        ],
    },
}


def hdf5(libver: str = "earliest", *, many: bool = False, chunks: bool = False) -> bytes:
    """Return a file with a dense layer of int8 codes, a recurrent one and an optimizer's state."""
    rng = np.random.default_rng(20261130)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=libver, track_order=many) as file:
        file.attrs["model_config"] = json.dumps(CONFIG)
        weights = file.create_group("model_weights", track_order=many)
        options = (
            {"chunks": (5, 4), "compression": "gzip", "shuffle": True, "fletcher32": True} if chunks else {}
        )
        weights.create_dataset("d/d/kernel:0", data=rng.integers(-127, 127, (8, 6), dtype=np.int8))
        weights.create_dataset("d/d/kernel_scale:0", data=rng.random(6, dtype=np.float32))
        weights.create_dataset("r/r/kernel:0", data=rng.standard_normal((6, 16), dtype=np.float32), **options)
        weights.create_dataset("r/r/recurrent_kernel:0", data=rng.standard_normal((4, 16)).astype(">f8"))
        for index in range(24 if many else 1):
            weights.create_dataset(f"r/r/bias_{index}:0", data=rng.standard_normal(16))
        file.create_dataset("optimizer_weights/Adam/iter:0", data=3)
    return buffer.getvalue()


def archive(weights: bytes) -> bytes:
    """Return a ``.keras`` archive of a file of weights."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("config.json", json.dumps(CONFIG))
        file.writestr("model.weights.h5", weights)
    return buffer.getvalue()


def numbered() -> bytes:
    """Return weights as Keras 3 numbers them."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        group = file.create_group("layers/dense/vars")
        group.attrs["name"] = "d"
        group.create_dataset("0", data=np.ones((8, 3), np.int8))
        group.create_dataset("1", data=np.ones((2, 6), np.float32))
        group.create_dataset("2", data=np.zeros((2, 6), np.int8))
        group.create_dataset("3", data=np.repeat([0.0, 1.0], 4).astype(np.float32))
    return buffer.getvalue()


def seeds() -> list[bytes]:
    """Return small valid files."""
    return [
        hdf5(),
        hdf5("latest"),
        hdf5(many=True),
        hdf5("latest", many=True, chunks=True),
        hdf5(chunks=True),
        numbered(),
        archive(numbered()),
    ]


def mutate(data: bytes, picks: Sequence[tuple[int, int, int]]) -> bytes:
    """Return the file with changes, each of (kind, position, value)."""
    for kind, position, value in picks:
        at = position % max(1, len(data))
        match kind % 6:
            case 0:
                data = data[:at] if value % 8 == 0 else data[:at] + bytes([value & 255]) + data[at + 1 :]
            case 1:
                data = data[:at] + bytes([data[at] ^ (1 << value % 8)]) + data[at + 1 :] if data else data
            case 2:
                at &= ~7
                data = data[:at] + struct.pack("<Q", EXTREMES[value % len(EXTREMES)]) + data[at + 8 :]
            case 3:
                number = EXTREMES[value % len(EXTREMES)] & 0xFFFFFFFF
                data = data[:at] + struct.pack("<I", number) + data[at + 4 :]
            case 4:  # an address of the file itself, so that structures point at each other
                at &= ~7
                data = data[:at] + struct.pack("<Q", value * 8 % max(1, len(data))) + data[at + 8 :]
            case _:
                data = data[:at] + data[max(0, at - value % 64) : at] + data[at:]
    return data


def target(data: bytes, folder: Path | None = None) -> None:
    """Open a file and read all of it. Anything but an ``InputError`` is a fault."""
    with tempfile.TemporaryDirectory() as temporary:
        path = (folder or Path(temporary)) / "model.h5"
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
