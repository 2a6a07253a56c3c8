"""What is known of a stored tensor before its bytes are read."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

ITEMSIZE = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1,
    "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1,
    "bool": 1, "complex64": 8, "complex128": 16,
}  # fmt: skip
"""Bytes an element, by dtype name (torch's names)."""

UNIT_ROUNDOFF = {
    "float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8,
    "float8_e4m3fn": 2.0**-4, "float8_e4m3fnuz": 2.0**-4, "float8_e5m2": 2.0**-3, "float8_e5m2fnuz": 2.0**-3,
}  # fmt: skip
"""Largest relative error of rounding a number to the dtype: half the gap between 1 and the next number."""

FLOATING = frozenset(name for name in ITEMSIZE if name.startswith(("float", "bfloat"))) - {"float8_e8m0fnu"}
"""Dtypes whose values are weights as they stand. ``float8_e8m0fnu`` holds exponents of scales."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """A tensor as its container describes it.

    Attributes
    ----------
    name
        Full name in the checkpoint, wrappers removed. Hostile text: print it through ``display_name``.
    shape
        Sizes, outermost first, as stored.
    dtype
        torch's name of the dtype, without ``torch.``: ``"float32"``, ``"bfloat16"``, ``"int8"`` …
    alias
        Equal for two tensors that view the very same bytes (tied weights); ``None`` where the container
        cannot share.
    unreadable
        Why the values cannot be had, where they cannot (sparse, quantised qint8, …); ``None`` otherwise.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    alias: Hashable | None = None
    unreadable: str | None = None

    @property
    def parameters(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes, as stored (0 for a dtype without a fixed item size)."""
        return self.parameters * ITEMSIZE.get(self.dtype, 0)


def smallest_normal(dtype: str) -> float:
    """Return the smallest normal number of a dtype by torch's name; 0 for one without: integers."""
    import torch

    return float(torch.finfo(getattr(torch, dtype)).smallest_normal) if dtype in FLOATING else 0.0
