"""Habits of the source that no linter checks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import rmtaudit

ROOT = Path(rmtaudit.__file__).parent
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
MOST_POSITIONAL = 5
KEYWORD_FIELDS = 5


def _dataclasses(tree: ast.Module) -> Iterator[tuple[ast.ClassDef, bool]]:
    """Yield every dataclass, and whether its decorator says ``kw_only=True``."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            call = decorator if isinstance(decorator, ast.Call) else None
            name = call.func if call else decorator
            if isinstance(name, ast.Name | ast.Attribute) and ast.unparse(name).endswith("dataclass"):
                words = {word.arg: ast.unparse(word.value) for word in call.keywords} if call else {}
                yield node, words.get("kw_only") == "True"


def _fields(node: ast.ClassDef) -> list[str]:
    """Return the names of the fields that a constructor takes."""
    return [
        ast.unparse(item.target)
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and not ast.unparse(item.annotation).startswith("ClassVar")
        and "init=False" not in (ast.unparse(item.value) if item.value else "")
    ]


def long_records(source: str) -> list[str]:
    """Return the dataclasses of at least five fields that take them by position."""
    return [
        f"line {node.lineno}: {node.name} has {len(_fields(node))} fields"
        for node, keyword in _dataclasses(ast.parse(source))
        if not keyword and len(_fields(node)) >= KEYWORD_FIELDS
    ]


def long_calls(source: str) -> list[str]:
    """Return the calls with more than five positional arguments."""
    return [
        f"line {node.lineno}: {ast.unparse(node.func)} is given {len(node.args)} positional arguments"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and len(node.args) > MOST_POSITIONAL
    ]
