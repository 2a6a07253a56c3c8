"""``DTensor`` and ``ShardedTensor`` in a pickle: the whole tensor where this process had all of it.

The originals are ``torch/distributed/tensor/_api.py`` and ``torch/distributed/_shard/sharded_tensor/api.py``.
What is only a shard is listed with its place in the whole, and its values are not offered: the spectrum of a
part is not that of the matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rmtaudit.checkpoints.inert import Foreign, Instance, StoredTensor

_DTENSOR = "DTensor"
_SHARDED = "ShardedTensor"


def distributed_tensor(whole: StoredTensor, kind: object, state: object) -> StoredTensor:
    """Return the tensor that a wrapper of ``torch.distributed`` stands for.

    Parameters
    ----------
    whole
        The wrapper: the sizes of the whole tensor, no values.
    kind
        Its class.
    state
        What its ``__setstate__`` would be given.

    Returns
    -------
    StoredTensor
        With the values where the shard at hand is the whole tensor; otherwise ``unreadable`` names the shard.
    """
    if type(kind) is not Foreign or not kind.module.startswith("torch.distributed"):
        return whole
    if kind.name == _DTENSOR:
        return _of_dtensor(whole, state)
    if kind.name == _SHARDED:
        return _of_sharded_tensor(whole, state)
    return whole


def attributes_of(state: object) -> dict[str, object]:
    """Return the attributes that a pickled state sets: a dictionary, or a pair of one with slots."""
    result: dict[str, object] = {}
    for part in state if type(state) is tuple else (state,):
        if type(part) is dict:
            result.update({key: value for key, value in part.items() if type(key) is str})
    return result


def attributes_of_instance(item: object) -> dict[str, object]:
    """Return the attributes of an object that was not built."""
    result: dict[str, object] = {}
    if type(item) is Instance:
        for state in item.states:
            result.update(attributes_of(state))
    return result


def _of_dtensor(whole: StoredTensor, state: object) -> StoredTensor:
    attributes = attributes_of(state)
    local = attributes.get("_local_tensor")
    if type(local) is not StoredTensor:
        return whole
    placements = attributes_of_instance(attributes.get("_spec")).get("placements")
    names = [
        item.origin.name
        for item in (placements if type(placements) in {tuple, list} else ())  # type: ignore[attr-defined]
        if type(item) is Instance and item.origin is not None
    ]
    if any("Partial" in name for name in names):
        return replace(whole, unreadable="partial sums of a distributed tensor (DTensor), to be added up")
    if local.shape == whole.shape:
        return local
    return replace(whole, unreadable=_shard("DTensor", local.shape, None, whole.shape))


def _of_sharded_tensor(whole: StoredTensor, state: object) -> StoredTensor:
    shards = list(_shards(state))
    complete = [tensor for tensor, _ in shards if tensor.shape == whole.shape]
    if len(shards) == 1 and complete:
        return complete[0]
    if not shards:
        reason = f"a shard of a distributed tensor (ShardedTensor) without values here, of {_x(whole.shape)}"
        return replace(whole, unreadable=reason)
    tensor, offsets = shards[0]
    return replace(whole, unreadable=_shard("ShardedTensor", tensor.shape, offsets, whole.shape))


def _shards(state: object) -> Iterator[tuple[StoredTensor, object]]:
    """Yield the local shards: their values, and where they begin."""
    parts = state if type(state) is tuple else ()
    local = parts[0] if parts and type(parts[0]) is list else []
    for item in local:
        attributes = attributes_of_instance(item)
        tensor = attributes.get("tensor")
        if type(tensor) is StoredTensor:
            yield tensor, attributes_of_instance(attributes.get("metadata")).get("shard_offsets")


def _shard(kind: str, part: tuple[int, ...], offsets: object, whole: tuple[int, ...]) -> str:
    place = ""
    if type(offsets) is list and all(type(offset) is int for offset in offsets):
        place = f" at {', '.join(map(str, offsets))}"
    return f"a shard of a distributed tensor ({kind}): {_x(part)}{place} of {_x(whole)}"


def _x(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a number"
