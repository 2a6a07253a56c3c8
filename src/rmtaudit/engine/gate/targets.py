"""Which layers a rule is about, and which of them share a check."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Protocol, TypeVar

from rmtaudit.engine.gate.policy import Selector, listed
from rmtaudit.matrices.skips import SkipReason
from rmtaudit.report.gate import Level
from rmtaudit.report.layer import LayerResult

HARMLESS = frozenset(
    {
        SkipReason.SCALAR,
        SkipReason.ONE_DIMENSIONAL,
        SkipReason.HEAD_BIAS,
        SkipReason.NO_WEIGHT,
        SkipReason.VECTOR,
        SkipReason.VECTOR_VIEW,
        SkipReason.EMPTY,
        SkipReason.BOOLEAN,
        SkipReason.BUFFER,
        SkipReason.QUANTISATION_PARAMETER,
        SkipReason.TIED,
        SkipReason.COPY,
        SkipReason.CONSTANT,
        SkipReason.NO_UPDATE,
    }
)
"""Reasons without metrics that leave nothing unseen: no weight matrix, or another row is the same."""


class Row(Protocol):
    """A layer by its name and kind."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def kind(self) -> str | None:
        """Its kind."""


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class Target:
    """What one check is about: its level, and the text that names it from run to run."""

    level: Level
    name: str


def targets(rows: Iterable[R], selector: Selector) -> Mapping[Target, list[R]]:
    """Return the rows that a selector takes, by the check that they belong to.

    Where it takes none, the one target that it describes has no rows.
    """
    taken = [row for row in rows if takes(selector, row.name, row.kind)]
    groups: dict[Target, list[R]] = {}
    for row in taken:
        groups.setdefault(_target(selector, row), []).append(row)
    return groups or {_whole(selector): []}


def takes(selector: Selector, name: str, kind: str | None) -> bool:
    """Whether a selector takes a layer."""
    if not matches(listed(selector.layers), name):
        return False
    if selector.kind is not None and kind not in listed(selector.kind):
        return False
    return selector.role is None or matches(listed(selector.role), _role(name))


def matches(patterns: Sequence[str], name: str) -> bool:
    """Whether a name matches one of several patterns; ``*`` also matches dots."""
    return any(_compiled(pattern).match(name) for pattern in patterns)


def is_harmless(layer: LayerResult) -> bool:
    """Whether a row without metrics leaves nothing unseen."""
    return layer.status == "skipped" and layer.skip in HARMLESS


def _target(selector: Selector, row: Row) -> Target:
    if selector.each == "layer":
        return Target("layer", row.name)
    if selector.each == "role":
        return Target("group", _role(row.name))
    if selector.each == "kind":
        return Target("group", row.kind or "vector")
    return _whole(selector)


def _whole(selector: Selector) -> Target:
    if selector.everywhere:
        return Target("model", "")
    parts = [
        *([] if selector.layers in ("*", ("*",)) else listed(selector.layers)),
        *listed(selector.role),
        *listed(selector.kind),
    ]
    return Target("group", ",".join(parts))


def _role(name: str) -> str:
    from rmtaudit.matrices.roles import role  # compiles patterns, which most policies do not need

    return role(name)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))
