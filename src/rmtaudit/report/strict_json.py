"""JSON as a report is written: finite numbers, no repeated keys, nothing that Python adds to it."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from rmtaudit.errors import CorruptError
from rmtaudit.names import display_name

_LONGEST_NUMBER = 20
"""Digits of a whole number: more than any count of parameters, and no work for a hostile file."""


def parse_json(text: str | bytes) -> Any:
    """Return what a text of strict JSON holds; raises ``CorruptError`` (RA-RP-001) where it is none."""
    try:
        return json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_unique,
        )
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else display_name(str(error))
        raise CorruptError("RA-RP-001", f"The file is not strict JSON: {reason}.") from None


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{display_name(text, longest=40)} is too large a number")
    return number


def _whole(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"{display_name(text, longest=40)} is too large a number")
    return int(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("an object repeats a key")
    return unique
