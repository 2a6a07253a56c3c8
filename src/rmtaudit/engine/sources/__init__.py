"""From the words of a command line to a matrix source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmtaudit.engine.sources.opening import open_source
    from rmtaudit.engine.sources.options import SourceOptions

__all__ = ["SourceOptions", "open_source"]

_HOMES = {
    "SourceOptions": "rmtaudit.engine.sources.options",
    "open_source": "rmtaudit.engine.sources.opening",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: :mod:`~.recognise` is to work without torch (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
