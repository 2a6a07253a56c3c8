"""The version of the installed package, as documents state it."""

from __future__ import annotations

from importlib.metadata import version


def installed_version() -> str:
    """Return the version of rmtaudit from its metadata."""
    return version("rmtaudit")
