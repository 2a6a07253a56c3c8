"""The codes of errors, cautions and refusals, from the pages of the documentation that list them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from rmtaudit.report.documentation import documentation, plain

_PAGES = ("errors.md", "exit-codes.md", "commands/logdet.md")
_ROW = re.compile(
    r"^\| (?P<code>RA-[A-Z]{2}-\d{3}) \| (?P<meaning>.+?) \|(?: (?P<remedy>.+?) \|)?$", re.MULTILINE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCode:
    """What a code means and, where the page says so, what to do about it."""

    code: str
    meaning: str
    remedy: str


@cache
def error_codes() -> dict[str, ErrorCode]:
    """Return what is known of every code, sorted by code."""
    folder = documentation()
    rows = {
        match["code"]: ErrorCode(
            code=match["code"], meaning=plain(match["meaning"]), remedy=plain(match["remedy"] or "")
        )
        for page in _PAGES
        for match in _ROW.finditer((folder / page).read_text(encoding="utf-8"))
    }
    return dict(sorted(rows.items()))
