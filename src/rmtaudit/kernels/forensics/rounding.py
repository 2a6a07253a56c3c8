"""Values that were rounded to a narrower floating format than the one they are stored in."""

from __future__ import annotations

import torch

from rmtaudit.kernels.forensics.samples import strided

NARROWER = {
    "float64": ("float8_e4m3fn", "float8_e5m2", "bfloat16", "float16", "float32"),
    "float32": ("float8_e4m3fn", "float8_e5m2", "bfloat16", "float16"),
    "float16": ("float8_e4m3fn", "float8_e5m2", "bfloat16"),
    "bfloat16": ("float8_e4m3fn", "float8_e5m2"),
}
"""Formats to look for inside each stored dtype, fewest bits of mantissa first."""

_SAMPLE = 4096
_DISTINCT = 24
_FIRST = 16


def rounded_to(matrix: torch.Tensor, stored: str) -> str | None:
    """Return the narrower floating format that holds every entry exactly, or ``None``.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, real floating dtype, finite.
    stored
        The dtype that the entries were stored in (torch's name).

    Returns
    -------
    str or None
        torch's name of the dtype. ``None`` also for fewer than 24 distinct values: they fit a format by
        chance (zeros, ones, powers of two). A value of ordinary precision fits bfloat16 inside float32 with
        probability 2⁻¹⁶.
    """
    sample = strided(matrix, _SAMPLE)
    candidates = [name for name in NARROWER.get(stored, ()) if _fits(sample, name)]
    if not candidates or len(torch.unique(sample)) < _DISTINCT:
        return None
    return next((name for name in candidates if _fits(matrix, name)), None)


def _fits(values: torch.Tensor, name: str) -> bool:
    dtype = getattr(torch, name)
    return all(torch.equal(some.to(dtype).to(some.dtype), some) for some in (values[:_FIRST], values))
