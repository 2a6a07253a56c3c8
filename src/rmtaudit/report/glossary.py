"""The glossary of the documentation, which ``rmtaudit explain`` prints too."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from rmtaudit.report.documentation import documentation, plain

_POINTER = re.compile(r" See \[[^\]]+\]\([^)]+\)\.$")  # of no use outside the site
_ENTRY = re.compile(r"^## (?P<term>.+?)\n\n(?P<text>.+?)(?=\n\n## |\s*\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A term of the field, and what it means here."""

    name: str
    meaning: str


@cache
def terms() -> dict[str, Term]:
    """Return the terms of the glossary by their names in lower case, in alphabetical order."""
    text = (documentation() / "glossary.md").read_text(encoding="utf-8")
    return {
        match["term"].lower(): Term(name=match["term"], meaning=_meaning(match["text"]))
        for match in _ENTRY.finditer(text)
    }


def find_term(name: str) -> Term | None:
    """Return the term of that name, in any case, with spaces, hyphens or underscores between words."""
    folded = {_folded(key): term for key, term in terms().items()}
    return folded.get(_folded(name))


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.lower()).strip()


def _meaning(text: str) -> str:
    return plain(_POINTER.sub("", " ".join(text.split())))
