"""Settings of the Python API: a ready-made object, or its fields as keywords, never both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

from rmtaudit.errors import UsageError
from rmtaudit.names import suggestion

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Settings = TypeVar("Settings", bound=DataclassInstance)
else:
    Settings = TypeVar("Settings")


def settings_from(kind: type[Settings], ready: Settings | None, keywords: Mapping[str, object]) -> Settings:
    """Return the settings of a call.

    Parameters
    ----------
    kind
        The dataclass of the settings.
    ready
        An object of it, or ``None``.
    keywords
        Values of its fields.

    Raises
    ------
    UsageError
        RA-US-701: a keyword that is no field. RA-US-702: both an object and keywords. RA-US-703: the object
        is of another class. And whatever the dataclass raises for a value.
    """
    known = [field.name for field in fields(kind)]
    for name in keywords:
        if name not in known:
            hint = f"Settings: {', '.join(known)}."
            raise UsageError("RA-US-701", f"Unknown setting {name!r}.{suggestion(name, known)}", hint=hint)
    if ready is None:
        return kind(**keywords)
    if not isinstance(ready, kind):
        message = f"The argument settings must be a {kind.__name__}, not {type(ready).__name__}."
        raise UsageError("RA-US-703", message, hint=f"Pass the fields of {kind.__name__} as keywords.")
    if keywords:
        given = ", ".join(keywords)
        message = f"Both settings and {given} are given, and it is not clear which one applies."
        raise UsageError("RA-US-702", message, hint="Use dataclasses.replace(settings, ...) instead.")
    return ready
