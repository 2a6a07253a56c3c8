"""Where the codes of a weight lie in the blocks of ggml's types.

Source: the structures of ``ggml-common.h`` and the decoders of ``ggml-quants.c`` in llama.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rmtaudit.checkpoints.gguf.types import GgmlType


class _Field(NamedTuple):
    """Bytes of a block that hold the same bits of every code."""

    start: int
    stop: int
    shift: int
    bits: int


class Codes(NamedTuple):
    """The codes of a type, lowest level first, and the fields that hold them."""

    codes: Sequence[int]
    fields: tuple[_Field, ...]


CODES = {
    "Q4_0": Codes(range(16), (_Field(2, 18, 0, 4),)),
    "Q4_1": Codes(range(16), (_Field(4, 20, 0, 4),)),
    "Q5_0": Codes(range(32), (_Field(6, 22, 0, 4), _Field(2, 6, 4, 1))),
    "Q5_1": Codes(range(32), (_Field(8, 24, 0, 4), _Field(4, 8, 4, 1))),
    "Q8_0": Codes(range(-128, 128), (_Field(2, 34, 0, 8),)),
    "Q2_K": Codes(range(4), (_Field(16, 80, 0, 2),)),
    "Q3_K": Codes(range(8), (_Field(32, 96, 0, 2), _Field(0, 32, 2, 1))),
    "Q4_K": Codes(range(16), (_Field(16, 144, 0, 4),)),
    "Q5_K": Codes(range(32), (_Field(48, 176, 0, 4), _Field(16, 48, 4, 1))),
    "Q6_K": Codes(range(64), (_Field(0, 128, 0, 4), _Field(128, 192, 4, 2))),
    "IQ4_NL": Codes(range(16), (_Field(2, 18, 0, 4),)),
    "IQ4_XS": Codes(range(16), (_Field(8, 136, 0, 4),)),
    "MXFP4": Codes(range(16), (_Field(1, 17, 0, 4),)),
    "NVFP4": Codes(range(16), (_Field(4, 36, 0, 4),)),
}
"""By type. The codes of the other types stand for groups of weights."""


def with_constant_codes(data: bytearray | memoryview, kind: GgmlType, code: int) -> bytearray:
    """Return the blocks of a tensor with every code replaced by one."""
    import numpy as np

    blocks = np.frombuffer(data, dtype=np.uint8).reshape(-1, kind.size).copy()
    for field in CODES[kind.name].fields:
        part = ((code & 0xFF) >> field.shift) & ((1 << field.bits) - 1)
        repeated = sum(part << place for place in range(0, 8, field.bits))
        blocks[:, field.start : field.stop] = repeated
    return bytearray(blocks.tobytes())
