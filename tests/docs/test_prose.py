"""The English of what users read: messages, findings, metrics, help and docs (CONTRIBUTING.md, Style)."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import rmtaudit
from rmtaudit import linalg, plugins, training
from rmtaudit.analyzers.registry import available, build
from rmtaudit.report.catalogue import FINDINGS

_ROOT = Path(__file__).parents[2]
_SOURCE = _ROOT / "src" / "rmtaudit"
_PAGES = [
    *(_ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((_ROOT / "docs").rglob("*.md")),
]
_CODE = re.compile(r"RA-[A-Z]{2}-\d{3}")
_COMMANDS = ("pip ", "git ", "rmtaudit ", "python ", "numpy.", "gguf-", "cp ", "--")
"""A hint may be a command, which is not a sentence."""

_NO = (
    "number|integer|list|text|folder|directory|matrix|file|object|format|sentence|report|adapter|record|proof"
)
_BANNED = {
    r"\basked back\b": "an error that asks for …",
    r"\b(?:is|are|was|were) held against\b": "is tested against, is compared with",
    r"\bdear case\b": "the expensive case",
    r"\bnot looked at\b": "ignored, not read",
    r"\bfor want of\b": "for lack of",
    r"\bfreed of\b": "corrected for, without",
    r"\bgoes on with\b": "continues with",
    r"\b[Cc]hance that\b": "probability that",
    r"\b[Cc]hance, at most\b": "maximum probability",
    rf"(?<!there )(?<!There )\b(?:is|are|was|were) no (?:{_NO})s?\b": "is not a …",
    r"\bsomething else than\b": "something other than",
    r"\bof one (?:size|length)\b": "of the same size, of the same length",
    r"\bhas it too\b": "also has it",
    r"\bdrawn anew\b": "reinitialised, drawn again",
    r"\b[Rr]e-download\b": "download again",
    r"\bout of noise\b": "above noise, out from noise",
    r"\bdeserves a look\b": "needs attention",
    r"\b[Bb]otched\b": "failed",
    r"\bcannot be had\b": "cannot be read",
    r"\bsays no format\b": "does not indicate a format",
    r"\bwhat it is said to be\b": "agrees with the claim",
    r"^Of several\b": "If there are several",
}
"""Phrases that readers stumbled over, with what to write instead."""

_LONGEST = 60
"""Words in a sentence of the docs. A sentence of more than 45 should be split."""


def _literals(node: ast.expr | None) -> Iterator[ast.expr]:
    """Yield the texts that an expression can be, where they are literals."""
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        yield node
    elif isinstance(node, ast.IfExp):
        yield from _literals(node.body)
        yield from _literals(node.orelse)
    elif isinstance(node, ast.BinOp):
        yield from _literals(node.left)


def _words(node: ast.expr) -> str:
    """Return a literal with ``{}`` for each placeholder."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    parts = node.values if isinstance(node, ast.JoinedStr) else []
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)


@functools.cache
def _modules() -> dict[str, list[ast.AST]]:
    """Return the nodes of every module of the package, by the path below it."""
    return {
        str(path.relative_to(_SOURCE)): list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        for path in sorted(_SOURCE.rglob("*.py"))
    }


def _errors() -> Iterator[tuple[str, str, str]]:
    """Yield the place, the part and the text of every error that is raised with a literal code."""
    for path, nodes in _modules().items():
        for node in nodes:
            if not isinstance(node, ast.Call):
                continue
            codes = [
                place
                for place, each in enumerate(node.args)
                if isinstance(each, ast.Constant)
                and isinstance(each.value, str)
                and _CODE.fullmatch(each.value)
            ]
            if len(codes) != 1 or _name(node.func) in _INNER:
                continue
            where = f"{path}:{node.lineno}"
            if len(node.args) > codes[0] + 1:
                for text in _literals(node.args[codes[0] + 1]):
                    yield where, "message", _words(text)
            for keyword in node.keywords:
                if keyword.arg == "hint":
                    for text in _literals(keyword.value):
                        yield where, "hint", _words(text)


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


_INNER = {"corrupt", "_refusal", "Wire", "Buffer"}
"""Functions that make a sentence of the fragment they are given."""


def test_messages_and_hints_are_sentences() -> None:
    """They start with a capital and end with a full stop; a hint may be a command that stands alone."""
    wrong, messages = [], 0
    for where, part, text in _errors():
        messages += part == "message"
        if part == "hint" and (not text or text.startswith(_COMMANDS) or ": " in text or " " not in text):
            continue  # a command or a value alone, or after a colon
        if text[:1].islower() or not text.endswith((".", "?", "{}", "]")):
            wrong.append(f"{where}: {part}: {text}")
    assert messages > 500
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("code", FINDINGS)
def test_findings_are_sentences_and_their_titles_are_not(code: str) -> None:
    kind = FINDINGS[code]
    assert not kind.title.endswith("."), kind.title
    assert kind.title[:1].islower(), kind.title
    for heading, text in kind.sections():
        assert text.endswith("."), f"{heading}: {text}"
        if heading != "Severity":
            assert not re.match(r"[a-z]+ ", text), f"{heading}: {text}"


def test_descriptions_of_metrics_are_sentences() -> None:
    described = [metric for name in available() for metric in build(name).metrics]
    assert len(described) > 100
    for metric in described:
        assert metric.description.endswith("."), f"{metric.name}: {metric.description}"


def _texts() -> Iterator[tuple[str, str]]:
    """Yield the place and the text of the literals; of docstrings only those of the command line."""
    for path, nodes in _modules().items():
        expressions = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        if path.startswith("cli/"):
            expressions.clear()  # the text of --help
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in expressions:
                yield f"{path}:{node.lineno}", node.value


def _docstrings() -> Iterator[tuple[str, str]]:
    """Yield the public names and their docstrings."""
    families = [getattr(linalg, name) for name in linalg.__all__]
    for module in (rmtaudit, plugins, training, *families):
        for name in module.__all__:
            yield f"{module.__name__}.{name}", inspect.getdoc(getattr(module, name)) or ""


def _prose(page: Path) -> str:
    """Return a page of the docs without code, tables, formulae and headings."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^---\n.*?\n---\n", "", text, flags=re.DOTALL)
    text = re.sub(r"```.*?```|<style>.*?</style>|\$\$.*?\$\$", "", text, flags=re.DOTALL)
    text = re.sub(r"^(?: *\||#| {4}).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"<[^>]+>", "", text)
    return re.sub(r"`[^`\n]+`|\$[^$\n]+\$", "X", re.sub(r"\]\([^)]*\)", "]", text))


@functools.cache
def _paragraphs() -> tuple[tuple[str, str], ...]:
    """Return the place and the text of every paragraph of the docs."""
    return tuple(
        (f"{page.relative_to(_ROOT)}", paragraph)
        for page in _PAGES
        if page.name != "notebook.md"
        for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", _prose(page))
    )


@functools.cache
def _everything() -> tuple[tuple[str, str], ...]:
    return (*_texts(), *_paragraphs(), *_docstrings())


@pytest.mark.parametrize("phrase", _BANNED)
def test_phrases_that_readers_stumbled_over_are_gone(phrase: str) -> None:
    pattern = re.compile(phrase)
    found = [f"{where}: {text[:200]}" for where, text in _everything() if pattern.search(text)]
    assert not found, f"write {_BANNED[phrase]!r}\n" + "\n".join(found)


def test_sentences_of_the_docs_are_not_too_long() -> None:
    long = []
    for where, text in _paragraphs():
        for sentence in re.split(r"(?<=[.!?:;])\s+(?=[A-Z`*\[(])", " ".join(text.split())):
            count = len(re.findall(r"[\w'’-]+", sentence))
            if count > _LONGEST:
                long.append(f"{where}: {count} words: {sentence}")
    assert not long, "\n".join(long)
