"""Names in messages: tensor and file names, which are hostile text, made printable, and misspelt words."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

_LONGEST = 200
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of characters that a terminal obeys, hides or cannot show."""

_CI_COMMAND = re.compile(
    r"\A\s*::|##(?=[a-z]*\[)|"
    r"::(?=(?:add-mask|add-matcher|add-path|debug|echo|endgroup|error|group|notice|remove-matcher|save-state"
    r"|set-env|set-output|stop-commands|warning)\b)",
    re.IGNORECASE,
)
"""Where a runner takes a line of a log for a command: GitHub's ``::error::`` and ``##[error]``, Azure's
``##vso[…]``, TeamCity's ``##teamcity[…]``. At the start of a line, whatever the command is called."""


def display_name(name: str, *, longest: int = _LONGEST) -> str:
    r"""Return ``name`` as one line of printable text.

    Control characters (C0, C1, escape sequences, line ends), format characters (bidirectional overrides,
    zero-width marks) and lone surrogates are written as ``\x1b``, ``\u202e`` …, and so is the first
    character of what a CI runner would obey in a log (``::error::``, ``##vso[``); a name longer than
    ``longest`` characters keeps its two ends around ``…``. The result is plain text, not markup: give it
    to ``rich.text.Text``, never to a string that is parsed.
    """
    if len(name) > longest:
        head = longest // 2
        name = f"{name[:head]}…{name[len(name) - (longest - head - 1) :]}"
    if "::" in name or "##" in name:
        name = _CI_COMMAND.sub(lambda match: f"{match[0][:-2]}{escape(match[0][-2])}{match[0][-1]}", name)
    if name.isascii() and name.isprintable():
        return name
    return "".join(
        escape(character) if unicodedata.category(character) in _HIDDEN else character for character in name
    )


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return the question whether the nearest of the known words was meant; ``""`` where none is near.

    >>> suggestion("sede", ["seed", "solver"])
    " Did you mean 'seed'?"
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def escape(character: str) -> str:
    r"""Return a character as the escape that Python has for it: ``\x1b``, ``\u202e``, ``\U0001f916``."""
    point = ord(character)
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
