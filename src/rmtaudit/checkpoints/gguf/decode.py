"""Blocks of quantised values to numbers: the package ``gguf``, and what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.gguf.types import OWN_DECODER
from rmtaudit.checkpoints.optional import require

if TYPE_CHECKING:
    import torch

    from rmtaudit.checkpoints.gguf.types import GgmlType

EXTRA = "gguf"
WHAT = "Quantised GGUF files"

_STEP = 1 << 22
"""Bytes of codes that are decoded at a time: what the decoder takes beside the values stays small."""


def dequantised(
    data: bytearray | memoryview, kind: GgmlType, shape: tuple[int, ...], where: str
) -> torch.Tensor:
    """Return the values of a tensor.

    Parameters
    ----------
    data
        Its bytes, rows of whole blocks.
    kind
        A quantised type.
    shape
        Outermost side first.
    where
        The file, for the message.

    Returns
    -------
    Tensor
        float32, ``shape``.

    Raises
    ------
    InputError
        RA-IN-099: the package ``gguf`` is needed and not installed.
    """
    import numpy as np
    import torch

    values = torch.empty(shape, dtype=torch.float32)
    if not values.numel():
        return values
    width = shape[-1] // kind.block * kind.size
    rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, width)
    into = values.numpy().reshape(len(rows), shape[-1])
    decode = _q1_0 if kind.name in OWN_DECODER else _decoder(kind, where)
    step = max(16, _STEP // width // 16 * 16)  # the package takes 16 rows at a time
    # a damaged scale may be NaN or infinite: that is a finding about the layer, not a warning of NumPy
    with np.errstate(all="ignore"):
        for start in range(0, len(rows), step):
            into[start : start + step] = decode(rows[start : start + step])
    return values


def _decoder(kind: GgmlType, where: str) -> Callable[[Any], Any]:
    quants = require("gguf.quants", extra=EXTRA, what=WHAT, where=where)
    number = quants.GGMLQuantizationType[kind.name]
    return lambda rows: quants.dequantize(rows, number)


def _q1_0(rows: Any) -> Any:
    """Decode Q1_0: a float16 scale, then 128 signs, lowest bit first; a set bit is plus.

    Source: ``dequantize_row_q1_0`` in ``ggml-quants.c``.
    """
    import numpy as np

    blocks = rows.reshape(-1, 18)
    scale = np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)
    signs = np.unpackbits(blocks[:, 2:], axis=1, bitorder="little")
    return np.where(signs, scale, -scale).reshape(len(rows), -1)
