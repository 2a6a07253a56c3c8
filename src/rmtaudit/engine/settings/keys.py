"""The keys of the configuration: what each may hold, and how its text on a command line is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

from rmtaudit.engine.resources.device_names import Device
from rmtaudit.engine.resources.memory_size import parse_memory
from rmtaudit.engine.settings.scan import Precision, Solver
from rmtaudit.errors import UsageError
from rmtaudit.matrices.layers import ConvPolicy
from rmtaudit.names import display_name, suggestion

_LISTS = frozenset({"analyzers", "columns", "include", "exclude"})


def check_setting(key: str, value: Any, where: str) -> Any:
    """Return the value of a top-level key as :class:`ScanSettings` holds it.

    Raises ``UsageError``: RA-CF-005 for an unknown key, RA-CF-006 for a value that it may not hold.
    """
    if key not in CHECKS:
        raise unknown_key(key, tuple(CHECKS), where)
    try:
        return CHECKS[key](value)
    except ValueError as error:
        shown = display_name(repr(value), longest=60)
        hint = f"Write [{shown}]." if key in _LISTS and isinstance(value, str) else ""
        raise UsageError(
            "RA-CF-006", f"{key} must be {error}, not {shown}.", hint=hint, where=where
        ) from None


def split_text(key: str, text: str) -> str | list[str]:
    """Return the text of a flag or variable as the key takes it: a list at its commas, or the text itself."""
    if key in _LISTS:
        return [part for part in (piece.strip() for piece in text.split(",")) if part]
    return text


def unknown_key(key: str, known: Sequence[str], where: str) -> UsageError:
    """Return the error for a key that does not exist, with the nearest that does."""
    return UsageError(
        "RA-CF-005",
        f"Unknown key {display_name(key)!r}.{suggestion(key, known)}",
        hint=f"Known keys: {', '.join(known)}.",
        where=where,
    )


def _one_of(choices: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in choices:
            raise ValueError(" or ".join(repr(choice) for choice in choices))
        return str(value)

    return check


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a name")
    return value


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and item for item in value):
        raise ValueError("a list of names")
    if len(set(value)) != len(value):
        raise ValueError("a list without repeats")
    return tuple(value)


def _patterns(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError("a list of patterns")
    return tuple(dict.fromkeys(value))


def _seed(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("a whole number from 0 to 2^63 - 1")
    return value


def _threads(value: Any) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= 1024:
        raise ValueError("a whole number from 1 to 1024, or null for the CPUs of this process")
    return value


def _memory(value: Any) -> int | None:
    if value is None:
        return None
    if type(value) is not int and not isinstance(value, str):
        raise ValueError("a size such as 4GB, 512MiB, 50% or a number of bytes")
    return parse_memory(value)


CHECKS: dict[str, Callable[[Any], Any]] = {
    "preset": _name,
    "analyzers": _names,
    "conv": _one_of(get_args(ConvPolicy)),
    "solver": _one_of(get_args(Solver)),
    "precision": _one_of(get_args(Precision)),
    "device": _one_of(get_args(Device)),
    "seed": _seed,
    "threads": _threads,
    "memory": _memory,
    "include": _patterns,
    "exclude": _patterns,
    "sort": _name,
    "columns": _names,
}
"""Every top-level key but ``options``, with its check."""
