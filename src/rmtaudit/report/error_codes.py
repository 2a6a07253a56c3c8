"""The codes of errors, cautions and refusals, from the pages of the documentation that list them.

An installed package carries these pages; a checkout has them in ``docs``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_FOLDERS = (_PACKAGE / "pages", _PACKAGE.parents[1] / "docs")
_PAGES = ("errors.md", "exit-codes.md", "commands/logdet.md")
_ROW = re.compile(
    r"^\| (?P<code>RA-[A-Z]{2}-\d{3}) \| (?P<meaning>.+?) \|(?: (?P<remedy>.+?) \|)?$", re.MULTILINE
)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCode:
    """What a code means and, where the page says so, what to do about it."""

    code: str
    meaning: str
    remedy: str


@cache
def error_codes() -> dict[str, ErrorCode]:
    """Return what is known of every code, sorted by code."""
    folder = next(folder for folder in _FOLDERS if (folder / _PAGES[0]).is_file())
    rows = {
        match["code"]: ErrorCode(
            code=match["code"], meaning=_plain(match["meaning"]), remedy=_plain(match["remedy"] or "")
        )
        for page in _PAGES
        for match in _ROW.finditer((folder / page).read_text(encoding="utf-8"))
    }
    return dict(sorted(rows.items()))


def _plain(text: str) -> str:
    """Return text without the links of Markdown and escaped bars."""
    return _LINK.sub(r"\1", text).replace("\\|", "|")
