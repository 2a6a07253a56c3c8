"""Floating formats: the unit in the last place, the variance of rounding, and casts."""

from __future__ import annotations

import torch

_EXPONENT = 0x7FF0_0000_0000_0000
"""The bits of the exponent of a float64: alone, they are the power of two below its magnitude."""

NARROW = ("float8_e4m3fn", "float8_e5m2", "bfloat16", "float16", "float32")
"""Formats that weights are cast to, fewest bits of mantissa first (torch's names)."""


def ulp(values: torch.Tensor, dtype: str) -> torch.Tensor:
    """Return the unit in the last place of every value in a format, float64.

    Parameters
    ----------
    values
        Any shape, real floating.
    dtype
        torch's name of the format.
    """
    facts = torch.finfo(getattr(torch, dtype))
    power = (values.double().view(torch.int64) & _EXPONENT).view(torch.float64)
    return power.clamp_min_(float(facts.smallest_normal)).mul_(float(facts.eps))


def rounding_variance(values: torch.Tensor, dtype: str) -> torch.Tensor:
    """Return the variance ``ulp(w)²/12`` of rounding every value to a format, float64."""
    return ulp(values, dtype).square_().div_(12)


def cast(values: torch.Tensor, dtype: str) -> torch.Tensor:
    """Return the values rounded to nearest in a format; fp8 saturates, as libraries that write it do."""
    target = getattr(torch, dtype)
    if dtype.startswith("float8"):
        largest = float(torch.finfo(target).max)
        values = values.clamp(-largest, largest)
    return values.to(target)


def truncated(values: torch.Tensor, dtype: str) -> torch.Tensor:
    """Return the values rounded toward zero in bfloat16 or float16; as :func:`cast` in any other format."""
    near = cast(values, dtype)
    if dtype not in ("bfloat16", "float16"):
        return near
    beyond = near.double().abs() > values.double().abs()
    bits = near.contiguous().view(torch.int16)
    return torch.where(beyond, bits - 1, bits).view(near.dtype)  # the bits of a magnitude are ordered
