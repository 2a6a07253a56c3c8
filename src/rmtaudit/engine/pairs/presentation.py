"""Tensors that two checkpoints hold alike and present as different matrices.

A Keras file says that an array holds the four gates of a recurrent layer, and a TensorFlow graph which sides
of a kernel are its outputs; the same array in a safetensors file is one matrix, of the sides that PyTorch
would have. Both sides are then taken as the side that states it presents them, if their stored values agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from rmtaudit.engine.pairs.refs import TensorRef

if TYPE_CHECKING:
    from rmtaudit.checkpoints.base import Checkpoint

Refs = tuple[TensorRef, ...]

_ALIKE = 0.5
"""Cosine of two tensors as they are stored, from which they lie alike: that of other layouts is about 0."""


def presented_alike(
    refs: Refs, others: Refs, base: Checkpoint, candidate: Checkpoint, *, content: bool
) -> tuple[Refs, Refs]:
    """Return the references of two checkpoints, with tensors of equal name and shape presented alike.

    That is for tensors whose role one container states and the other does not. Their values are read and
    compared; without ``content`` nothing is read, and only tensors of unequal numbers of matrices change.

    Raises ``InputError`` where such a tensor cannot be read.
    """
    left, right = _by_tensor(refs), _by_tensor(others)
    new_left: dict[str, Refs] = {}
    new_right: dict[str, Refs] = {}
    for name in left.keys() & right.keys():
        mine, theirs = left[name], right[name]
        spec, other = mine[0].spec, theirs[0].spec
        if spec.shape != other.shape or (spec.role is None) == (other.role is None):
            continue
        if not (_lie_alike(base, candidate, name) if content else len(mine) != len(theirs)):
            continue
        if other.role is None:
            new_right[name] = _taken_over(mine, theirs[0])
        else:
            new_left[name] = _taken_over(theirs, mine[0])
    return _replaced(refs, new_left), _replaced(others, new_right)


def _lie_alike(base: Checkpoint, candidate: Checkpoint, name: str) -> bool:
    """Whether the stored values of a tensor of both checkpoints go with one another entry by entry."""
    left, right = (each.read(name).double().nan_to_num(0.0, 0.0, 0.0).flatten() for each in (base, candidate))
    norms = float(left.norm() * right.norm())
    return norms == 0 or float(left @ right) >= _ALIKE * norms


def _by_tensor(refs: Refs) -> dict[str, Refs]:
    """Return the references to each tensor that is the only one of its matrices."""
    groups: dict[str, list[TensorRef]] = {}
    for ref in refs:
        groups.setdefault(ref.spec.name, []).append(ref)
    return {
        name: tuple(group) for name, group in groups.items() if all(len(ref.tensors) == 1 for ref in group)
    }


def _taken_over(refs: Refs, other: TensorRef) -> Refs:
    """Return the references of one side, to the tensor of the other."""
    return tuple(
        replace(
            ref,
            spec=other.spec,
            layer=None
            if ref.layer is None
            else replace(ref.layer, dtype=other.dtype, encoding=other.spec.encoding),
        )
        for ref in refs
    )


def _replaced(refs: Refs, finer: Mapping[str, Refs]) -> Refs:
    result: list[TensorRef] = []
    seen: set[str] = set()
    for ref in refs:
        if ref.spec.name not in finer:
            result.append(ref)
        elif ref.spec.name not in seen:
            seen.add(ref.spec.name)
            result.extend(finer[ref.spec.name])
    return tuple(result)
