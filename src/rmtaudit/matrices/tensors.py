"""What is known of a stored tensor before its bytes are read."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, make_dataclass
from enum import StrEnum

import msgspec

from rmtaudit.matrices.skips import SkipReason

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


class Use(StrEnum):
    """What the program that stored a tensor does with it."""

    DENSE = "dense"
    CONVOLUTION = "convolution"
    EMBEDDING = "embedding"
    RECURRENT = "recurrent"
    ATTENTION = "attention"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a container knows of a tensor beyond its name: the operator that takes it, the order of its sides.

    Attributes
    ----------
    use
        The operator; :attr:`Use.NONE` for what is no weight (a bias, a shape, a statistic).
    axes
        One letter a side, in stored order: ``O`` outputs, ``I`` inputs, ``D H W`` the kernel, ``M`` the
        channel multiplier of a depthwise convolution (its outputs are ``I`` times ``M``), ``E`` a stack of
        matrices, ``1`` a side of length 1 that has no meaning. ``OI`` is a matrix of ``torch.nn.Linear``,
        ``IO`` one of Keras, ``OIHW`` a convolution of PyTorch, ``HWIO`` one of Keras, ``HWIM`` a depthwise
        one of TensorFlow, ``1HWO`` a depthwise one of TensorFlow Lite. Empty for :attr:`Use.NONE`.
    parts
        Where several layers share the outputs (gates, query, key and value): the name, the first output and
        the one after the last of each. They cover the outputs without gaps. In a stack, each
        matrix has them.
    reason
        For :attr:`Use.NONE`: what it is, one phrase for the report.
    counted
        Whether its elements are parameters of the model: not those of scales and zero points.
    skip
        For :attr:`Use.NONE`: the name of the reason.
    """

    use: Use
    axes: str = ""
    parts: tuple[tuple[str, int, int], ...] = ()
    reason: str = ""
    counted: bool = True
    skip: SkipReason = SkipReason.NO_WEIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How the values of a quantised weight lie in the file.

    Attributes
    ----------
    scheme
        The name that its users know: ``"Q4_K"``, ``"GPTQ v2"``, ``"NVFP4 (modelopt)"`` …
    dtype
        Of the codes: ``"uint8"``, ``"int4"``, ``"float8_e4m3fn"`` …
    block
        Numbers of rows and columns (of the weight as it is presented) that share a scale; ``None`` where
        one scale serves the whole tensor or the format has none.
    bits
        Bits a weight in the file, scales and zero points included.
    parts
        Names of the stored tensors that the weight is made of, codes first; empty where the container keeps
        them as one.
    """

    scheme: str
    dtype: str
    block: tuple[int, int] | None = None
    bits: float
    parts: tuple[str, ...] = ()


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor as its container describes it.

    A structure of msgspec, since a header may hold a million of them: a dataclass takes five times as long to
    make. ``dataclasses.replace`` and ``msgspec.structs.replace`` both return a changed one.

    Attributes
    ----------
    name
        Full name in the checkpoint, wrappers removed. Hostile text: print it through ``display_name``.
    shape
        Sizes, outermost first, as stored.
    dtype
        torch's name of the dtype, without ``torch.``: ``"float32"``, ``"bfloat16"``, ``"int8"`` …
    alias
        Equal for two tensors that view the very same bytes (tied weights); a
        :class:`~rmtaudit.matrices.sharing.StorageView` where the container states which elements of a storage
        a tensor has; ``None`` where the container cannot share.
    unreadable
        Why the values cannot be read, where they cannot (sparse, quantised qint8, …); ``None`` otherwise.
    skip
        The name of that reason: codes that are not decoded are :attr:`SkipReason.QUANTISED`.
    role
        What the container knows of its use; ``None`` where there are only the name and the shape to go by.
    encoding
        How the values of a quantised weight are stored; ``dtype`` is then that of the values that are read.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    alias: Hashable | None = None
    unreadable: str | None = None
    skip: SkipReason = SkipReason.NO_VALUES
    role: Role | None = None
    encoding: Encoding | None = None

    @property
    def parameters(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes, as stored (0 for a dtype without a fixed item size)."""
        return self.parameters * ITEMSIZE.get(self.dtype, 0)


_TWIN = make_dataclass("TensorSpec", TensorSpec.__struct_fields__)
TensorSpec.__dataclass_fields__ = _TWIN.__dataclass_fields__  # type: ignore[attr-defined]
"""What ``dataclasses.replace`` goes by, which the readers of plugins call."""


def smallest_normal(dtype: str) -> float:
    """Return the smallest normal number of a dtype by torch's name; 0 for one without: integers."""
    import torch

    return float(torch.finfo(getattr(torch, dtype)).smallest_normal) if dtype in FLOATING else 0.0
