"""Packages that only some formats need: imported when a file of such a format is opened."""

from __future__ import annotations

import importlib
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
        raise InputError(
            "RA-IN-099",
            f"{what} are read with the package {module.partition('.')[0]}, which is not installed.",
            hint=f"pip install 'rmtaudit[{extra}]'",
            where=where,
        ) from error
