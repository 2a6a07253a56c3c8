"""Small TensorFlow Lite models, how they are broken, and what a broken one may do: be read, or be refused.

``python tests/fuzz/fuzz_tflite.py -max_total_time=600`` runs it under atheris.
"""

from __future__ import annotations

import struct
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before anything else imports what is fuzzed
    import atheris

    with atheris.instrument_imports(include=["rmtaudit"]):
        import rmtaudit.checkpoints.graphs.checkpoint
        import rmtaudit.checkpoints.tflite.model  # noqa: F401

from rmtaudit.checkpoints.base import Contents
from rmtaudit.checkpoints.tflite.reader import TFLiteReader
from rmtaudit.errors import InputError

EXTREMES = (0, 1, 2, 3, 17, 127, 255, 1 << 12, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, (1 << 32) - 4)
"""Words that a file is changed to."""

FLOAT32, FLOAT16, INT32, UINT8, STRING, INT8, INT4 = 0, 1, 2, 3, 5, 9, 17


class Writer:
    """A FlatBuffer written from its front: tables, then what they point to."""

    def __init__(self) -> None:
        self.data = bytearray(8)
        self.data[4:8] = b"TFL3"

    def table(self, fields: dict[int, tuple[str, Any]]) -> int:
        """Write a table and what it holds; return where it is.

        A field is a number (``"u4"``, ``"i1"`` …), or a position that is written first (``"at"``).
        """
        last = max(fields, default=-1)
        size = 4 + 8 * len(fields)
        self._align(4)
        vtable = len(self.data)
        offsets = {field: 4 + 8 * index for index, field in enumerate(fields)}
        self.data += struct.pack("<2H", 4 + 2 * (last + 1), size)
        self.data += b"".join(struct.pack("<H", offsets.get(field, 0)) for field in range(last + 1))
        self._align(4)
        start = len(self.data)
        self.data += struct.pack("<i", start - vtable) + bytes(size - 4)
        for field, (kind, value) in fields.items():
            if kind != "at":
                form = {"u1": "<B", "i1": "<b", "u4": "<I", "i4": "<i", "u8": "<Q"}[kind]
                struct.pack_into(form, self.data, start + offsets[field], value)
        self._pending = [
            (start + offsets[field], value) for field, (kind, value) in fields.items() if kind == "at"
        ]
        for at, make in self._pending[:]:
            place = make()
            struct.pack_into("<I", self.data, at, place - at)
        return start

    def vector(self, code: str, values: Sequence[Any]) -> int:
        self._align(4)
        start = len(self.data)
        if struct.calcsize(code) == 8:
            self.data += bytes(4 if (start + 4) % 8 else 0)
            start = len(self.data)
        self.data += struct.pack("<I", len(values)) + struct.pack(f"<{len(values)}{code}", *values)
        return start

    def text(self, value: str) -> int:
        self._align(4)
        start = len(self.data)
        raw = value.encode("utf-8", "surrogatepass")
        self.data += struct.pack("<I", len(raw)) + raw + b"\0"
        return start

    def tables(self, makers: Sequence[Any]) -> int:
        self._align(4)
        start = len(self.data)
        self.data += struct.pack("<I", len(makers)) + bytes(4 * len(makers))
        for index, make in enumerate(makers):
            at = start + 4 + 4 * index
            struct.pack_into("<I", self.data, at, make() - at)
        return start

    def _align(self, size: int) -> None:
        self.data += bytes(-len(self.data) % size)


def quantisation(
    scales: Sequence[float], zeros: Sequence[int] = (), side: int = 0, details: int = 0
) -> dict[str, Any]:
    return {"scales": scales, "zeros": zeros, "side": side, "details": details}


def model(
    tensors: Sequence[dict[str, Any]],
    operators: Sequence[tuple[int, Sequence[int], Sequence[int]]],
    version: int = 3,
) -> bytes:
    """Return a model of one graph.

    Parameters
    ----------
    tensors
        ``name``, ``shape``, ``kind``, and ``data`` for a constant, with ``quantisation`` and ``sparse``.
    operators
        Number of the operator, inputs and outputs.
    version
        Of the schema.
    """
    writer = Writer()
    codes = sorted({code for code, _, _ in operators})
    buffers = [b""]
    numbers = []
    for each in tensors:
        numbers.append(len(buffers) if each.get("data") is not None else 0)
        if each.get("data") is not None:
            buffers.append(each["data"])

    def one_tensor(each: dict[str, Any], buffer: int) -> int:
        fields: dict[int, tuple[str, Any]] = {
            0: ("at", lambda: writer.vector("i", each["shape"])),
            1: ("i1", each.get("kind", FLOAT32)),
            2: ("u4", buffer),
            3: ("at", lambda: writer.text(each["name"])),
        }
        stated = each.get("quantisation")
        if stated:
            inner: dict[int, tuple[str, Any]] = {
                2: ("at", lambda: writer.vector("f", stated["scales"])),
                3: ("at", lambda: writer.vector("q", stated["zeros"])),
                6: ("i4", stated["side"]),
            }
            if stated["details"]:
                inner[4] = ("u1", stated["details"])
            fields[4] = ("at", lambda: writer.table(inner))
        if each.get("sparse"):
            fields[6] = ("at", lambda: writer.table({}))
        return writer.table(fields)

    def one_operator(code: int, inputs: Sequence[int], outputs: Sequence[int]) -> int:
        return writer.table(
            {
                0: ("u4", codes.index(code)),
                1: ("at", lambda: writer.vector("i", inputs)),
                2: ("at", lambda: writer.vector("i", outputs)),
            }
        )

    def one_graph() -> int:
        return writer.table(
            {
                0: ("at", lambda: writer.tables(
                    [lambda e=e, n=n: one_tensor(e, n) for e, n in zip(tensors, numbers, strict=True)])),
                3: ("at", lambda: writer.tables([lambda o=o: one_operator(*o) for o in operators])),
            }
        )  # fmt: skip

    def one_buffer(data: bytes) -> int:
        return writer.table({0: ("at", lambda: writer.vector("B", data))} if data else {})

    root = writer.table(
        {
            0: ("u4", version),
            1: ("at", lambda: writer.tables(
                [lambda c=c: writer.table({0: ("i1", min(c, 127)), 3: ("i4", c)}) for c in codes])),
            2: ("at", lambda: writer.tables([one_graph])),
            4: ("at", lambda: writer.tables([lambda d=d: one_buffer(d) for d in buffers])),
        }
    )  # fmt: skip
    struct.pack_into("<I", writer.data, 0, root)
    return bytes(writer.data)


def floats(count: int) -> bytes:
    return struct.pack(f"<{count}f", *((each % 7 - 3) / 4 for each in range(count)))


def seeds() -> list[bytes]:
    """Return small valid models."""
    plain = model(
        [
            {"name": "x", "shape": [1, 4]},
            {"name": "w", "shape": [6, 4], "data": floats(24)},
            {"name": "b", "shape": [6], "data": floats(6)},
            {"name": "y", "shape": [1, 6]},
            {"name": "k", "shape": [3, 2, 2, 5], "data": floats(60)},
            {"name": "half", "shape": [3, 6], "kind": FLOAT16, "data": bytes(range(36))},
            {"name": "full", "shape": [3, 6]},
        ],
        [(9, [0, 1, 2], [3]), (3, [3, 4, -1], [3]), (6, [5], [6]), (9, [3, 6, -1], [3])],
    )
    quantised = model(
        [
            {"name": "x", "shape": [1, 4], "kind": INT8, "quantisation": quantisation([0.5], [1])},
            {"name": "w", "shape": [3, 4], "kind": INT8, "data": bytes(range(12)),
             "quantisation": quantisation([0.5, 0.25, 2.0], [0, 1, -1])},
            {"name": "b", "shape": [3], "kind": INT32, "data": bytes(12),
             "quantisation": quantisation([0.25], [0])},
            {"name": "y", "shape": [1, 3], "kind": INT8},
            {"name": "q", "shape": [2, 3], "kind": INT4, "data": b"\x12\xf3\x80",
             "quantisation": quantisation([0.5])},
            {"name": "s", "shape": [4, 4], "data": floats(3), "sparse": True},
        ],
        [(9, [0, 1, 2], [3]), (9, [3, 4, -1], [3]), (9, [0, 5, -1], [3])],
    )  # fmt: skip
    return [plain, quantised]


def mutate(data: bytes, picks: Sequence[int]) -> bytes:
    """Return a file with words, bytes or its length changed; each mutation takes three numbers."""
    changed = bytearray(data)
    for place, action, value in zip(picks[::3], picks[1::3], picks[2::3], strict=False):
        if not changed:
            break
        if action % 8 == 7:
            del changed[value % (len(changed) + 1) :]
        elif action % 2:
            changed[place % len(changed)] = value & 0xFF
        else:
            at = place % len(changed) & ~3
            if at + 4 <= len(changed):
                struct.pack_into("<I", changed, at, EXTREMES[value % len(EXTREMES)])
    return bytes(changed)


def target(data: bytes, folder: Path) -> None:
    """Open a file and read all of it; only an ``InputError`` may come of it."""
    path = folder / "fuzzed.tflite"
    path.write_bytes(data)
    reader = TFLiteReader()
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
