"""From packed bytes and words to codes, and from codes of 4 and 8-bit floats to numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)
"""Values of the 4-bit float E2M1, by its bits (OCP Microscaling Formats 1.0, table 5)."""

_CHUNK = 1 << 20
"""Codes that are unpacked at a time where each takes 24 bytes of working memory."""


def nibbles(packed: torch.Tensor, *, high_first: bool = False) -> torch.Tensor:
    """Return the two 4-bit codes of every byte, in order: shape (..., n) uint8 to (..., 2 n) uint8."""
    import torch

    low, high = packed & 15, packed >> 4
    pair = (high, low) if high_first else (low, high)
    return torch.stack(pair, dim=-1).flatten(-2)


def from_words(words: torch.Tensor, bits: int, count: int, *, dense: bool = True) -> torch.Tensor:
    """Return codes that lie in 32-bit words along the last side, lowest bits first.

    Parameters
    ----------
    words
        int32 or uint32, shape (rows, w).
    bits
        Bits a code, 1 to 8.
    count
        Codes a row.
    dense
        Whether a code may continue in the next word. Otherwise a word holds ``32 // bits`` codes, and its
        last bits are not used.

    Returns
    -------
    Tensor
        uint8, shape (rows, count).
    """
    import numpy as np
    import torch

    stored = np.ascontiguousarray(words.numpy()).view(np.uint32)
    out = np.empty((stored.shape[0], count), dtype=np.uint8)
    places = np.arange(count) * bits if dense else np.arange(count) // (32 // bits) * 32
    places = places if dense else places + np.arange(count) % (32 // bits) * bits
    word, shift = places // 32, (places % 32).astype(np.uint64)
    for start in range(0, stored.shape[0], max(1, _CHUNK // max(1, count))):
        rows = stored[start : start + max(1, _CHUNK // max(1, count))].astype(np.uint64)
        following = np.concatenate([rows[:, 1:], np.zeros_like(rows[:, :1])], axis=1)
        both = rows | following << np.uint64(32)
        out[start : start + len(rows)] = both[:, word] >> shift & np.uint64((1 << bits) - 1)
    return torch.from_numpy(out)


def e2m1(codes: torch.Tensor) -> torch.Tensor:
    """Return the values of 4-bit floats, float32."""
    import torch

    return torch.tensor(_E2M1)[codes.int()]


def e8m0(codes: torch.Tensor) -> torch.Tensor:
    """Return the powers of two that 8-bit exponents stand for, float32; NaN for 255."""
    import torch

    exponents = codes.view(torch.uint8).to(torch.int32)
    bits = torch.where(exponents == 0, 0x00400000, exponents << 23)  # 2^-127 has no exponent of its own
    return torch.where(exponents == 255, torch.nan, bits.view(torch.float32))


def bytes_of(words: torch.Tensor) -> torch.Tensor:
    """Return 32-bit words as bytes, lowest first: shape (..., n) to (..., 4 n) uint8."""
    import torch

    return words.contiguous().view(torch.uint8)


def spread(scales: torch.Tensor, block: tuple[int, int], shape: tuple[int, int]) -> torch.Tensor:
    """Return a scale for each weight: every scale fills a block, and the last ones what is left of it.

    ``scales`` has shape (ceil(rows / block[0]), ceil(cols / block[1])); the result has ``shape``, float32.
    """
    rows, cols = shape
    wide = scales.float()
    if block[0] > 1:
        wide = wide.repeat_interleave(block[0], 0)[:rows]
    if block[1] > 1:
        wide = wide.repeat_interleave(block[1], 1)[:, :cols]
    return wide
