"""Levels that are not equally spaced: small floating formats and normal-float quantisation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch

Values = npt.NDArray[np.float64]

_ROUNDINGS = 3.0
"""Rounding errors between a level times its scale and the stored entry: of scale, product and storage."""

_LEAST = 6


@dataclass(frozen=True, slots=True)
class TableFit:
    """How well one unit's values lie on the levels of a table times one scale.

    Attributes
    ----------
    scale
        Weight units per unit of the table, negative where the levels are mirrored; 0 where the unit says
        nothing.
    evidence
        In nats: minus the log of the probability that entries of a smooth density lie this near to levels.
    values
        Number of entries that it is made of, zeros not counted.
    """

    scale: float
    evidence: float
    values: int


SILENT = TableFit(0.0, 0.0, 0)


def _minifloat(exponents: int, mantissa: int, bias: int) -> Values:
    """Return the non-negative numbers of a floating format without infinities."""
    fraction = np.arange(2**mantissa) / 2**mantissa
    subnormal = fraction * 2.0 ** (1 - bias)
    normal = [(1 + fraction) * 2.0 ** (exponent - bias) for exponent in range(1, 2**exponents)]
    return np.concatenate([subnormal, *normal])


def _signed(positive: Values) -> Values:
    return np.unique(np.concatenate([-positive, positive]))


def _float8(dtype: torch.dtype) -> Values:
    numbers = torch.arange(256, dtype=torch.uint8).view(dtype).double().numpy()
    return np.unique(numbers[np.isfinite(numbers)] + 0.0)


_NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023,
    1.0,
)  # fmt: skip
_BNB_FP4 = (0.0, 1 / 192, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1.0)
_IQ4_NL = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)

TABLES: Mapping[str, Values] = MappingProxyType(
    {
        "fp4 (e2m1)": _signed(_minifloat(2, 1, 1)),
        "nf4": np.array(_NF4),
        "fp4 (bitsandbytes)": _signed(np.array(_BNB_FP4)),
        "iq4_nl": np.array(_IQ4_NL, dtype=np.float64),
        "fp6 (e3m2)": _signed(_minifloat(3, 2, 3)),
        "fp6 (e2m3)": _signed(_minifloat(2, 3, 1)),
        "fp8 (e5m2)": _float8(torch.float8_e5m2),
        "fp8 (e4m3)": _float8(torch.float8_e4m3fn),
    }
)
"""Levels by name, ascending; a table comes after those whose levels it contains.

Sources: OCP Microscaling Formats (MX) 1.0 for e2m1, e3m2, e2m3, e4m3 and e5m2; Dettmers et al., *QLoRA*
(2023), appendix E, for NF4; bitsandbytes (``create_fp4_map``) for its FP4; llama.cpp (``kvalues_iq4nl``)
for IQ4_NL.
"""


def fit_table(
    values: torch.Tensor, levels: Values, epsilon: float, smallest_normal: float
) -> TableFit | None:
    """Return the scale with which every value is a level of the table, or ``None`` if there is none.

    The largest absolute value is tried as every level of its sign, the outermost first, as it is with a
    scale from the largest absolute value. A table that is not symmetric is tried with scales of either sign,
    which is how IQ4_NL reaches its outermost level.

    Parameters
    ----------
    values
        Shape ``(n,)``, real floating dtype, finite. Zeros are left out.
    levels
        Ascending, shape ``(k,)``.
    epsilon, smallest_normal
        Unit round-off and smallest normal number of the format of the values.
    """
    everything = values.double().cpu().numpy()
    distinct, counts = np.unique(everything[everything != 0], return_counts=True)
    if len(distinct) > len(levels):
        return None
    if counts.sum() < _LEAST or len(distinct) < 2:
        return SILENT
    largest = distinct[int(np.argmax(np.abs(distinct)))]
    symmetric = np.array_equal(levels, -levels[::-1])
    anchors = levels[np.sign(levels) == np.sign(largest)] if symmetric else levels[levels != 0]
    tolerance = _ROUNDINGS * epsilon * np.maximum(np.abs(distinct), smallest_normal)
    tries = len(anchors)
    for anchor in anchors[np.argsort(-np.abs(anchors))]:
        scale = largest / anchor
        scaled = np.sort(scale * levels)
        above = np.clip(np.searchsorted(scaled, distinct), 1, len(scaled) - 1)
        below = above - 1
        distance = np.minimum(np.abs(scaled[above] - distinct), np.abs(distinct - scaled[below]))
        if np.all(distance <= tolerance):
            room = scaled[above] - scaled[below]
            surprise = -np.log(np.minimum(1.0, 2 * tolerance / room))
            evidence = float((surprise * counts).sum() - surprise.max()) - math.log(tries)
            return TableFit(float(scale), max(evidence, 0.0), int(counts.sum()))
    return None
