"""Small GGUF files, how they are broken, and what a broken one may do: be read, or be refused.

``python tests/fuzz/fuzz_gguf.py -max_total_time=600`` runs it under atheris.
"""

from __future__ import annotations

import functools
import struct
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rmtaudit.errors import InputError

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10
"""Numbers of the types of facts."""

EXTREMES = (0, 1, 2, 7, 9, 31, 33, 255, 256, 1 << 16, (1 << 31) - 1, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63)
"""Values that a field is set to."""


class Tensor(NamedTuple):
    """One tensor, its shape outermost side first, and its bytes."""

    name: str
    shape: tuple[int, ...]
    kind: int
    data: bytes


def text(value: str | bytes) -> bytes:
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def fact(key: str, kind: int, value: Any) -> bytes:
    """Return the bytes of a fact; ``value`` of an array is (type, values)."""
    if kind == STRING:
        body = text(value)
    elif kind == ARRAY:
        inner, values = value
        body = struct.pack("<IQ", inner, len(values))
        body += b"".join(
            text(each) if inner == STRING else struct.pack(_CODES[inner], each) for each in values
        )
    else:
        body = struct.pack(_CODES[kind], value)
    return text(key) + struct.pack("<I", kind) + body


_CODES = {0: "<B", 2: "<H", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}


def build(
    tensors: Sequence[Tensor] = (),
    facts: Sequence[bytes] = (),
    *,
    version: int = 3,
    counts: tuple[int, int] | None = None,
    alignment: int = 32,
    offsets: dict[str, int] | None = None,
    sides: dict[str, tuple[int, ...]] | None = None,
    end: bytes = b"",
) -> bytes:
    """Return a file; what follows ``version`` lies about a file that would be right without it."""
    head = struct.pack("<4sI2Q", b"GGUF", version, *(counts or (len(tensors), len(facts)))) + b"".join(facts)
    body = b""
    for tensor in tensors:
        shape = (sides or {}).get(tensor.name, tensor.shape)
        offset = (offsets or {}).get(tensor.name, len(body))
        head += text(tensor.name) + struct.pack("<I", len(shape))
        head += struct.pack(f"<{len(shape)}QIQ", *shape[::-1], tensor.kind, offset)
        body += tensor.data + bytes(-len(tensor.data) % alignment)
    return head + bytes(-len(head) % alignment) + body + end


def seeds() -> list[bytes]:
    """Return small valid files."""
    rng = np.random.default_rng(20261130)
    floats = rng.standard_normal((4, 8)).astype(np.float32)
    facts = [
        fact("general.architecture", STRING, "llama"),
        fact("general.alignment", U32, 32),
        fact("llama.rope.freq_base", F32, 1e4),
        fact("tokenizer.ggml.add_bos_token", BOOL, 1),
        fact("tokenizer.ggml.tokens", ARRAY, (STRING, ["a", "bc", ""])),
        fact("tokenizer.ggml.scores", ARRAY, (F32, [0.5, 1.5])),
    ]
    plain = [
        Tensor("token_embd.weight", (4, 8), 0, floats.tobytes()),
        Tensor("blk.0.attn_norm.weight", (8,), 0, floats[0].tobytes()),
        Tensor("blk.0.ffn_up.weight", (4, 8), 1, floats.astype(np.float16).tobytes()),
        Tensor("blk.0.ffn_down_exps.weight", (2, 4, 4), 0, floats.tobytes()),
    ]
    blocks = {
        2: (32, 18),
        8: (32, 34),
        12: (256, 144),
        17: (256, 74),
        39: (32, 17),
        40: (64, 36),
        41: (128, 18),
    }
    coded = [
        Tensor(f"blk.{kind}.attn_q.weight", (2, block), kind, rng.bytes(2 * size))
        for kind, (block, size) in blocks.items()
    ]
    coded.append(Tensor("blk.40.attn_q.scale", (1,), 0, floats[0, :1].tobytes()))
    return [build(plain, facts), build(coded), build([], facts), build(plain[:1], version=2)]


def mutate(data: bytes, picks: Sequence[tuple[int, int, int]]) -> bytes:
    """Return the file with changes, each of (kind, position, value)."""
    for kind, position, value in picks:
        at = position % max(1, len(data))
        match kind % 5:
            case 0:
                data = data[:at]
            case 1:
                data = data[:at] + bytes([value & 255]) + data[at + 1 :]
            case 2:  # a 64-bit field, at any byte: counts, lengths, sizes and offsets lie at all of them
                number = EXTREMES[value % len(EXTREMES)]
                data = data[:at] + struct.pack("<Q", number) + data[at + 8 :]
            case 3:
                number = EXTREMES[value % 12] & 0xFFFFFFFF
                data = data[:at] + struct.pack("<I", number) + data[at + 4 :]
            case _:
                data = data[:at] + data[max(0, at - value % 64) : at] + data[at:]
    return data


def target(data: bytes, folder: Path) -> None:
    """Open a file and read all of it. Anything but an ``InputError`` is a fault."""
    from rmtaudit.checkpoints.gguf.reader import GgufReader  # here, so that atheris can instrument it

    path = folder / "model.gguf"
    path.write_bytes(data)
    try:
        with GgufReader().open(path) as checkpoint:
            for spec in checkpoint.tensors:
                if spec.unreadable is None:
                    assert tuple(checkpoint.read(spec.name).shape) == spec.shape
    except InputError:
        return


if __name__ == "__main__":
    import atheris

    with atheris.instrument_imports(include=["rmtaudit.checkpoints"]):
        import rmtaudit.checkpoints.gguf.tensors  # noqa: F401
    with tempfile.TemporaryDirectory() as corpus, tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds()):
            Path(corpus, str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, corpus], functools.partial(target, folder=Path(folder)))
        atheris.Fuzz()
