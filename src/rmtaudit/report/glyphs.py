"""The signs of a table, for terminals that show Unicode and for those that show ASCII alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from rmtaudit.names import escape
from rmtaudit.report.strips import Place
from rmtaudit.report.verdict import Integrity

_PLAIN = str.maketrans({
    "…": "..", "×": "x", "–": "-", "—": "-", "·": "|", "→": "->", "≥": ">=", "±": "+-", "α": "alpha",
    "κ": "kappa", "σ": "sigma", "‖": "|", "²": "^2",
})  # fmt: skip
"""What is written for the signs that sentences of this program use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """The signs, and :meth:`text`, which makes any text fit for the terminal."""

    ascii: bool
    ellipsis: str
    error: str
    warning: str
    unknown: str
    none: str
    arrow: str
    bars: str

    def text(self, text: str) -> str:
        """Return a printable text in the characters that the terminal shows."""
        if not self.ascii or text.isascii():
            return text
        return "".join(c if c.isascii() else escape(c) for c in text.translate(_PLAIN))

    def name(self, text: str) -> str:
        """Return a printable name in the characters that the terminal shows: what it lacks is escaped."""
        return text if not self.ascii else "".join(c if c.isascii() else escape(c) for c in text)

    def sign(self, place: Place | None, low: float, high: float) -> str:
        """Return the sign of a place in a strip: the mark of its integrity, else a bar between two values."""
        if place is None:
            return " "
        if place.integrity == Integrity.DAMAGED:
            return self.error
        if place.integrity == Integrity.WARNING:
            return self.warning
        return self.none if place.value is None else self.bar(place.value, low, high)

    def bar(self, value: float, low: float, high: float) -> str:
        """Return the sign for a value between two others."""
        steps = len(self.bars)
        share = (value - low) / (high - low) if high > low else 0.5
        return self.bars[min(max(int(share * steps), 0), steps - 1)]


UNICODE = Glyphs(
    ascii=False, ellipsis="…", error="✗", warning="!", unknown="?", none="–", arrow="→", bars="▁▂▃▄▅▆▇█"
)
ASCII = Glyphs(
    ascii=True, ellipsis="..", error="X", warning="!", unknown="?", none="-", arrow="->", bars="12345678"
)


@cache
def glyphs_for(encoding: str) -> Glyphs:
    """Return the signs that an encoding has."""
    signs: Sequence[str] = (UNICODE.error, UNICODE.bars, UNICODE.arrow, UNICODE.ellipsis)
    try:
        "".join(signs).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE
