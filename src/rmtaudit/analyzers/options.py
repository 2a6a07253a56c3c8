"""Options from a file or a flag, checked against the types of an analyzer's ``Options`` dataclass."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union

from rmtaudit.errors import UsageError
from rmtaudit.names import display_name, suggestion


def check_options(analyzer: str, options: type[Any], given: Mapping[str, Any]) -> Any:
    """Return ``options(**given)`` after checking names and types.

    The types understood are ``bool``, ``int``, ``float``, ``str``, ``None``, ``Literal`` and unions of them.
    A whole number is taken for a ``float``; a ``bool`` is never taken for a number; a float must be finite.

    Raises
    ------
    UsageError
        RA-US-106 for an unknown name, RA-US-107 for a wrong type, RA-US-108 where the dataclass itself
        refuses the value (``ValueError`` in its ``__post_init__``).
    """
    hints = typing.get_type_hints(options)
    names = [field.name for field in dataclasses.fields(options) if field.init]
    checked = {}
    for name, value in given.items():
        if name not in names:
            raise _unknown(analyzer, name, names)
        try:
            checked[name] = _fit(value, hints[name])
        except TypeError:
            raise UsageError(
                "RA-US-107",
                f"The option {analyzer}.{name} must be {describe_type(hints[name])}, "
                f"not {display_name(repr(value))}.",
                where=f"options.{analyzer}.{name}",
            ) from None
    try:
        return options(**checked)
    except ValueError as error:
        raise UsageError("RA-US-108", f"The options of {analyzer!r} are not valid: {error}.") from error


def describe_type(hint: Any) -> str:
    """Return a type as a user reads it: ``a whole number``, ``'a' or 'b'``, ``a number or null``."""
    if typing.get_origin(hint) is Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(hint))
    if _is_union(hint):
        return " or ".join(describe_type(part) for part in typing.get_args(hint))
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a finite number",
        str: "a text",
        type(None): "null",
    }
    return words.get(hint, str(hint))


def _fit(value: Any, hint: Any) -> Any:
    """Return ``value`` as the type of the hint, or raise ``TypeError``."""
    if _is_union(hint):
        for part in typing.get_args(hint):
            try:
                return _fit(value, part)
            except TypeError:
                continue
        raise TypeError
    if typing.get_origin(hint) is Literal:
        for choice in typing.get_args(hint):
            if type(choice) is type(value) and choice == value:
                return value
        raise TypeError
    if hint is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if hint in (bool, int, str, type(None)) and type(value) is hint:
        return value
    raise TypeError


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (Union, types.UnionType)


def _unknown(analyzer: str, name: str, names: list[str]) -> UsageError:
    return UsageError(
        "RA-US-106",
        f"The analyzer {analyzer!r} has no option {display_name(name)!r}.{suggestion(name, names)}",
        hint=f"Its options: {', '.join(names) or 'none'}.",
        where=f"options.{analyzer}.{display_name(name)}",
    )
