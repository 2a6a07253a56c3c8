"""Memory sizes as people write them: ``4GB``, ``512MiB``, ``50%``, or a number of bytes."""

from __future__ import annotations

import re

from rmtaudit.engine.resources.memory import free_memory

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
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
            result = int(float(number) * (_BINARY if binary else _UNITS)[unit.upper()])
    if result <= 0:
        raise ValueError("a size above zero")
    return result


def format_memory(count: int) -> str:
    """Return a number of bytes rounded up to three digits, in a form that :func:`parse_memory` reads.

    >>> format_memory(72_864_001)
    '72.9MB'
    """
    for power, unit in ((12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")):
        if count >= 10**power:
            digits = max(0, power - len(str(count)) + 3)
            scale = 10 ** (power - digits)
            return f"{-(-count // scale) / 10**digits:.{digits}f}{unit}"
    return f"{count}B"


def _share(percent: float) -> int:
    if percent > 100:
        raise ValueError("at most 100%")
    return int(free_memory() * percent / 100)
