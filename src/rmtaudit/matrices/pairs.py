"""Two tensors that make one weight: the factors of an adapter, direction and magnitude of weight norm."""

from __future__ import annotations

from collections.abc import Mapping

from rmtaudit.matrices import roles
from rmtaudit.matrices.tensors import FLOATING, TensorSpec


def second_factors(by_name: Mapping[str, TensorSpec]) -> frozenset[str]:
    """Return the names of tensors that are read together with another: second factors, magnitudes."""
    found = set()
    for name in by_name:
        pair = readable_pair(name, by_name)
        if pair is not None:
            found.add(pair.second)
    return frozenset(found)


def readable_pair(name: str, by_name: Mapping[str, TensorSpec]) -> roles.Pair | None:
    """Return the pair whose first tensor has this name, if both can be read and their shapes fit."""
    pair = roles.adapter_pair(name, by_name)
    if pair is not None:
        down, up = by_name[pair.first], by_name[pair.second]
        fits = (
            len(down.shape) > 1
            and len(up.shape) > 1
            and _readable(down)
            and _readable(up)
            and down.shape[0] == up.parameters // max(1, up.shape[0])
        )
        return pair if fits else None
    pair = roles.weight_norm_pair(name, by_name)
    if pair is not None:
        direction, magnitude = by_name[pair.first], by_name[pair.second]
        fits = (
            len(direction.shape) > 1
            and _readable(direction)
            and _readable(magnitude)
            and magnitude.shape == (direction.shape[0],) + (1,) * (len(direction.shape) - 1)
        )
        return pair if fits else None
    return None


def _readable(spec: TensorSpec) -> bool:
    return spec.dtype in FLOATING and spec.unreadable is None and spec.parameters > 0
