"""The part of YAML that a configuration needs, and nothing more of it: PyYAML's SafeLoader, restrained.

No aliases (and so no expanding bombs), no tags, no repeated keys, no numbers that are not finite; and
``yes``, ``0o17`` or ``12:30`` are texts, as in the core schema of YAML 1.2.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import yaml

from rmtaudit.errors import UsageError
from rmtaudit.names import display_name

_DEEPEST = 16
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a tree, and where it stands; a mapping holds nodes, everything else plain values."""

    value: Any
    where: str


def parse_tree(text: str, name: str) -> Node | None:
    """Return the one document of a YAML text as a tree, ``None`` for an empty one.

    Raises ``UsageError`` with the file and the line: RA-CF-002 broken syntax (a tab, a second document …),
    RA-CF-003 an alias, a tag or a nesting that is refused, RA-CF-004 a repeated key, RA-CF-006 a key or a
    number that is none, RA-CF-007 a number that is not finite.
    """
    try:
        loader = _Loader(text, name)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        problem = display_name(error.problem or "not valid YAML")
        raise UsageError(
            "RA-CF-002",
            f"{problem[:1].upper()}{problem[1:].rstrip('.')}.",
            where=_place(name, error.problem_mark or error.context_mark),
        ) from None
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise UsageError(
            "RA-CF-002", f"The file is not valid YAML: {display_name(first)}.", where=name
        ) from None
    tree = None if root is None else loader.tree(root)
    return None if tree is None or tree.value is None else tree


def parse_scalar(text: str, where: str) -> Any:
    """Return the text of a flag or variable as YAML reads a scalar: ``200``, ``true``, ``null``, a name.

    Raises ``UsageError`` (RA-CF-007) for a number that is not finite.
    """
    text = text.rstrip("\n")  # the patterns of PyYAML end with ``$``, which a line end may follow
    loader = _Loader("", where)
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return loader.tree(yaml.ScalarNode(tag, text)).value


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's own attribute, filled below

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self._file = name
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise self._refusal("RA-CF-003", "YAML aliases (*name) are not supported.", event)
        if event.tag is not None:
            raise self._refusal(
                "RA-CF-003", f"The YAML tag {display_name(event.tag)} is not supported.", event
            )
        if self._depth >= _DEEPEST:
            raise self._refusal("RA-CF-003", f"The file is nested deeper than {_DEEPEST} levels.", event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def tree(self, node: yaml.Node) -> Node:
        """Return the value of a node and its place."""
        value = self.construct_object(node, deep=True)
        return Node(value, _place(self._file, node.start_mark))

    def mapping(self, node: yaml.MappingNode) -> dict[str, Node]:
        """Return a mapping, each key once."""
        entries: dict[str, Node] = {}
        for key, value in node.value:
            if key.tag != f"{_TAG}str":
                raise self._refusal("RA-CF-006", "A key must be a plain name.", key)
            if key.value in entries:
                raise self._refusal("RA-CF-004", f"The key {display_name(key.value)!r} is repeated.", key)
            entries[key.value] = self.tree(value)
        return entries

    def number(self, node: yaml.ScalarNode) -> int | float:
        """Return a number, a finite one."""
        whole = node.tag == f"{_TAG}int"
        try:
            number = int(node.value) if whole else self.construct_yaml_float(node)
        except ValueError:
            shown = display_name(node.value)
            raise self._refusal("RA-CF-006", f"{shown!r} is not a number.", node) from None
        if not whole and not math.isfinite(number):
            raise self._refusal("RA-CF-007", f"A number must be finite, not {node.value}.", node)
        return number

    def _refusal(self, code: str, message: str, at: yaml.Node | yaml.Event) -> UsageError:
        return UsageError(code, message, where=_place(self._file, at.start_mark))


_Loader.add_constructor(f"{_TAG}map", _Loader.mapping)
_Loader.add_constructor(f"{_TAG}int", _Loader.number)
_Loader.add_constructor(f"{_TAG}float", _Loader.number)
for _kind, _pattern, _first in (
    ("null", r"~|null|", ["~", "n", ""]),
    ("bool", r"true|false", list("tf")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", list("-+.")),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(rf"^(?:{_pattern})$"), _first)


def _place(name: str, mark: Any) -> str:
    return f"{name}:{mark.line + 1}" if mark is not None else name
