"""Habits of the source that no linter checks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import rmtaudit
from rmtaudit.checkpoints.values import CODES

ROOT = Path(rmtaudit.__file__).parent
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
MOST_POSITIONAL = 5
KEYWORD_FIELDS = 5
EXEMPT = {
    "kernels/spectra/openblas.py": "the routines of LAPACK take their arguments by position",
}
"""Files and folders that the two rules leave alone, and why."""


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


@pytest.mark.parametrize("file", [file for file in FILES if not file.startswith(tuple(EXEMPT))])
def test_long_records_and_calls_name_their_values(file: str) -> None:
    source = (ROOT / file).read_text(encoding="utf-8")
    assert long_records(source) + long_calls(source) == []


@pytest.mark.parametrize("place", EXEMPT)
def test_what_is_exempt_has_to_be(place: str) -> None:
    sources = [(ROOT / file).read_text(encoding="utf-8") for file in FILES if file.startswith(place)]
    assert any(long_records(source) + long_calls(source) for source in sources)


FIVE = "    a: int\n    b: int\n    c: int\n    d: int\n    e: int = 0\n"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (f"@dataclass\nclass A:\n{FIVE}", ["line 2: A has 5 fields"]),
        (f"@dataclasses.dataclass(frozen=True)\nclass A:\n{FIVE}", ["line 2: A has 5 fields"]),
        (f"@dataclass(kw_only=True)\nclass A:\n{FIVE}", []),
        (f"@dataclass\nclass A:\n{FIVE.replace('e: int', 'e: ClassVar[int]')}", []),
        (f"class A:\n{FIVE}", []),
        ("f(1, 2, 3, 4, 5, 6)", ["line 1: f is given 6 positional arguments"]),
        ("f(1, 2, 3, 4, 5, x=6)", []),
    ],
    ids=range(7),
)
def test_the_rules_see_what_they_forbid(source: str, found: list[str]) -> None:
    assert long_records(source) + long_calls(source) == found


@pytest.mark.parametrize("file", FILES)
def test_dtypes_that_an_old_torch_lacks_go_through_torch_dtype(file: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    written = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not written & set(CODES)


def test_no_module_is_longer_than_400_lines() -> None:
    long = [file for file in FILES if len((ROOT / file).read_text(encoding="utf-8").splitlines()) > 400]
    assert not long
