"""Which layers or weights of a network are taken, as ``include`` and ``exclude`` say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate


def is_chosen(names: Sequence[str], include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether patterns take something that is known under each of ``names``.

    ``include`` and ``exclude`` are patterns of a shell (``*`` also matches dots). Without ``include``
    everything is taken; what matches ``exclude`` is left out, also if it is included.
    """
    return (not include or _matches(names, include)) and not _matches(names, exclude)


def _matches(names: Sequence[str], patterns: Sequence[str]) -> bool:
    compiled = [re.compile(translate(pattern)) for pattern in patterns]
    return any(pattern.match(name) for pattern in compiled for name in names)
