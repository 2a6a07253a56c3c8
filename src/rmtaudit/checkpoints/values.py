"""Bytes to values: the one place where a reader needs torch.

Opening a checkpoint imports neither torch nor NumPy, so that a file which cannot be read is refused at once:
they are imported here, and in :mod:`rmtaudit.checkpoints.files`, where values are first read.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


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
        CPU, contiguous, ``shape``, ``dtype``.
    """
    import torch

    kind: torch.dtype = getattr(torch, dtype)
    if math.prod(shape) == 0:
        return torch.empty(shape, dtype=kind)
    if big_endian:
        data = _swapped(data, kind)
    flat = torch.frombuffer(data, dtype=kind)
    if stride is None:
        return flat.reshape(shape)
    return flat.as_strided(shape, stride).contiguous()


def _swapped(data: bytearray | memoryview, kind: torch.dtype) -> bytearray | memoryview:
    """Reverse the bytes of each number: of each half of a complex one."""
    import numpy as np

    width = kind.itemsize // 2 if kind.is_complex else kind.itemsize
    if width == 1:
        return data
    return bytearray(np.frombuffer(data, dtype=f"u{width}").byteswap().tobytes())
