"""The walk through what a pickle held: every tensor, by its path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast

from rmtaudit.checkpoints.arrays import from_numpy
from rmtaudit.checkpoints.inert import Instance, NumpyArray, StoredTensor

SEGMENTS_CAP = 200
NAMES_CAP = 100_000_000  # characters: a million names of a hundred
_MODULE_PARTS = ("_parameters", "_buffers", "_modules")
_OPTIMIZER = re.compile(
    r"(optimi[sz]ers?|optims?|schedulers?|lr_schedulers?|lr_scheds?|grad_scalers?|rng|rng_states?"
    r"|(torch_|cuda_|cpu_|numpy_|random_)+rng_states?|param_groups)([_.\d].*)?"
    r"|(.*_)?(optimizer|optim)(_states?|_state_dict)?|.*_optimizer|.*_scheduler",
    re.IGNORECASE,
)
_MOMENTS = re.compile(
    r"(max_)?exp_avg(_sq|s|_sqs|_inf|_diff)?|max_exp_avg_sqs?|momentum_buffer|square_avg|acc_delta|grad_avg"
)


class EndlessError(Exception):
    """The walk went deeper, or its names further, than any checkpoint does."""


def walk(root: object, dropped: dict[str, int]) -> Iterator[tuple[str, StoredTensor]]:
    """Yield named tensors in stored order, without recursion: the nesting is the file's to choose."""
    seen: set[int] = set()
    budget = NAMES_CAP
    pending: list[tuple[tuple[str, ...], object]] = [((), root)]
    while pending:
        path, item = pending.pop()
        if type(item) is NumpyArray:
            item = from_numpy(item)
        if type(item) is StoredTensor:
            budget -= sum(map(len, path)) + 1
            if budget < 0:
                raise EndlessError
            yield ".".join(path) if path else "tensor", item
            continue
        if type(item) not in {dict, list, tuple, Instance} or id(item) in seen:
            continue
        if len(path) > SEGMENTS_CAP:
            raise EndlessError
        seen.add(id(item))
        children: list[tuple[tuple[str, ...], object]] = []
        for key, value in _children(item):
            if is_trainer_key(key) or _MOMENTS.fullmatch(key.rpartition(".")[2]) or is_optimizer(value):
                count = count_tensors(value)
                if count:
                    dropped[key] = dropped.get(key, 0) + count
                continue
            children.append(((*path, key) if key else path, value))
        pending.extend(reversed(children))


def _children(item: object) -> Iterator[tuple[str, object]]:
    if type(item) is dict:
        if not is_optimizer(item):
            yield from ((segment(key), value) for key, value in item.items())
        else:
            yield "optimizer", item.get("state")
    elif type(item) in {list, tuple}:
        yield from ((str(i), value) for i, value in enumerate(cast("list[object]", item)))
    elif type(item) is Instance:
        yield from _of_instance(item)


def _of_instance(item: Instance) -> Iterator[tuple[str, object]]:
    """Yield what an object holds: a module's parameters, buffers and children under their own names."""
    for state in item.states:
        parts = [part for part in (state if type(state) is tuple else (state,)) if type(part) is dict]
        for part in parts:
            if any(key in part for key in _MODULE_PARTS):
                for kind in _MODULE_PARTS:
                    inner = part.get(kind)
                    if type(inner) is dict:
                        yield from ((segment(key), value) for key, value in inner.items())
            else:
                yield from ((segment(key), value) for key, value in part.items())
        if not parts:
            yield "", state
    if item.arguments:
        yield "", item.arguments
    if item.items:
        yield "", item.items


def count_tensors(root: object) -> int:
    """Return how many tensors are in ``root``, whatever their names."""
    seen: set[int] = set()
    pending, count = [root], 0
    while pending:
        item = pending.pop()
        if type(item) in {StoredTensor, NumpyArray}:
            count += 1
        elif id(item) not in seen:
            seen.add(id(item))
            if type(item) is dict:
                pending.extend(item.values())
            elif type(item) in {list, tuple}:
                pending.extend(item)  # type: ignore[arg-type]
            elif type(item) is Instance:
                pending.extend((item.states, item.arguments, item.items))
    return count


def is_trainer_key(key: str) -> bool:
    """Whether a key (or the first part of a dotted name) is of an optimizer, scheduler or random state."""
    return _OPTIMIZER.fullmatch(key.partition(".")[0]) is not None


def is_optimizer(item: object) -> bool:
    """Whether ``item`` is ``optimizer.state_dict()``."""
    return type(item) is dict and "param_groups" in item and "state" in item


def segment(key: object) -> str:
    """Return a key of a dictionary as a part of a name."""
    if type(key) is str:
        return key
    if type(key) is bytes:
        return key.decode("utf-8", "backslashreplace")
    if type(key) is tuple:
        return "_".join(segment(part) for part in key)
    return str(key) if type(key) in {int, float, bool, type(None)} else type(key).__name__
