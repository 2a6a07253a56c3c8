"""Bytes to values: the one place where a reader needs torch.

Opening a checkpoint imports neither torch nor NumPy, so that a file which cannot be read is refused at once:
they are imported here, and in :mod:`rmtaudit.checkpoints.files`, where values are first read.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CODES = {"float8_e8m0fnu": "uint8"}
"""By each dtype that came after torch 2.4, the dtype of the same size that holds its codes.

``float8_e8m0fnu`` came with torch 2.7. It holds the exponents of scales, which are decoded from
their codes, and the digest of a file is that of its bytes: the report is the same.
"""


def tensor_from_bytes(
    data: bytearray | memoryview,
    dtype: str,
    shape: tuple[int, ...],
    stride: tuple[int, ...] | None = None,
    *,
    big_endian: bool = False,
) -> torch.Tensor:
    """Return the tensor that ``data`` holds.

    Parameters
    ----------
    data
        The bytes from the first to the last element used; the result may keep this memory.
    dtype
        torch's name of the dtype, without ``torch.``.
    shape, stride
        Sizes, and steps in elements (row-major where ``None``), none of them negative.
    big_endian
        Whether the bytes of an element come most significant first.

    Returns
    -------
    Tensor
        CPU, contiguous, ``shape``, of :func:`torch_dtype` of ``dtype``.
    """
    import torch

    kind = torch_dtype(dtype)
    if math.prod(shape) == 0:
        return torch.empty(shape, dtype=kind)
    if big_endian:
        data = _swapped(data, kind)
    flat = torch.frombuffer(data, dtype=kind)
    if stride is None:
        return flat.reshape(shape)
    return flat.as_strided(shape, stride).contiguous()


def torch_dtype(name: str) -> torch.dtype:
    """Return the dtype of a name; where torch is too old to have it, the one that holds its codes."""
    import torch

    kind: torch.dtype = getattr(torch, name if hasattr(torch, name) else CODES.get(name, name))
    return kind


def _swapped(data: bytearray | memoryview, kind: torch.dtype) -> bytearray | memoryview:
    """Reverse the bytes of each number: of each half of a complex one."""
    import numpy as np

    width = kind.itemsize // 2 if kind.is_complex else kind.itemsize
    if width == 1:
        return data
    return bytearray(np.frombuffer(data, dtype=f"u{width}").byteswap().tobytes())
