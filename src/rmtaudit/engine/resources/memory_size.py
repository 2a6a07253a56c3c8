"""Memory sizes as people write and read them: ``4GB``, ``512MiB``, ``50%``, or a number of bytes."""

from __future__ import annotations

import re
from decimal import Decimal

from rmtaudit.engine.resources.memory import free_memory

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_NAMES = ("B", "kB", "MB", "GB", "TB")
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*(?:(%)|([KMGT]?)(i?)B?)", re.IGNORECASE)


def parse_memory(size: int | str) -> int:
    """Return a size in bytes.

    Parameters
    ----------
    size
        Bytes; or a number with a unit (``kB``, ``MB``, ``GB``, ``TB`` are powers of 1000, ``KiB`` … of
        1024, the ``B`` may be left out); or a percentage of what is free now.

    Raises
    ------
    ValueError
        Not a size, not above zero, or a percentage above 100.
    """
    if isinstance(size, int):
        result = size
    else:
        match = _SIZE.fullmatch(size.strip())
        if match is None:
            raise ValueError("a size such as 4GB, 512MiB, 50% or a number of bytes")
        number, percent, unit, binary = match.groups()
        if percent:
            result = _share(float(number))
        else:
            result = int(Decimal(number) * (_BINARY if binary else _UNITS)[unit.upper()])
    if result <= 0:
        raise ValueError("a size above zero")
    return result


def format_bytes(count: int, *, round_up: bool = False) -> str:
    """Return a number of bytes with three significant digits and a decimal unit, for people.

    A round number reads as it would be typed. ``round_up``: for an amount that is needed.

    >>> format_bytes(40_000_000), format_bytes(1_536), format_bytes(72_864_001, round_up=True)
    ('40 MB', '1.54 kB', '72.9 MB')
    """
    step = 10 ** max(0, len(str(count)) - 3)
    rounded = (count + (step - 1 if round_up else step // 2)) // step * step
    power = min((len(str(rounded)) - 1) // 3, len(_NAMES) - 1)
    return f"{rounded / 1000**power:.15g} {_NAMES[power]}"


def format_memory(count: int) -> str:
    """Return a number of bytes as a flag takes it: :func:`format_bytes`, rounded up and without a space.

    >>> format_memory(72_864_001)
    '72.9MB'
    """
    return format_bytes(count, round_up=True).replace(" ", "")


def _share(percent: float) -> int:
    if percent > 100:
        raise ValueError("at most 100%")
    return int(free_memory() * percent / 100)
