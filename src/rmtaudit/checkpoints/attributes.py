"""``getattr`` and ``operator.attrgetter`` in a pickle: the attribute is judged, never looked up."""

from __future__ import annotations

from rmtaudit.checkpoints.dangerous import is_dangerous
from rmtaudit.checkpoints.globals import contains_code, resolve
from rmtaudit.checkpoints.inert import Foreign, Instance, MalformedError

GETATTR = frozenset({("builtins", "getattr"), ("__builtin__", "getattr")})
ATTRGETTER = frozenset({("operator", "attrgetter"), ("_operator", "attrgetter")})
"""Functions whose arguments name attributes, so that the path to them has to be judged."""


def attribute(target: object, names: object, where: str) -> object:
    """Return what ``getattr(target, names)`` stands for: enumerations and methods are pickled like that.

    Raises
    ------
    UnsafeError
        The attribute is one that runs code, or one by which objects are taken apart (``__globals__``).
    """
    if type(names) is not str:
        raise MalformedError("an attribute whose name is not text")
    if type(target) is Foreign:
        return resolve(target.module, f"{target.name}.{names}", where)
    if is_dangerous("", f".{names}"):
        raise contains_code(f"getattr(…, '{names}')", where)
    return Instance(None, ())


def check_attributes(names: tuple[object, ...], where: str) -> None:
    """Refuse ``operator.attrgetter(names)`` where it leads to code. Raises ``UnsafeError``."""
    for name in names:
        if type(name) is str and is_dangerous("", f".{name}"):
            raise contains_code(f"operator.attrgetter('{name}')", where)
