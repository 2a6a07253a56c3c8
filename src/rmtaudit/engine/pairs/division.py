"""Tensors that two checkpoints hold alike and divide into matrices differently.

A Keras file says that an array holds the four gates of a recurrent layer; the same array in a safetensors
file is one matrix. Both sides are then taken as the side that knows more divides them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rmtaudit.engine.pairs.refs import TensorRef

Refs = tuple[TensorRef, ...]


def divided_alike(refs: Refs, others: Refs) -> tuple[Refs, Refs]:
    """Return the references of two checkpoints, with tensors of equal name and shape divided alike."""
    left, right = _by_tensor(refs), _by_tensor(others)
    finer_left: dict[str, Refs] = {}
    finer_right: dict[str, Refs] = {}
    for name in left.keys() & right.keys():
        mine, theirs = left[name], right[name]
        if mine[0].spec.shape != theirs[0].spec.shape or _names(mine) == _names(theirs):
            continue
        if len(mine) > len(theirs):
            finer_right[name] = _taken_over(mine, theirs[0])
        elif len(theirs) > len(mine):
            finer_left[name] = _taken_over(theirs, mine[0])
    return _replaced(refs, finer_left), _replaced(others, finer_right)


def _by_tensor(refs: Refs) -> dict[str, Refs]:
    """Return the references to each tensor that is the only one of its matrices."""
    groups: dict[str, list[TensorRef]] = {}
    for ref in refs:
        groups.setdefault(ref.spec.name, []).append(ref)
    return {
        name: tuple(group) for name, group in groups.items() if all(len(ref.tensors) == 1 for ref in group)
    }


def _names(refs: Sequence[TensorRef]) -> set[str]:
    return {ref.name for ref in refs}


def _taken_over(refs: Refs, other: TensorRef) -> Refs:
    """Return the references of one side, to the tensor of the other."""
    return tuple(
        replace(
            ref,
            spec=other.spec,
            layer=None if ref.layer is None else replace(ref.layer, dtype=other.dtype),
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
