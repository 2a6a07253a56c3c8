"""Small Core ML programs, how they are broken, and what a broken one may do: be read, or be refused.

A test case is four bytes of length, a program (a message, or the text of a compiled one), and its values.
``python tests/fuzz/fuzz_coreml.py -max_total_time=600`` runs it under atheris.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import InputError

TYPES = {"fp16": 10, "fp32": 11, "int32": 23, "int4": 25, "uint8": 31, "uint4": 35, "bool": 1, "int8": 21}
"""Numbers of types in a message."""

BLOB_TYPES = {"fp16": 1, "fp32": 2, "uint8": 3, "int8": 4, "int4": 8, "uint4": 11}
"""Numbers of types in a file of values."""

TOKENS = (b";", b"}", b"(", b'"', b"offset = uint64(1)", b"-1", b"constexpr_lut_to_dense", b"\xff", b"0x1p-1")
_FILE = "@model_path/weights/weight.bin"


class Blob:
    """Builds a file of values, entry by entry."""

    def __init__(self) -> None:
        self.data = bytearray(64)
        self.count = 0

    def add(self, kind: str, raw: bytes) -> int:
        """Add a value; returns the position of its entry."""
        self.data += bytes(-len(self.data) % 64)
        at = len(self.data)
        self.data += struct.pack("<IIQQ", 0xDEADBEEF, BLOB_TYPES[kind], len(raw), at + 64) + bytes(40) + raw
        self.count += 1
        struct.pack_into("<II", self.data, 0, self.count, 2)
        return at


def varint(value: int) -> bytes:
    result = b""
    while value > 127:
        result += bytes([value & 127 | 128])
        value >>= 7
    return result + bytes([value])


def field(number: int, value: int | bytes | str) -> bytes:
    """Return a field of a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def tensor_type(kind: str, shape: Sequence[int]) -> bytes:
    sides = b"".join(field(3, field(1, field(1, side))) for side in shape)
    return field(1, field(1, TYPES[kind]) + field(2, len(shape)) + sides)


def stored(kind: str, shape: Sequence[int], offset: int, file: str = _FILE) -> bytes:
    """Return a value that lies in the file of values."""
    return field(2, tensor_type(kind, shape)) + field(5, field(1, file) + field(2, offset))


def flag(value: bool) -> bytes:
    return field(2, tensor_type("bool", ())) + field(3, field(1, field(3, field(1, bytes([value])))))


def entry(key: str, value: bytes) -> bytes:
    return field(1, key) + field(2, value)


def operation(
    kind: str, name: str, shape: Sequence[int], /, given: str = "fp16", **inputs: str | bytes
) -> bytes:
    """Return an operator; an input is the name of an output, or a value."""
    body = field(1, kind)
    for key, value in inputs.items():
        if kind == "const":
            body += field(5, entry(key, value if isinstance(value, bytes) else b""))
        else:
            binding = field(1, value) if isinstance(value, str) else field(2, value)
            body += field(2, entry(key, field(1, binding)))
    return body + field(3, field(1, name) + field(2, tensor_type(given, shape)))


def program(*operations: bytes) -> bytes:
    """Return a model of one function."""
    block = b"".join(field(3, each) for each in operations)
    function = field(2, "CoreML8") + field(3, entry("CoreML8", block))
    return field(1, 9) + field(502, field(1, 1) + field(2, entry("main", function)))


def seed() -> tuple[bytes, bytes, bytes]:
    """Return a program as a message and as text, and its values."""
    rng = np.random.default_rng(20261130)
    blob = Blob()
    weight = blob.add("fp16", rng.standard_normal((4, 8)).astype(np.float16).tobytes())
    codes = blob.add("int4", rng.bytes(16))
    scale = blob.add("fp16", rng.random((4, 2)).astype(np.float16).tobytes())
    indices = blob.add("uint4", rng.bytes(16))
    table = blob.add("fp32", rng.standard_normal(16).astype(np.float32).tobytes())
    bias = blob.add("fp16", rng.standard_normal(4).astype(np.float16).tobytes())
    message = program(
        operation("const", "w", (4, 8), val=stored("fp16", (4, 8), weight)),
        operation("const", "b", (4,), val=stored("fp16", (4,), bias)),
        operation("linear", "y", (1, 4), x="x", weight="w", bias="b"),
        operation(
            "constexpr_blockwise_shift_scale",
            "q",
            (4, 8),
            data=stored("int4", (4, 8), codes),
            scale=stored("fp16", (4, 2), scale),
        ),
        operation("const", "yes", (), given="bool", val=flag(True)),
        operation("matmul", "z", (1, 4), x="x", y="q", transpose_y="yes"),
        operation(
            "constexpr_lut_to_dense",
            "p",
            (4, 8),
            given="fp32",
            indices=stored("uint4", (4, 8), indices),
            lut=stored("fp32", (1, 1, 16, 1), table),
        ),
        operation("gather", "g", (1, 8), x="p", indices="x"),
    )
    text = f"""program(1.3)
[buildInfo = dict<string, string>({{{{"coremlc-version", "3505.4.1"}}}})]
{{
    func main<ios18>(tensor<fp16, [1, 8]> x) {{
        tensor<fp16, [4, 8]> w = const()[name = string("w"), val = tensor<fp16, [4, 8]>(BLOBFILE(path = string("{_FILE}"), offset = uint64({weight})))];
        tensor<fp16, [4]> b = const()[name = tensor<string, []>("b"), val = tensor<fp16, [4]>(BLOBFILE(path = tensor<string, []>("{_FILE}"), offset = tensor<uint64, []>({bias})))];
        tensor<fp16, [1, 4]> y = linear(bias = b, weight = w, x = x)[name = string("y")];
        tensor<fp16, [4, 8]> q = constexpr_blockwise_shift_scale(data = tensor<int4, [4, 8]>(BLOBFILE(path = string("{_FILE}"), offset = uint64({codes}))), scale = tensor<fp16, [4, 2]>(BLOBFILE(path = string("{_FILE}"), offset = uint64({scale}))))[name = string("q")];
        bool yes = const()[name = string("yes"), val = bool(true)];
        tensor<fp16, [3]> few = const()[name = string("few"), val = tensor<fp16, [3]>([0x1p-1, 0x1.8p+0, 2])];
        tensor<fp16, [1, 4]> z = matmul(transpose_y = yes, x = x, y = q)[name = string("z")];
    }} -> (y, z);
}}
"""  # noqa: E501
    return message, text.encode(), bytes(blob.data)


def case(source: bytes, values: bytes) -> bytes:
    """Return a test case of a program and its values."""
    return struct.pack("<I", len(source)) + source + values


def seeds() -> list[bytes]:
    """Return small valid test cases."""
    message, text, values = seed()
    return [case(message, values), case(text, values)]


def write(data: bytes, folder: Path) -> Path:
    """Write the folder of a test case: a package, or a compiled program where it is text."""
    length = int.from_bytes(data[:4], "little")
    source, values = data[4 : 4 + length], data[4 + length :]
    if source.startswith(b"program"):
        package = home = folder / "m.mlmodelc"
        (home / "weights").mkdir(parents=True, exist_ok=True)
        (home / "coremldata.bin").write_bytes(b"")
        (home / "model.mil").write_bytes(source)
    else:
        package = folder / "m.mlpackage"
        home = package / "Data" / "com.apple.CoreML"
        (home / "weights").mkdir(parents=True, exist_ok=True)
        item = {"path": "com.apple.CoreML/model.mlmodel"}
        manifest = {"itemInfoEntries": {"m": item}, "rootModelIdentifier": "m"}
        (package / "Manifest.json").write_text(json.dumps(manifest))
        (home / "model.mlmodel").write_bytes(source)
    (home / "weights" / "weight.bin").write_bytes(values)
    return package


def mutate(data: bytes, picks: Sequence[tuple[int, int, int]]) -> bytes:
    """Return the case with changes, each of (kind, position, value); the four bytes in front stay."""
    head, data = data[:4], data[4:]
    for kind, position, value in picks:
        at = position % max(1, len(data))
        match kind % 6:
            case 0:
                data = data[:at] if value % 8 == 0 else data[:at] + bytes([value & 255]) + data[at + 1 :]
            case 1:
                data = data[:at] + bytes([data[at] ^ (1 << value % 8)]) + data[at + 1 :] if data else data
            case 2:
                data = data[:at] + TOKENS[value % len(TOKENS)] + data[at + len(TOKENS[value % len(TOKENS)]) :]
            case 3:
                digit = next((i for i in range(at, len(data)) if data[i : i + 1].isdigit()), at)
                data = data[:digit] + str(value % 10).encode() + data[digit + 1 :]
            case 4:
                data = data[:at] + b"\xff" * (value % 12) + data[at + value % 12 :]
            case _:
                data = data[:at] + data[max(0, at - value % 200) : at] + data[at:]
    return head + data


def target(data: bytes, folder: Path | None = None) -> None:
    """Open a program and read all of it. Anything but an ``InputError`` is a fault."""
    with tempfile.TemporaryDirectory() as temporary:
        package = write(data, folder or Path(temporary))
        try:
            with open_checkpoint(package) as checkpoint:
                for spec in checkpoint.tensors:
                    if spec.unreadable is None:
                        assert tuple(checkpoint.read(spec.name).shape) == spec.shape
        except InputError:
            return


if __name__ == "__main__":
    import atheris

    with tempfile.TemporaryDirectory() as corpus:
        for number, each in enumerate(seeds()):
            Path(corpus, str(number)).write_bytes(each)
        atheris.instrument_all()
        atheris.Setup([*sys.argv, corpus], target)
        atheris.Fuzz()
