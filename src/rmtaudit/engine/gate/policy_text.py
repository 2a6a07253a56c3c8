"""From the text of a policy to its classes: every error with its line, and the word that was meant."""

from __future__ import annotations

import datetime
import types
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from rmtaudit.engine.gate.policy import PolicyFile, SuppressionEntry
from rmtaudit.engine.gate.policy_errors import (
    missing_key,
    repeated_rule,
    unknown_policy_key,
    unknown_word,
    wrong_value,
)
from rmtaudit.engine.gate.rule_checks import check_rule
from rmtaudit.engine.settings.strict_yaml import Node, parse_tree
from rmtaudit.names import display_name

T = TypeVar("T", bound=msgspec.Struct)

_NEEDED = {
    "id": (
        "Write an identifier of lower-case letters, digits and '-', which results refer to: id: no-damage"
    ),
    "why": "Write a sentence that justifies the rule: why: Damage has no innocent explanation.",
    "reason": "State why this is accepted: reason: the head was pruned on purpose",
    "expires": "State until when this is accepted: expires: 2027-01-31",
    "rule": "Name the rule that is suppressed: rule: no-damage",
    "alarms": "false_alarms: {alarms: 0, models: 60}",
    "models": "false_alarms: {alarms: 0, models: 60}",
}


def parse_policy(text: str, name: str) -> tuple[PolicyFile, dict[str, str]]:
    """Return a policy, and the file and line of every rule.

    Raises
    ------
    UsageError
        RA-CF-002 to RA-CF-007: no plain YAML. RA-PO-002 to RA-PO-007: what the grammar does not allow.
    """
    tree = parse_tree(text, name)
    root = Node({}, f"{name}:1") if tree is None else tree
    policy = _struct(root, PolicyFile, "The policy")
    places: dict[str, str] = {}
    entries = _entries(root, "rules")
    for rule, entry in zip(policy.rules, entries, strict=True):
        where = _where(entry, root.where)
        if rule.id in places:
            raise repeated_rule(rule.id, entry["id"].where)
        check_rule(rule, {key: node.where for key, node in entry.items()}, where)
        places[rule.id] = where
    for exception, entry in zip(policy.suppress, _entries(root, "suppress"), strict=True):
        _check_date(exception, entry)
        places[f"suppress {exception.rule}"] = entry["rule"].where
    for key in ("extends", "without"):
        if key in root.value:
            places[key] = root.value[key].where
    return policy, places


def _entries(root: Node, key: str) -> list[dict[str, Node]]:
    return list(root.value[key].value) if key in root.value else []


def _struct(node: Node, kind: type[T], what: str) -> T:
    """Return an object of a class for a mapping, whose keys are its fields."""
    if not isinstance(node.value, dict):
        shown = display_name(repr(node.value), longest=40)
        fields = ", ".join(kind.__struct_fields__)
        raise wrong_value(what, f"must be a mapping, not {shown}.", node.where, f"Keys: {fields}.")
    types_of = _types_of(kind)
    for key, value in node.value.items():
        if key not in types_of:
            raise unknown_policy_key(key, tuple(types_of), value.where)
    values = {key: _value(value, types_of[key], key) for key, value in node.value.items()}
    for name in _required_keys(kind):
        if name not in values:
            hint = _NEEDED.get(name, "")
            raise missing_key(name, what, hint, _where(node.value, node.where))
    return kind(**values)


@cache
def _types_of(kind: type[msgspec.Struct]) -> Mapping[str, Any]:
    """Return the annotation of every key of a class; evaluating them costs more than reading a policy."""
    return get_type_hints(kind, include_extras=True)


@cache
def _required_keys(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """Return the keys that a class cannot do without."""
    return tuple(field.name for field in msgspec.structs.fields(kind) if field.required)


def _value(node: Node, annotation: Any, key: str) -> Any:
    """Return the value of a key as its annotation has it."""
    inner = _struct_of(annotation)
    if inner is not None:
        return _struct(node, inner, key)
    inner = _struct_of_items(annotation)
    if inner is not None:
        if not isinstance(node.value, list):
            raise wrong_value(key, "must be a list.", node.where, f"Begin each of its {key} with '- '.")
        singular = {"rules": "A rule", "suppress": "A suppression"}.get(key, key)
        return tuple(_struct(Node(item, _where(item, node.where)), inner, singular) for item in node.value)
    words = _words_of(annotation)
    if words and isinstance(node.value, str) and node.value not in words:
        raise unknown_word(key, node.value, words, node.where)
    try:
        return msgspec.convert(_plain(node.value), annotation)
    except msgspec.ValidationError as error:
        problem = str(error).partition(" - at `")[0]
        shown = display_name(repr(_plain(node.value)), longest=60)
        raise wrong_value(
            key, f"{_sentence(problem)}; it is {shown}.", node.where, _EXAMPLES.get(key, "")
        ) from None


_EXAMPLES = {
    "id": "Use lower-case letters, digits, '-' and '_': id: no-damage",
    "expires": "Write the day as YYYY-MM-DD: expires: 2027-01-31",
    "range": "Write the lowest and the highest value: range: [1.5, 8]",
    "layers": "Write a pattern or a list of them: layers: 'encoder.*'",
    "finding": "Write a severity or codes: finding: [RA-SC-001, RA-FO-001]",
    "version": 'Write it in quotes: version: "1.0"',
    "confidence": "Write a share from 0 to below 1: confidence: 0.95",
    "allowed": "Write a list of words: allowed: [identical, derived]",
    "forbidden": "Write a list of words: forbidden: [replaced, noise]",
    "threshold": "Write a number: threshold: 8.0",
    "same_as_baseline": "Write true, or omit the key.",
}


def _sentence(problem: str) -> str:
    for theirs, ours in (
        ("`str`", "a text"), ("`array`", "a list"), ("`int | float`", "a number"), ("`float`", "a number"),
        ("`object`", "a mapping"), ("`bool`", "true or false"), ("`int`", "a whole number"),
        ("`null`", "null"), (" | null", ""),
    ):  # fmt: skip
        problem = problem.replace(theirs, ours)
    return f"{problem[:1].lower()}{problem[1:]}"


def _plain(value: Any) -> Any:
    if isinstance(value, Node):
        return _plain(value.value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _where(item: Any, otherwise: str) -> str:
    """Return the place of the first value of a mapping."""
    if isinstance(item, Mapping):
        return next((node.where for node in item.values()), otherwise)
    return otherwise


def _members(annotation: Any) -> tuple[Any, ...]:
    """Return the alternatives of an annotation, without metadata and None."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(each for part in get_args(annotation) for each in _members(part))
    return () if annotation is type(None) else (annotation,)


def _struct_of(annotation: Any) -> type[msgspec.Struct] | None:
    members = _members(annotation)
    return members[0] if len(members) == 1 and _is_struct(members[0]) else None


def _struct_of_items(annotation: Any) -> type[msgspec.Struct] | None:
    members = _members(annotation)
    if len(members) == 1 and get_origin(members[0]) is tuple:
        item = get_args(members[0])[0]
        return item if _is_struct(item) else None
    return None


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _words_of(annotation: Any) -> tuple[str, ...]:
    members = _members(annotation)
    literal = all(get_origin(member) is Literal for member in members)
    words = [word for member in members for word in get_args(member)] if members and literal else []
    return tuple(words) if all(isinstance(word, str) for word in words) else ()


def _check_date(exception: SuppressionEntry, entry: Mapping[str, Node]) -> None:
    try:
        datetime.date.fromisoformat(exception.expires)
    except ValueError:
        where = entry["expires"].where
        problem = f"{exception.expires} is not a valid date."
        raise wrong_value("expires", problem, where, _EXAMPLES["expires"]) from None
