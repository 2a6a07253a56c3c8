"""The largest rounding error of each entry of a stored matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmtaudit.checkpoints.levels import Levels
from rmtaudit.matrices.tensors import UNIT_ROUNDOFF

if TYPE_CHECKING:
    import torch

_COARSER = ("bfloat16", "float16")


def rounding_of(matrix: torch.Tensor, dtype: str, levels: Levels | None) -> torch.Tensor:
    """Return half a step of the storage at each entry, float32.

    Parameters
    ----------
    matrix
        The values, real floating dtype.
    dtype
        That they are stored in, by torch's name. Values that a coarser format holds exactly were rounded to
        it before.
    levels
        Of a quantised matrix: half the mean distance of its levels.
    """
    import torch

    if levels is not None:
        gap = (levels.table[-1] - levels.table[0]) / (len(levels.table) - 1)
        return levels.step.float().abs() * (gap / 2)
    for coarser in _COARSER:
        narrow = matrix.to(getattr(torch, coarser))
        if bool((narrow.to(matrix.dtype) == matrix).all()):
            dtype = coarser
            break
    values = matrix.double()
    binade = torch.ldexp(torch.ones_like(values), torch.frexp(values).exponent - 1)
    return (binade * UNIT_ROUNDOFF.get(dtype, 2.0**-24)).float()
