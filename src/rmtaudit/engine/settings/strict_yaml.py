"""The part of YAML that a configuration needs, and nothing more of it."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from rmtaudit.engine.settings.config_files import Node
from rmtaudit.errors import UsageError
from rmtaudit.names import display_name

_DEEPEST = 16
_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """Composes a tree without aliases, and with the scalars of YAML 1.2's core schema in decimal."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's own attribute, filled below
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _refused("Aliases (*name) are not read.", event.start_mark)
        if self.depth >= _DEEPEST:
            raise _refused(f"Nested deeper than {_DEEPEST} levels.", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


for _kind, _pattern, _first in (
    ("null", r"~|null|", ["~", "n", ""]),
    ("bool", r"true|false", list("tf")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", list("-+.")),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(rf"^(?:{_pattern})$"), _first)


class _Refused(yaml.MarkedYAMLError):
    """A construct that is sound YAML, but not read here."""


def parse_tree(text: str, name: str) -> Node | None:
    """Return the one document of a YAML text as a tree, ``None`` for an empty one.

    Raises ``UsageError`` with the file and the line: RA-CF-002 broken syntax (a tab, a second document …),
    RA-CF-003 an alias, a tag or a nesting that is refused, RA-CF-004 a repeated key, RA-CF-007 a number that
    is not finite.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        code = "RA-CF-003" if isinstance(error, _Refused) else "RA-CF-002"
        problem = display_name(error.problem or "not valid YAML")
        raise UsageError(
            code, f"{problem[:1].upper()}{problem[1:].rstrip('.')}.", where=_place(name, mark)
        ) from None
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise UsageError("RA-CF-002", f"Not valid YAML: {display_name(first)}.", where=name) from None
    return None if node is None or _is_null(node) else _convert(node, name)


def parse_scalar(text: str, where: str) -> Any:
    """Return the text of a flag or variable as YAML reads a scalar: ``200``, ``true``, ``null``, a name.

    Raises ``UsageError`` (RA-CF-007) for a number that is not finite.
    """
    loader = _Loader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return _scalar(tag, text, where)


def _convert(node: yaml.Node, name: str) -> Node:
    where = _place(name, node.start_mark)
    if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
        mapping: dict[str, Node] = {}
        for key_node, value in node.value:
            key, place = _key(key_node, name)
            if key in mapping:
                raise UsageError("RA-CF-004", f"The key {display_name(key)!r} is repeated.", where=place)
            mapping[key] = _convert(value, name)
        return Node(mapping, where)
    if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
        return Node([_convert(item, name).value for item in node.value], where)
    if isinstance(node, yaml.ScalarNode):
        return Node(_scalar(node.tag, node.value, where), where)
    raise _tag_refused(node.tag, where)


def _key(node: yaml.Node, name: str) -> tuple[str, str]:
    where = _place(name, node.start_mark)
    if not isinstance(node, yaml.ScalarNode) or node.tag != f"{_TAG}str":
        raise UsageError("RA-CF-006", "A key must be a plain name.", where=where)
    return node.value, where


def _scalar(tag: str, text: str, where: str) -> Any:
    kind = tag.removeprefix(_TAG)
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            number = math.nan if text.lstrip("+-.").isalpha() else float(text)
            if not math.isfinite(number):
                raise UsageError("RA-CF-007", f"A number must be finite, not {text}.", where=where)
            return number
    except ValueError:
        raise UsageError("RA-CF-006", f"{display_name(text)!r} is not a number.", where=where) from None
    if kind == "bool" and text in ("true", "false"):
        return text == "true"
    if kind == "null":
        return None
    if kind == "str":
        return text
    raise _tag_refused(tag, where)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}null"


def _tag_refused(tag: str, where: str) -> UsageError:
    return UsageError("RA-CF-003", f"The tag {display_name(tag)} is not read.", where=where)


def _refused(problem: str, mark: Any) -> _Refused:
    return _Refused(problem=problem, problem_mark=mark)


def _place(name: str, mark: Any) -> str:
    return f"{name}:{mark.line + 1}" if mark is not None else name
