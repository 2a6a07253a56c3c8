"""Names in messages, and the choice of one thing among several."""

from __future__ import annotations

from pathlib import Path

from rmtaudit.checkpoints.remote.addresses import is_remote, shown
from rmtaudit.checkpoints.remote.locate import located
from rmtaudit.errors import InputError, UsageError
from rmtaudit.names import display_name

SEPARATOR = "::"


def split_name(text: str) -> tuple[Path, str]:
    """Return path and name. A path that exists as it is written is never split.

    The path of ``hf://`` or of a URL is that of a tree which is read over the network: it raises as
    :func:`~rmtaudit.checkpoints.remote.locate.located`.
    """
    if not text or "\0" in text:
        raise InputError("RA-IN-001", "The path is empty.", hint="Check the path.")
    if is_remote(text):
        head, _, name = text.partition(SEPARATOR)
        return located(head, stream=True), name
    path = Path(text)
    if SEPARATOR not in text or path.exists():
        return path, ""
    head, _, name = text.partition(SEPARATOR)
    return Path(head), name


def without_secrets(text: str) -> str:
    """Return a text that names matrices, of its URLs neither the query nor the user."""
    parts = []
    for part in text.split(" @ "):
        head, separator, name = part.strip().partition(SEPARATOR)
        parts.append(f"{shown(head)}{separator}{name}" if is_remote(part.strip()) else part)
    return " @ ".join(parts)


def choose(name: str, names: list[str], where: str, what: str) -> str:
    """Return ``name``, or the only one there is. Raises ``UsageError`` (RA-MS-034) that lists some."""
    if name:
        if name in names:
            return name
        close = [item for item in names if name.lower() in item.lower()]
        raise UsageError(
            "RA-MS-034",
            f"There is no {what} named '{display_name(name)}'.",
            hint=_listed(close or names, where),
            where=where,
        )
    if len(names) == 1:
        return names[0]
    raise UsageError(
        "RA-MS-034",
        f"The file contains {len(names)} {what}s, and one must be chosen."
        if names
        else f"The file contains no {what}.",
        hint=_listed(names, where) if names else "",
        where=where,
    )


def no_name(path: Path, name: str) -> None:
    """Raise ``UsageError`` (RA-MS-034) if a name was given where nothing has one."""
    if name:
        raise UsageError(
            "RA-MS-034",
            f"The file holds one array, which is not named '{display_name(name)}'.",
            where=printed(path),
        )


def printed(path: Path) -> str:
    """Return the file name as one printable line."""
    return display_name(path.name or str(path))


def _listed(names: list[str], where: str) -> str:
    shown = ", ".join(f"{where}{SEPARATOR}{display_name(name, longest=60)}" for name in names[:5])
    rest = f" … and {len(names) - 5} more" if len(names) > 5 else ""
    return f"Its names include {shown}{rest}."
