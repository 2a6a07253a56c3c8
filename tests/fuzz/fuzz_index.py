"""Indices of shards and lists of components, and what a broken one may do: be read, or be refused.

``python tests/fuzz/fuzz_index.py -max_total_time=600`` runs it under atheris. The first byte of an input says
which of the files beside the weights the rest is.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import InputError, UsageError

NAMES = ("model.safetensors.index.json", "model_index.json", "modules.json", "config.json")
"""The files that describe a folder, by the first byte of an input."""


def seeds() -> list[bytes]:
    """Return small valid inputs of every kind."""
    texts = [
        (0, {"metadata": {"total_size": 48}, "weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}),
        (0, {"weight_map": {"a": "unet/a.safetensors"}}),
        (0, {"weight_map": {"a": "x-00001-of-00002.safetensors", "b": "../b.safetensors"}}),
        (
            1,
            {"_class_name": "X", "unet": ["diffusers", "UNet"], "vae": [None, None], "s": ["d", "Scheduler"]},
        ),
        (2, [{"idx": 0, "path": "", "type": "s.Transformer"}, {"idx": 1, "path": "unet", "type": "s.Dense"}]),
        (
            3,
            {
                "model_type": "bert",
                "quantization_config": {"quant_method": "fp8", "weight_block_size": [1, 1]},
            },
        ),
    ]
    return [bytes([kind]) + json.dumps(table).encode() for kind, table in texts]


def safetensors(name: str) -> bytes:
    """Return a file of one matrix."""
    header = json.dumps({name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(24)


def target(data: bytes, folder: Path | None = None) -> None:
    """Open a folder and read all of it. Anything but an ``InputError`` or a choice to make is a fault."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        root = Path(temporary)
        (root / "unet").mkdir()
        for place in ("a", "b", "unet/a"):
            (root / f"{place}.safetensors").write_bytes(safetensors(place[-1]))
        (root / NAMES[(data[0] if data else 0) % len(NAMES)]).write_bytes(data[1:])
        try:
            with open_checkpoint(root) as checkpoint:
                for spec in checkpoint.tensors:
                    assert tuple(checkpoint.read(spec.name).shape) == spec.shape
                assert all(warning.isprintable() for warning in checkpoint.warnings)
        except (InputError, UsageError) as error:
            if not str(error).isprintable():
                raise AssertionError(str(error)) from error


if __name__ == "__main__":
    from harness import fuzz

    fuzz(seeds(), target)
