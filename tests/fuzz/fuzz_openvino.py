"""Small OpenVINO models, how they are broken, and what a broken one may do: be read, or be refused.

``python tests/fuzz/fuzz_openvino.py -max_total_time=600`` runs it under atheris.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import InputError

TYPES = {"float32": "f32", "float16": "f16", "int8": "i8", "uint8": "u8", "int64": "i64", "int32": "i32"}
"""Names of types."""

TOKENS = (
    *(b"<layer>", b"</layer>", b"<body>", b"</net>", b'"', b"<", b"&amp;", b"0", b"-1", b"9" * 20),
    *(b"u4", b"nf4", b"Const", b"Multiply", b"<!DOCTYPE net>", b"<!ENTITY a 'b'>", b"\xff", b"\0", b"64, 4"),
)
"""Pieces that are put in place of others."""


class Model:
    """Builds the two files of a model, operator by operator."""

    def __init__(self) -> None:
        self.layers: list[str] = []
        self.edges: list[str] = []
        self.values = b""

    def constant(self, name: str, values: np.ndarray, kind: str = "", shape: tuple[int, ...] = ()) -> int:
        """Add a constant; packed codes are given as bytes with the type and the shape that they have."""
        raw = values.tobytes()
        sides = ", ".join(map(str, shape or values.shape))
        data = (
            f'<data element_type="{kind or TYPES[values.dtype.name]}" shape="{sides}" '
            f'offset="{len(self.values)}" size="{len(raw)}"/>'
        )
        self.values += raw
        return self._add(name, "Const", data, [])

    def operator(self, kind: str, inputs: Sequence[int], data: Mapping[str, Any] | None = None) -> int:
        """Add an operator that is fed by others."""
        text = " ".join(f'{key}="{value}"' for key, value in (data or {}).items())
        return self._add(f"{kind}_{len(self.layers)}", kind, f"<data {text}/>", inputs)

    def _add(self, name: str, kind: str, data: str, inputs: Sequence[int]) -> int:
        key = len(self.layers)
        ports = "".join(f'<port id="{port}"/>' for port in range(len(inputs)))
        self.layers.append(
            f'<layer id="{key}" name="{name}" type="{kind}" version="opset1">{data}'
            f'<input>{ports}</input><output><port id="9"/></output></layer>'
        )
        for port, source in enumerate(inputs):
            self.edges.append(
                f'<edge from-layer="{source}" from-port="9" to-layer="{key}" to-port="{port}"/>'
            )
        return key

    def xml(self) -> bytes:
        """Return the graph."""
        layers, edges = "".join(self.layers), "".join(self.edges)
        return (
            f'<?xml version="1.0"?>\n<net name="m" version="11"><layers>{layers}</layers>'
            f"<edges>{edges}</edges></net>"
        ).encode()


def model() -> Model:
    """Return a model with dense, quantised, convolutional and recurrent weights and an embedding."""
    rng = np.random.default_rng(20261130)
    build = Model()
    source = build.operator("Parameter", [])
    codes = build.constant("codes", rng.integers(0, 255, 16, dtype=np.uint8), "u4", (4, 2, 4))
    zero = build.constant("zero", rng.integers(0, 255, 4, dtype=np.uint8), "u4", (4, 2, 1))
    scale = build.constant("scale", rng.random((4, 2, 1)).astype(np.float16))
    shape = build.constant("shape", np.array([4, 8]))
    shifted = build.operator(
        "Subtract", [build.operator("Convert", [codes]), build.operator("Convert", [zero])]
    )
    scaled = build.operator("Multiply", [shifted, scale])
    weight = build.operator("Convert", [build.operator("Reshape", [scaled, shape])])
    build.operator("MatMul", [source, weight], {"transpose_b": "true"})
    kernel = build.constant("kernel", rng.standard_normal((3, 2, 3, 3), dtype=np.float32))
    build.operator("Convolution", [source, kernel])
    table = build.constant("table", rng.standard_normal((10, 4)).astype(np.float16))
    build.operator("Gather", [build.operator("Convert", [table]), source])
    cell = [build.constant(f"lstm_{i}", rng.standard_normal((1, 8, 2), dtype=np.float32)) for i in range(2)]
    bias = build.constant("lstm_bias", rng.standard_normal((1, 8), dtype=np.float32))
    build.operator("LSTMSequence", [source] * 4 + [*cell, bias])
    build.operator("Add", [source, build.constant("offset", rng.standard_normal((1, 8), dtype=np.float32))])
    return build


def seeds() -> list[bytes]:
    """Return small valid graphs."""
    return [model().xml()]


def mutate(data: bytes, picks: Sequence[tuple[int, int, int]]) -> bytes:
    """Return the graph with changes, each of (kind, position, value)."""
    for kind, position, value in picks:
        at = position % max(1, len(data))
        match kind % 5:
            case 0:
                data = data[:at] if value % 8 == 0 else data[:at] + bytes([value & 255]) + data[at + 1 :]
            case 1:
                data = data[:at] + TOKENS[value % len(TOKENS)] + data[at:]
            case 2:
                data = data[:at] + data[at + value % 40 :]
            case 3:  # another digit, so that structures stay and numbers change
                digit = next((i for i in range(at, len(data)) if data[i : i + 1].isdigit()), at)
                data = data[:digit] + str(value % 10).encode() + data[digit + 1 :]
            case _:
                data = data[:at] + data[max(0, at - value % 400) : at] + data[at:]
    return data


def target(data: bytes, folder: Path | None = None) -> None:
    """Open a model and read all of it. Anything but an ``InputError`` is a fault."""
    with tempfile.TemporaryDirectory() as temporary:
        path = (folder or Path(temporary)) / "model.xml"
        path.write_bytes(data)
        path.with_suffix(".bin").write_bytes(model().values)
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
