"""Names in messages: tensor and file names, which are hostile text, made printable, and misspelt words."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

_LONGEST = 200


def display_name(name: str, *, longest: int = _LONGEST) -> str:
    r"""Return ``name`` as one line of printable text.

    Control characters (C0, C1, escape sequences, line ends), format characters (bidirectional overrides,
    zero-width marks) and lone surrogates are written as ``\x1b``, ``\u202e`` …; a name longer than
    ``longest`` characters keeps its two ends around ``…``. The result is plain text, not markup: give it
    to ``rich.text.Text``, never to a string that is parsed.
    """
    if len(name) > longest:
        head = longest // 2
        name = f"{name[:head]}…{name[len(name) - (longest - head - 1) :]}"
    if name.isascii() and name.isprintable():
        return name
    return "".join(_escape(character) for character in name)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return the question whether the nearest of the known words was meant; ``""`` where none is near.

    >>> suggestion("sede", ["seed", "solver"])
    " Did you mean 'seed'?"
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _escape(character: str) -> str:
    category = unicodedata.category(character)
    if category not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
        return character
    point = ord(character)
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
