"""Small safetensors files, and what a broken one may do: be read, or be refused.

``python tests/fuzz/fuzz_safetensors.py -max_total_time=600`` runs it under atheris. The first byte of an
input says whether the rest is a whole file, or a header to which the right length is put.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.engine.inspect.document import inspect_checkpoint
from rmtaudit.errors import InputError
from rmtaudit.report.document import dumps

DATA = 64
"""Bytes of values behind a header that is put to its length."""


def seeds() -> list[bytes]:
    """Return small valid inputs of both kinds."""
    headers = [
        {"w": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}},
        {
            "__metadata__": {"format": "pt"},
            "a.weight": {"dtype": "BF16", "shape": [4, 6], "data_offsets": [0, 48]},
            "b": {"dtype": "U8", "shape": [16], "data_offsets": [48, 64]},
        },
        {
            "fc.weight": {"dtype": "F8_E4M3", "shape": [6, 10], "data_offsets": [0, 60]},
            "fc.weight_scale": {"dtype": "F32", "shape": [1], "data_offsets": [60, 64]},
        },
        {
            "l.qweight": {"dtype": "I32", "shape": [1, 8], "data_offsets": [0, 32]},
            "l.scales": {"dtype": "F16", "shape": [1, 8], "data_offsets": [32, 48]},
            "l.qzeros": {"dtype": "I32", "shape": [1, 1], "data_offsets": [48, 52]},
            "l.g_idx": {"dtype": "U8", "shape": [12], "data_offsets": [52, 64]},
        },
    ]
    texts = [json.dumps(header).encode() for header in headers]
    whole = [b"\0" + len(text).to_bytes(8, "little") + text + bytes(DATA) for text in texts]
    return [*whole, *(b"\1" + text for text in texts)]


def file_of(data: bytes) -> bytes:
    """Return the file that an input stands for."""
    if data[:1] == b"\1":
        return (len(data) - 1).to_bytes(8, "little") + data[1:] + bytes(range(DATA))
    return data[1:]


def target(data: bytes, folder: Path | None = None) -> None:
    """Open a file, list it, and read all of it. Anything but an ``InputError`` is a fault."""
    with tempfile.TemporaryDirectory() as temporary:
        path = (folder or Path(temporary)) / "model.safetensors"
        path.write_bytes(file_of(data))
        try:
            with open_checkpoint(path) as checkpoint:
                dumps(inspect_checkpoint(checkpoint))
                for spec in checkpoint.tensors:
                    if spec.unreadable is None:
                        assert tuple(checkpoint.read(spec.name).shape) == spec.shape
        except InputError as error:
            if not str(error).isprintable():
                raise AssertionError(str(error)) from error


if __name__ == "__main__":
    from harness import fuzz

    fuzz(seeds(), target)
