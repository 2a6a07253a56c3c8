"""Small frozen TensorFlow graphs, how they are broken, and what a broken one may do: be read, or be refused.

``python tests/fuzz/fuzz_tensorflow.py -max_total_time=600`` runs it under atheris.
"""

from __future__ import annotations

import importlib.util
import struct
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before anything else imports what is fuzzed
    import atheris

    with atheris.instrument_imports(include=["rmtaudit"]):
        import rmtaudit.checkpoints.graphs.checkpoint
        import rmtaudit.checkpoints.tensorflow.operators
        import rmtaudit.checkpoints.tensorflow.schema  # noqa: F401

from rmtaudit.checkpoints.base import Contents
from rmtaudit.checkpoints.tensorflow.reader import FrozenGraphReader
from rmtaudit.errors import InputError


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


wire = _load("fuzz_onnx")
chunk, number, mutate = wire.chunk, wire.number, wire.mutate

FLOAT, INT32, UINT8, STRING, QUINT8 = 1, 3, 4, 7, 12


def tensor(shape: Sequence[int], kind: int = FLOAT, content: bytes | None = None, rest: bytes = b"") -> bytes:
    """Return a ``TensorProto``: with ``content``, or with what ``rest`` says."""
    sides = b"".join(chunk(2, number(1, side)) for side in shape)
    body = number(1, kind) + chunk(2, sides) + rest
    return body if content is None else body + chunk(4, content)


def attribute(key: str, value: bytes) -> bytes:
    return chunk(5, chunk(1, key) + chunk(2, value))


def flag(key: str, value: bool) -> bytes:
    return attribute(key, number(5, int(value)))


def node(name: str, op: str, inputs: Iterable[str] = (), attributes: bytes = b"") -> bytes:
    return chunk(1, chunk(1, name) + chunk(2, op) + b"".join(chunk(3, each) for each in inputs) + attributes)


def constant(name: str, value: bytes) -> bytes:
    return node(name, "Const", (), attribute("value", chunk(8, value)))


def floats(count: int) -> bytes:
    return struct.pack(f"<{count}f", *((each % 7 - 3) / 4 for each in range(count)))


def seeds() -> list[bytes]:
    """Return small valid graphs."""
    plain = b"".join(
        [
            node("x", "Placeholder"),
            constant("w", tensor([4, 6], content=floats(24))),
            node("w/read", "Identity", ["w"]),
            node("m", "MatMul", ["x", "w/read"], flag("transpose_b", False)),
            constant("b", tensor([6], rest=chunk(5, floats(1)))),
            node("a", "BiasAdd", ["m", "b"]),
            constant("k", tensor([2, 2, 3, 5], content=floats(60))),
            node("c", "Conv2D", ["a", "k"]),
            constant("shape", tensor([2], INT32, rest=chunk(7, b"\x06\x04"))),
            node("r", "Reshape", ["w", "shape"]),
            node("n", "MatMul", ["c", "r"]),
        ]
    )
    gates = b"".join(
        [
            constant("kernel", tensor([3, 8], content=floats(24))),
            node("p", "MatMul", ["x", "kernel"]),
            constant("axis", tensor([], INT32, rest=number(7, 1))),
            node("s", "Split", ["axis", "p"], attribute("num_split", number(3, 4))),
            node("i", "Sigmoid", ["s"]),
            node("g", "Tanh", ["s:1"]),
            node("f", "Sigmoid", ["s:2"]),
            node("o", "Sigmoid", ["s:3"]),
            constant("table", tensor([5, 3], content=floats(15))),
            node("e", "GatherV2", ["table", "x", "axis"]),
            constant("t", tensor([1], STRING, rest=chunk(8, "text"))),
        ]
    )
    function = chunk(
        2, chunk(1, chunk(1, chunk(1, "f")) + chunk(3, constant("w", tensor([2, 2], content=floats(4)))[2:]))
    )
    return [plain, gates + function]


def target(data: bytes, folder: Path) -> None:
    """Open a file and read all of it; only an ``InputError`` may come of it."""
    path = folder / "fuzzed.pb"
    path.write_bytes(data)
    reader = FrozenGraphReader()
    contents = Contents(head=data[:4096])
    assert reader.recognises(contents) in {True, False}
    assert reader.may_know(contents) in {True, False}
    try:
        with reader.open(path) as checkpoint:
            for spec in checkpoint.tensors:
                if spec.unreadable is None:
                    values = checkpoint.read(spec.name)
                    assert tuple(values.shape) == spec.shape
                    assert str(values.dtype) == f"torch.{spec.dtype}"
    except InputError:
        return


def main() -> None:
    """Run the fuzzer: half of its inputs are files, half say how a seed is changed."""
    import atheris

    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for index, seed in enumerate(seeds()):
            (corpus / str(index)).write_bytes(b"\0" + seed)
            (corpus / f"changes{index}").write_bytes(bytes([1, index]) + bytes(range(60)))

        def one(data: bytes) -> None:
            if data[:1] and data[0] % 2 and len(data) > 2:
                picks = [int.from_bytes(data[at : at + 2], "little") for at in range(2, len(data) - 1, 2)]
                target(mutate(seeds()[data[1] % len(seeds())], picks[:30]), Path(folder))
            else:
                target(data[1:], Path(folder))

        atheris.Setup([*sys.argv, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
