"""Which packages rmtaudit requires, and which of them are installed: read from its own metadata."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*(?P<specifier>[^;]*?)\s*"
    r"(?:;.*?extra\s*==\s*['\"](?P<extra>[^'\"]+)['\"].*)?"
)
_AT_LEAST = re.compile(r">=\s*(\d+(?:\.\d+)*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package that rmtaudit requires.

    Attributes
    ----------
    name
        Name of its distribution.
    specifier
        The versions that are allowed, such as ``>=2.0``.
    extra
        The extra of rmtaudit that it belongs to; empty for one that rmtaudit always needs.
    version
        The installed version; ``None`` where it is not installed.
    """

    name: str
    specifier: str
    extra: str
    version: str | None

    @property
    def is_old(self) -> bool:
        """Whether the installed version is below the lowest that is allowed."""
        least = _AT_LEAST.search(self.specifier)
        return (
            self.version is not None
            and least is not None
            and _release(self.version) < _release(least.group(1))
        )

    @property
    def is_usable(self) -> bool:
        """Whether it is installed in a version that is allowed."""
        return self.version is not None and not self.is_old


def required_packages(distribution: str = "rmtaudit") -> tuple[Package, ...]:
    """Return the packages that a distribution requires, itself or for an extra, in the order of its metadata.

    A requirement of the distribution's own extras is left out. Raises ``PackageNotFoundError`` where the
    distribution is not installed.
    """
    packages = []
    for text in requires(distribution) or ():
        match = _REQUIREMENT.fullmatch(text)
        if match is None or match["name"] == distribution:
            continue
        packages.append(
            Package(
                name=match["name"],
                specifier=match["specifier"],
                extra=match["extra"] or "",
                version=installed_version(match["name"]),
            )
        )
    return tuple(packages)


def installed_version(distribution: str) -> str | None:
    """Return the installed version of a distribution, or ``None``."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _release(text: str) -> tuple[int, ...]:
    """Return the numbers of a version up to its first part that is no number: (2, 13, 0) of 2.13.0+cpu."""
    match = re.match(r"\d+(?:\.\d+)*", text)
    numbers = [int(part) for part in match.group().split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
