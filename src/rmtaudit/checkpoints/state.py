"""From what a pickle held to named tensors: wrappers taken off, optimizer state left out."""

from __future__ import annotations

from dataclasses import dataclass, field

from rmtaudit.checkpoints.inert import NumpyArray, StoredTensor
from rmtaudit.checkpoints.walk import (
    NAMES_CAP,
    SEGMENTS_CAP,
    EndlessError,
    count_tensors,
    is_optimizer,
    is_trainer_key,
    segment,
    walk,
)
from rmtaudit.errors import CorruptError, UnsafeError
from rmtaudit.names import display_name

WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model_weights", "model", "module", "net",
    "network", "params", "weights", "net_state_dict", "state_dict_ema", "model_ema", "ema_model",
    "ema_state_dict", "ema", "params_ema", "shadow_params",
)  # fmt: skip
"""Keys under which programs keep the weights, the preferred ones first: averages (EMA) come last."""

PREFIXES = ("module.", "_orig_mod.")
"""What ``DataParallel`` and ``torch.compile`` put before every name."""


@dataclass(slots=True)
class Found:
    """Named tensors, in stored order, and what was odd."""

    tensors: list[tuple[str, StoredTensor]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def named_tensors(root: object, where: str) -> Found:
    """Return the weights in ``root`` by full name.

    Parameters
    ----------
    root
        What :class:`~rmtaudit.checkpoints.pickles.InertUnpickler` returned.
    where
        The file, for messages.

    Notes
    -----
    Nested dictionaries are joined by ``.``, lists count from 0, modules lose ``_parameters``, ``_buffers``
    and ``_modules``. A container that is reachable twice (or from within itself) is walked once. Of a list of
    dictionaries with the same tensors (a training history) the last one is taken. Of several wrappers
    (:data:`WRAPPERS`) the first is taken.

    Raises
    ------
    CorruptError
        A name holds a lone surrogate.
    UnsafeError
        Containers are nested too deeply, or names are too long, for a checkpoint.
    """
    found = Found()
    dropped: dict[str, int] = {}
    try:
        root = _unwrap(root, found)
        named = list(walk(root, dropped))
    except EndlessError as error:
        raise UnsafeError(
            "RA-IN-044",
            f"Containers are nested more than {SEGMENTS_CAP} deep, or names take more than "
            f"{NAMES_CAP} characters.",
            where=where,
        ) from error
    _warn_of_trainer_state(dropped, found)
    if not named:
        found.warnings.append("no weights were found in this file")
    for prefix in PREFIXES * 2:
        if named and all(name.startswith(prefix) and len(name) > len(prefix) for name, _ in named):
            named = [(name.removeprefix(prefix), tensor) for name, tensor in named]
    found.tensors = _unique(named, found, where)
    return found


def _unwrap(root: object, found: Found) -> object:
    """Follow wrappers and histories down to the weights."""
    seen: set[int] = set()
    while id(root) not in seen:
        seen.add(id(root))
        if type(root) in {list, tuple}:
            inner = _last_of_history(root, found)  # type: ignore[arg-type]
        elif type(root) is dict:
            inner = _inside(root, found)
        else:
            return root
        if inner is None:
            return root
        root = inner
    return root


def _last_of_history(items: list[object] | tuple[object, ...], found: Found) -> object | None:
    holders = [item for item in items if type(item) is dict and _shapes(item)]
    if len(holders) < 2 or any(_shapes(item) != _shapes(holders[0]) for item in holders[1:3]):
        return None
    found.warnings.append(
        f"a list of {len(holders)} dictionaries with the same tensors; the last one was read"
    )
    return holders[-1]


def _shapes(item: object) -> set[tuple[str, tuple[int, ...]]]:
    return {(name, tensor.shape) for name, tensor in walk(item, {})}


def _inside(root: dict[object, object], found: Found) -> object | None:
    """Return the value of the preferred wrapper.

    A key such as ``model`` with matrices beside it (``{"model": …, "head": …}``) is a part, not a wrapper.
    """
    if is_optimizer(root):
        return None
    holders: dict[str, int] = {}
    beside: dict[str, int] = {}
    trainer: dict[str, int] = {}
    matrices_beside = False
    for key, value in root.items():
        if is_optimizer(value) or (type(key) is str and is_trainer_key(key)):
            trainer[segment(key)] = count_tensors(value)
            continue
        tensors = [tensor for _, tensor in walk(value, {})]
        if not tensors:
            continue
        wrapper = type(key) is str and key in WRAPPERS and type(value) not in {StoredTensor, NumpyArray}
        if not wrapper and any(len(tensor.shape) > 1 for tensor in tensors):
            matrices_beside = True
        (holders if wrapper else beside)[segment(key)] = len(tensors)
    if not holders:
        return None
    best = min(holders, key=WRAPPERS.index)
    if matrices_beside and not best.endswith("state_dict"):
        return None
    others = {**{key: count for key, count in holders.items() if key != best}, **beside}
    if others:
        shown = ", ".join(f"'{display_name(key, longest=40)}' ({n})" for key, n in list(others.items())[:4])
        found.warnings.append(f"'{best}' was read; other tensors were ignored: {shown}")
    _warn_of_trainer_state(trainer, found)
    return root[best]


def _warn_of_trainer_state(counts: dict[str, int], found: Found) -> None:
    keys = [key for key, count in counts.items() if count]
    if keys:
        shown = ", ".join(display_name(key, longest=40) for key in keys[:4])
        total = sum(counts.values())
        found.warnings.append(f"{total} tensors of optimizer or trainer state were ignored ({shown})")


def _unique(
    named: list[tuple[str, StoredTensor]], found: Found, where: str
) -> list[tuple[str, StoredTensor]]:
    """Tell names apart that occur twice (``{"a.b": …, "a": {"b": …}}``); refuse those that are no text."""
    seen: dict[str, int] = {}
    result: list[tuple[str, StoredTensor]] = []
    twice: list[str] = []
    for name, tensor in named:
        if not name.isascii():
            try:
                name.encode()
            except UnicodeEncodeError as error:
                raise CorruptError(
                    "RA-IN-053",
                    f"The tensor name '{display_name(name)}' holds a lone surrogate.",
                    where=where,
                ) from error
        label = name
        while label in seen:
            seen[name] += 1
            label = f"{name}~{seen[name]}"
        if label != name:
            twice.append(name)
        seen[label] = 1
        result.append((label, tensor))
    if twice:
        shown = display_name(twice[0], longest=80)
        found.warnings.append(
            f"{len(twice)} tensors have a name that was already in use ('{shown}'); a ~ and a "
            "number were added"
        )
    return result
