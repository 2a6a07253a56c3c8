"""A program in Core ML's intermediate language (MIL): operators, their inputs, and where constants lie."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

BITS = {
    "fp16": 16, "fp32": 32, "fp64": 64, "bf16": 16, "fp8e4m3fn": 8, "fp8e5m2": 8, "bool": 8,
    "int4": 4, "int8": 8, "int16": 16, "int32": 32, "int64": 64,
    "uint1": 1, "uint2": 2, "uint3": 3, "uint4": 4, "uint6": 6,
    "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64,
}  # fmt: skip
"""Bits a value, by MIL's names of types."""

TORCH = {
    "fp16": "float16", "fp32": "float32", "fp64": "float64", "bf16": "bfloat16",
    "fp8e4m3fn": "float8_e4m3fn", "fp8e5m2": "float8_e5m2", "bool": "bool",
    "int8": "int8", "int16": "int16", "int32": "int32", "int64": "int64",
    "uint8": "uint8", "uint16": "uint16", "uint32": "uint32", "uint64": "uint64",
}  # fmt: skip
"""torch's names of those that have one."""

FLOATS = frozenset({"fp16", "fp32", "fp64", "bf16"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A constant value.

    Attributes
    ----------
    type, shape
        MIL's name of the type of its elements, and its sizes.
    file, offset
        The file that holds it, as the program names it, and the position of its entry; ``file`` is empty
        for a value that the program holds itself.
    numbers
        The elements of such a value, row-major; ``None`` where they are in a file, or are text.
    """

    type: str
    shape: tuple[int, ...] = ()
    file: str = ""
    offset: int = 0
    numbers: tuple[float, ...] | None = None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def complete(self) -> bool:
        """Whether the program holds as many numbers as the shape says."""
        return self.numbers is not None and len(self.numbers) == self.elements


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operator.

    Attributes
    ----------
    type
        ``"const"``, ``"linear"``, ``"constexpr_lut_to_dense"`` …
    outputs
        Names of its outputs, with the shape of the first.
    shape
        Of its first output; sides that are not fixed are 0.
    inputs
        What its inputs are: a name of another output, or a value. Of a list of inputs, the first.
    """

    type: str
    outputs: tuple[str, ...]
    shape: tuple[int, ...] = ()
    inputs: dict[str, str | Value] = field(default_factory=dict)
