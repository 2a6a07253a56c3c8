"""Configuration files, read strictly: every value comes with the file and the line it stands in.

A configuration may come with a checkpoint from anywhere, so it is hostile until parsed: YAML is taken only as
far as a tree of plain scalars, lists and mappings goes. No aliases (and so no expanding bombs), no tags, no
repeated keys, no numbers that are not finite, and ``yes``, ``0o17`` or ``12:30`` are texts.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmtaudit.engine.settings.keys import CHECKS, unknown_key
from rmtaudit.engine.settings.strict_yaml import Node, parse_tree
from rmtaudit.errors import UsageError
from rmtaudit.names import display_name

PROJECT_FILES = ("rmtaudit.yaml", ".rmtaudit.yaml", "pyproject.toml")
_LARGEST = 1 << 20
_TOML_TABLE = re.compile(r"^\s*\[\s*tool\s*\.\s*rmtaudit\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of a configuration.

    Attributes
    ----------
    key
        ``("seed",)``, or ``("options", "powerlaw", "bootstrap")``.
    value
        As read, not yet checked against the key.
    where
        File and line.
    """

    key: tuple[str, ...]
    value: Any
    where: str


def read_config(path: Path) -> list[Entry]:
    """Return the values of a ``.yaml`` file, or of ``[tool.rmtaudit]`` in a ``pyproject.toml``.

    Raises ``UsageError``: RA-CF-001 unreadable, RA-CF-002 broken syntax, RA-CF-003 a construct that is
    refused, RA-CF-004 a repeated key, RA-CF-005 an unknown key, RA-CF-006 a wrong type, RA-CF-007 a number
    that is not finite.
    """
    text = _read(path)
    return parse_toml(text, str(path)) if path.suffix == ".toml" else parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> list[Entry]:
    """Return the values of a YAML text; as :func:`read_config`."""
    tree = parse_tree(text, name)
    return [] if tree is None else list(_entries(tree))


def parse_toml(text: str, name: str) -> list[Entry]:
    """Return the values of ``[tool.rmtaudit]`` in a TOML text; as :func:`read_config`."""
    if not _TOML_TABLE.search(text):
        return []  # other tools' file: whether the rest of it is sound is theirs to say
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(
            "RA-CF-002", f"The file is not valid TOML: {display_name(str(error))}.", where=name
        ) from None
    return list(_entries(_toml_node(document["tool"]["rmtaudit"], f"{name} [tool.rmtaudit]")))


def find_project_file(folder: Path) -> Path | None:
    """Return the project file of the nearest folder, from ``folder`` upwards, that has one.

    Raises ``UsageError`` (RA-CF-009) where one folder has two: neither could be ignored in silence.
    """
    for place in (folder, *folder.parents):
        paths = [path for name in PROJECT_FILES if _is_ours(path := place / name)]
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            raise UsageError(
                "RA-CF-009", f"The folder has two project files: {names}.", hint="Keep one.", where=str(place)
            )
        if paths:
            return paths[0]
    return None


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    return path.suffix != ".toml" or _TOML_TABLE.search(_read(path)) is not None


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise UsageError("RA-CF-001", "A configuration file above 1 MiB is not read.", where=str(path))
        return data.decode()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError("RA-CF-001", f"The file cannot be read: {reason}.", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            "RA-CF-001", f"The file is not UTF-8 at byte {error.start}.", where=str(path)
        ) from None


def _toml_node(value: Any, where: str) -> Node:
    if isinstance(value, dict):
        return Node({key: _toml_node(item, f"{where} {key}") for key, item in value.items()}, where)
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError("RA-CF-007", "A number must be finite.", where=where)
    return Node(value, where)


def _entries(tree: Node) -> Iterator[Entry]:
    for key, node in _mapping(tree, "The configuration").items():
        if key == "options":
            for analyzer, options in _mapping(node, "options").items():
                for option, value in _mapping(options, f"options.{analyzer}").items():
                    yield _leaf(("options", analyzer, option), value)
        elif key in CHECKS:
            yield _leaf((key,), node)
        else:
            raise unknown_key(key, (*CHECKS, "options"), node.where)


def _mapping(node: Node, what: str) -> dict[str, Node]:
    if not isinstance(node.value, dict):
        raise UsageError("RA-CF-006", f"{display_name(what)} must be a mapping.", where=node.where)
    return node.value


def _leaf(key: tuple[str, ...], node: Node) -> Entry:
    nested = isinstance(node.value, dict) or (
        isinstance(node.value, list) and any(isinstance(item, list | dict) for item in node.value)
    )
    if nested:
        name = display_name(".".join(key))
        raise UsageError("RA-CF-006", f"{name} must be a value or a list of values.", where=node.where)
    return Entry(key, node.value, node.where)
