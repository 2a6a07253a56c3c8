"""What is registered in an entry-point group: of rmtaudit itself and of other distributions."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint, entry_points


def registered(group: str) -> list[EntryPoint]:
    """Return the entry points of a group, each once, by name. Imports none of them."""
    unique = {(entry.name, entry.value): entry for entry in _installed(group, tuple(sys.path))}
    return sorted(unique.values(), key=lambda entry: (entry.name, entry.value))


def is_own(entry: EntryPoint) -> bool:
    """Whether an entry point is one of rmtaudit itself."""
    return entry.dist is not None and _name(entry.dist) == "rmtaudit"


def is_allowed(entry: EntryPoint) -> bool:
    """Whether an entry point may be loaded.

    Those of rmtaudit always may; those of other distributions run code of theirs, and the environment
    variable ``RMTAUDIT_PLUGINS=name,name`` lets in only those named (unset or empty: all).
    """
    names = {name.strip() for name in os.environ.get("RMTAUDIT_PLUGINS", "").split(",")} - {""}
    return not names or entry.name in names or is_own(entry)


@lru_cache(maxsize=1024)
def _name(distribution: Distribution) -> str:
    """Return the name of a distribution, for which its metadata are parsed: once each."""
    return distribution.name


@lru_cache(maxsize=8)
def _installed(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Read the metadata of every distribution, which takes a while; again only if the path has changed."""
    del path
    return tuple(entry_points(group=group))
