"""Blocks of quantised values to numbers: the package ``gguf``, and what it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.optional import require

if TYPE_CHECKING:
    import torch

    from rmtaudit.checkpoints.gguf.types import GgmlType

EXTRA = "gguf"
WHAT = "Quantised GGUF files"


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

    rows = np.frombuffer(data, dtype=np.uint8).reshape(*shape[:-1], shape[-1] // kind.block * kind.size)
    with np.errstate(
        all="ignore"
    ):  # a damaged scale may be NaN or infinite: that is a finding, not a warning
        if kind.name == "Q1_0":
            values = _q1_0(rows)
        else:
            quants = require("gguf.quants", extra=EXTRA, what=WHAT, where=where)
            values = quants.dequantize(rows, quants.GGMLQuantizationType[kind.name])
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).reshape(shape)


def _q1_0(rows: Any) -> Any:
    """Decode Q1_0: a float16 scale, then 128 signs, lowest bit first; a set bit is plus.

    Source: ``dequantize_row_q1_0`` in ``ggml-quants.c``.
    """
    import numpy as np

    blocks = rows.reshape(-1, 18)
    scale = np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)
    signs = np.unpackbits(blocks[:, 2:], axis=1, bitorder="little")
    return np.where(signs, scale, -scale)
