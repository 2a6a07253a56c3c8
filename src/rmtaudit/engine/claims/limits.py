"""How many misplaced codes honest files have, by scheme."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum


class Test(Enum):
    """How the codes of a scheme are compared with the base."""

    __test__ = False

    NEAREST = "nearest"
    """Codes are the levels nearest to the weight."""
    SCALED = "scaled"
    """As nearest, after rows and columns were multiplied by factors that are not stored."""
    DISTANCE = "distance"
    """Codes make up for the errors of others: only their distance from the weight is limited."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The limits of a scheme.

    Attributes
    ----------
    test
        What is counted.
    share
        Share of misplaced codes that honest files have at most.
    near
        Root mean square distance in steps up to which codes fit.
    measured
        Whether the limit comes from honest files. Where it does not, codes beyond it are no evidence.
    """

    test: Test
    share: float
    near: float = math.inf
    measured: bool = True

    def allows(self, misplaced: int, judged: int) -> bool:
        """Whether a count is within the share and four standard errors of chance."""
        expected = self.share * judged
        return misplaced <= expected + 4 * math.sqrt(expected) + 3

    @property
    def most(self) -> float:
        """The share, for messages."""
        return self.share


_GGUF = {
    "Q2_K": 1e-4, "Q3_K": 1e-4, "Q4_K": 1e-4, "Q5_K": 1e-4, "Q6_K": 1e-4,
    "Q4_0": 0.012, "Q4_1": 0.012, "Q5_0": 0.012, "Q5_1": 0.015, "Q8_0": 0.012,
    "IQ4_NL": 5e-4, "IQ4_XS": 0.002, "MXFP4": 1e-4,
}  # fmt: skip
_OTHER = (
    ("NF4, double quantisation", Limit(Test.NEAREST, 0.02)),
    ("FP4, double quantisation", Limit(Test.NEAREST, 0.02, measured=False)),
    ("NVFP4", Limit(Test.NEAREST, 1e-4, measured=False)),
    ("HQQ", Limit(Test.NEAREST, 0.002, measured=False)),
    ("GPTQ", Limit(Test.DISTANCE, 1.0, near=0.5, measured=False)),
    ("AWQ", Limit(Test.SCALED, 0.05, measured=False)),
)
_DEFAULT = Limit(Test.NEAREST, 0.002)
"""Shares: half as much again as the largest of honest tensors in ``benchmarks/claims.py``, at least 1e-4."""


def limit_of(scheme: str) -> Limit:
    """Return the limits of a scheme, by the name in the encoding of its tensors."""
    if scheme in _GGUF:
        return Limit(Test.NEAREST, _GGUF[scheme])
    for name, limit in _OTHER:
        if name in scheme:
            return limit
    return _DEFAULT
