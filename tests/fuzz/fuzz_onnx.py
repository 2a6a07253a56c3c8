"""Small ONNX models, how they are broken, and what a broken one may do: be read, or be refused.

``python tests/fuzz/fuzz_onnx.py -max_total_time=600`` runs it under atheris.
"""

from __future__ import annotations

import struct
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

if __name__ == "__main__":  # before anything else imports what is fuzzed
    import atheris

    with atheris.instrument_imports(include=["rmtaudit"]):
        import rmtaudit.checkpoints.graphs.checkpoint
        import rmtaudit.checkpoints.onnx.assembly  # noqa: F401

from rmtaudit.checkpoints.base import Contents
from rmtaudit.checkpoints.onnx.reader import OnnxReader
from rmtaudit.errors import InputError

EXTREMES = (
    0,
    1,
    2,
    5,
    7,
    22,
    127,
    128,
    255,
    1 << 16,
    (1 << 31) - 1,
    1 << 31,
    1 << 32,
    (1 << 63) - 1,
    (1 << 64) - 1,
)
"""Numbers that a field is set to."""

FLOAT, UINT8, INT8, INT64, STRING, INT4 = 1, 2, 3, 7, 8, 22


def varint(value: int) -> bytes:
    """Return a number as the wire has it; a negative one as its complement of 64 bits."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def chunk(field: int, body: bytes | str) -> bytes:
    raw = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def tensor(
    name: str, shape: Sequence[int], kind: int = FLOAT, raw: bytes | None = None, rest: bytes = b""
) -> bytes:
    """Return a ``TensorProto``: with ``raw`` values, or with what ``rest`` says."""
    body = b"".join(number(1, side) for side in shape) + number(2, kind) + chunk(8, name) + rest
    return body if raw is None else body + chunk(9, raw)


def external(name: str, shape: Sequence[int], **entries: str) -> bytes:
    """Return a ``TensorProto`` whose values are in another file."""
    pairs = b"".join(chunk(13, chunk(1, key) + chunk(2, value)) for key, value in entries.items())
    return tensor(name, shape, rest=pairs + number(14, 1))


def node(
    op: str, inputs: Iterable[str], outputs: Iterable[str], attributes: bytes = b"", domain: str = ""
) -> bytes:
    body = b"".join(chunk(1, each) for each in inputs) + b"".join(chunk(2, each) for each in outputs)
    body += chunk(4, op) + attributes
    return body + chunk(7, domain) if domain else body


def integer(name: str, value: int) -> bytes:
    """Return the field of an attribute that is a whole number."""
    return chunk(5, chunk(1, name) + number(3, value) + number(20, 2))


def integers(name: str, values: Iterable[int]) -> bytes:
    return chunk(5, chunk(1, name) + b"".join(number(8, each) for each in values) + number(20, 7))


def graph_attribute(name: str, body: bytes) -> bytes:
    return chunk(5, chunk(1, name) + chunk(6, body) + number(20, 5))


def tensor_attribute(name: str, body: bytes) -> bytes:
    return chunk(5, chunk(1, name) + chunk(5, body) + number(20, 4))


def graph(nodes: Iterable[bytes] = (), tensors: Iterable[bytes] = (), rest: bytes = b"") -> bytes:
    body = b"".join(chunk(1, each) for each in nodes) + chunk(2, "g")
    return body + b"".join(chunk(5, each) for each in tensors) + rest


def model(body: bytes, rest: bytes = b"") -> bytes:
    """Return a ``ModelProto`` around a graph."""
    return (
        number(1, 10) + chunk(2, "rmtaudit") + chunk(7, body) + chunk(8, chunk(1, "") + number(2, 21)) + rest
    )


def floats(count: int) -> bytes:
    return struct.pack(f"<{count}f", *((each % 7 - 3) / 4 for each in range(count)))


def seeds() -> list[bytes]:
    """Return small valid models: plain, quantised, nested, with typed values and with external ones."""
    plain = graph(
        [
            node("MatMul", ["x", "w"], ["y"]),
            node("Add", ["y", "b"], ["z"]),
            node("Transpose", ["v"], ["vt"], integers("perm", [1, 0])),
            node("MatMul", ["z", "vt"], ["o"]),
            node("Conv", ["o", "k"], ["p"]),
            node("LSTM", ["p", "g", "r"], ["q"], integer("hidden_size", 2)),
        ],
        [
            tensor("w", [4, 6], raw=floats(24)),
            tensor("b", [6], rest=chunk(4, floats(6))),
            tensor("v", [5, 6], raw=floats(30)),
            tensor("k", [3, 2, 2, 2], raw=floats(24)),
            tensor("g", [1, 8, 3], raw=floats(24)),
            tensor("r", [1, 8, 2], raw=floats(16)),
        ],
    )
    quantised = graph(
        [
            node("DequantizeLinear", ["q", "s", "z"], ["d"], integer("axis", 0) + integer("block_size", 2)),
            node("Gemm", ["x", "d"], ["y"], integer("transB", 1)),
            node("MatMulNBits", ["y", "n", "m"], ["o"],
                 b"".join(integer(*each) for each in (("K", 32), ("N", 2), ("bits", 4), ("block_size", 16))),
                 "com.microsoft"),
            node("DynamicQuantizeLinear", ["o"], ["oq", "os", "oz"]),
            node("MatMulInteger", ["oq", "i", "oz", "iz"], ["t"]),
            node("Cast", ["t"], ["tf"], integer("to", 1)),
            node("Mul", ["os", "i_scale"], ["f"]),
            node("Mul", ["tf", "f"], ["u"]),
        ],
        [
            tensor("q", [4, 4], INT4, rest=chunk(5, bytes(range(8)))),
            tensor("s", [2, 4], raw=floats(8)),
            tensor("z", [2, 4], INT4, raw=bytes(4)),
            tensor("n", [2, 2, 8], UINT8, raw=bytes(range(32))),
            tensor("m", [2, 2], raw=floats(4)),
            tensor("i", [2, 3], INT8, raw=bytes(range(6))),
            tensor("iz", [], INT8, raw=b"\x01"),
            tensor("i_scale", [], raw=floats(1)),
        ],
    )  # fmt: skip
    inner = graph(
        [
            node("Constant", [], ["c"], tensor_attribute("value", tensor("", [2, 3], raw=floats(6)))),
            node("Constant", [], ["n"], integers("value_ints", [3, 2])),
            node("Reshape", ["c", "n"], ["cr"]),
            node("MatMul", ["x", "cr"], ["y"]),
        ]
    )
    body = chunk(1, "f") + chunk(4, "a") + chunk(5, "b") + chunk(7, node("MatMul", ["x", "a"], ["b"]))
    functions = chunk(25, body + chunk(10, "d"))
    nested = graph(
        [
            node(
                "If",
                ["x"],
                ["y"],
                graph_attribute("then_branch", inner) + graph_attribute("else_branch", inner),
            ),
            node("f", ["w"], ["z"], domain="d"),
        ],
        [tensor("w", [2, 3], raw=floats(6)), tensor("t", [2], STRING, rest=chunk(6, "a") + chunk(6, "b"))],
        chunk(15, chunk(1, tensor("sp", [1], raw=floats(1))) + number(3, 4) + number(3, 4)),
    )
    outside = graph(
        [node("MatMul", ["x", "w"], ["y"])], [external("w", [2, 3], location="data", offset="8", length="24")]
    )
    return [model(plain), model(quantised), model(nested, functions), model(outside)]


def mutate(data: bytes, picks: Sequence[int]) -> bytes:
    """Return a file with some of its fields changed; each mutation takes three numbers."""
    for place, action, value in zip(picks[::3], picks[1::3], picks[2::3], strict=False):
        data = _changed(data, place, action, value)
    return data


def _changed(data: bytes, place: int, action: int, value: int) -> bytes:
    """Change one field, at any depth: its number, its bytes, its type, or whether it is there."""
    if action % 12 == 11:
        return data[: value % (len(data) + 1)]
    parts = _fields(data)
    if not parts:
        at = place % (len(data) + 1)
        return data[:at] + bytes([value & 0xFF]) + data[at + 1 :]
    index = place % len(parts)
    key, body, raw = parts[index]
    inside = _fields(body) if key & 7 == 2 else None
    if inside and action % 3:
        changed = (
            varint(key) + varint(len(inner := _changed(body, place // len(parts), action, value))) + inner
        )
    elif key & 7 == 0:
        changed = varint(key) + varint(EXTREMES[value % len(EXTREMES)])
    elif action % 5 == 0:
        changed = b""
    elif action % 5 == 1:
        changed = raw + raw
    elif action % 5 == 2:
        changed = varint(key) + varint(EXTREMES[value % len(EXTREMES)]) + body
    elif action % 5 == 3:
        changed = varint(value % 40 << 3 | value % 6) + raw[1:]
    else:
        at = value % (len(body) + 1)
        flipped = body[:at] + bytes([value >> 8 & 0xFF]) + body[at + 1 :]
        changed = varint(key) + varint(len(flipped)) + flipped
    whole = [raw for _, _, raw in parts]
    whole[index] = changed
    return b"".join(whole)


def _fields(data: bytes) -> list[tuple[int, bytes, bytes]] | None:
    """Return key, content and bytes of every field; ``None`` where the bytes are no message."""
    parts = []
    at = 0
    while at < len(data):
        start = at
        key, at = _read(data, at)
        kind = key & 7
        if key < 8 or kind not in {0, 1, 2, 5} or at > len(data):
            return None
        if kind == 0:
            _, end = _read(data, at)
        elif kind == 2:
            length, at = _read(data, at)
            end = at + length
        else:
            end = at + (8 if kind == 1 else 4)
        if end > len(data) or at > len(data):
            return None
        parts.append((key, data[at:end], data[start:end]))
        at = end
    return parts or None


def _read(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
    return value, len(data) + 1


def target(data: bytes, folder: Path) -> None:
    """Open a file and read all of it; only an ``InputError`` may come of it."""
    path = folder / "fuzzed.onnx"
    path.write_bytes(data)
    (folder / "data").write_bytes(bytes(64))
    reader = OnnxReader()
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
                    if spec.shape and spec.shape[0] > 1:
                        checkpoint.read_band(spec.name, 0, 1)
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
