"""Two tensors that make one weight: the direction and the magnitude of weight norm."""

from __future__ import annotations

from collections.abc import Mapping

from rmtaudit.matrices import roles
from rmtaudit.matrices.tensors import FLOATING, TensorSpec


def readable_pair(name: str, by_name: Mapping[str, TensorSpec]) -> roles.Pair | None:
    """Return the pair whose direction has this name, if both can be read and their shapes fit."""
    pair = roles.weight_norm_pair(name, by_name)
    if pair is None:
        return None
    direction, magnitude = by_name[pair.first], by_name[pair.second]
    fits = (
        len(direction.shape) > 1
        and _readable(direction)
        and _readable(magnitude)
        and magnitude.shape == (direction.shape[0],) + (1,) * (len(direction.shape) - 1)
    )
    return pair if fits else None


def _readable(spec: TensorSpec) -> bool:
    return spec.dtype in FLOATING and spec.unreadable is None and spec.parameters > 0
