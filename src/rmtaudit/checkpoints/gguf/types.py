"""The types of ggml: how many values a block holds, and in how many bytes.

Source: ``ggml.h`` and ``ggml-common.h`` of llama.cpp, as tabulated in the package ``gguf`` 0.19
(``GGML_QUANT_SIZES``).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GgmlType:
    """One type.

    Attributes
    ----------
    name
        As llama.cpp writes it.
    block
        Values of a row that are stored together.
    size
        Bytes that they take.
    dtype
        torch's name of the dtype where the values are stored as plain numbers; ``None`` for a quantised type.
    """

    name: str
    block: int
    size: int
    dtype: str | None = None

    @property
    def bits(self) -> float:
        """Bits a value, scales included."""
        return 8 * self.size / self.block


TYPES = {
    0: GgmlType("F32", 1, 4, "float32"),
    1: GgmlType("F16", 1, 2, "float16"),
    2: GgmlType("Q4_0", 32, 18),
    3: GgmlType("Q4_1", 32, 20),
    6: GgmlType("Q5_0", 32, 22),
    7: GgmlType("Q5_1", 32, 24),
    8: GgmlType("Q8_0", 32, 34),
    9: GgmlType("Q8_1", 32, 40),
    10: GgmlType("Q2_K", 256, 84),
    11: GgmlType("Q3_K", 256, 110),
    12: GgmlType("Q4_K", 256, 144),
    13: GgmlType("Q5_K", 256, 176),
    14: GgmlType("Q6_K", 256, 210),
    15: GgmlType("Q8_K", 256, 292),
    16: GgmlType("IQ2_XXS", 256, 66),
    17: GgmlType("IQ2_XS", 256, 74),
    18: GgmlType("IQ3_XXS", 256, 98),
    19: GgmlType("IQ1_S", 256, 50),
    20: GgmlType("IQ4_NL", 32, 18),
    21: GgmlType("IQ3_S", 256, 110),
    22: GgmlType("IQ2_S", 256, 82),
    23: GgmlType("IQ4_XS", 256, 136),
    24: GgmlType("I8", 1, 1, "int8"),
    25: GgmlType("I16", 1, 2, "int16"),
    26: GgmlType("I32", 1, 4, "int32"),
    27: GgmlType("I64", 1, 8, "int64"),
    28: GgmlType("F64", 1, 8, "float64"),
    29: GgmlType("IQ1_M", 256, 56),
    30: GgmlType("BF16", 1, 2, "bfloat16"),
    34: GgmlType("TQ1_0", 256, 54),
    35: GgmlType("TQ2_0", 256, 66),
    39: GgmlType("MXFP4", 32, 17),
    40: GgmlType("NVFP4", 64, 36),
    41: GgmlType("Q1_0", 128, 18),
}
"""By the number in the file."""

REMOVED = {
    4: "Q4_2", 5: "Q4_3", 31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8",
    36: "IQ4_NL_4_4, or I2_S of bitnet.cpp", 37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8, or TL1 of bitnet.cpp",
}  # fmt: skip
"""Numbers that ggml has given up, some of which other programs have taken."""

WITHOUT_DECODER = frozenset({"Q8_1", "Q8_K"})
"""Types of intermediate results, which no model is stored in and nothing decodes."""

OWN_DECODER = frozenset({"Q1_0"})
"""Types that the package ``gguf`` 0.19 does not decode, and this one does."""
