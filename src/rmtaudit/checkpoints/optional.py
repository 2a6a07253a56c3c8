"""Packages that only some formats need: imported when a file of such a format is opened."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from rmtaudit.errors import InputError


def require(module: str, *, extra: str, what: str, where: str) -> ModuleType:
    """Return a module that an extra of rmtaudit installs.

    Parameters
    ----------
    module
        Its name.
    extra
        The extra of rmtaudit that installs it.
    what
        The files that need it, a plural: ``"GGUF files"``.
    where
        The file, for the message.

    Raises
    ------
    InputError
        RA-IN-099: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _missing(module, extra, what, where) from error


def check_installed(module: str, *, extra: str, what: str, where: str) -> None:
    """Raise as :func:`require` where the package is not installed, without importing it."""
    if importlib.util.find_spec(module) is None:
        raise _missing(module, extra, what, where)


def _missing(module: str, extra: str, what: str, where: str) -> InputError:
    return InputError(
        "RA-IN-099",
        f"{what} are read with the package {module.partition('.')[0]}, which is not installed.",
        hint=f"pip install 'rmtaudit[{extra}]'",
        where=where,
    )
