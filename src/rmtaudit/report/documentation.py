"""The pages of the documentation that the program itself cites, in the package or in the checkout."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")


@cache
def documentation() -> Path:
    """Return the folder of the pages: that of the installed package, else ``docs`` of the checkout."""
    installed = _PACKAGE / "pages"
    return installed if installed.is_dir() else _PACKAGE.parents[1] / "docs"


def plain(text: str) -> str:
    """Return text without the links of Markdown and escaped bars."""
    return _LINK.sub(r"\1", text).replace("\\|", "|")
