"""Drawings of a page, as SVG that takes its colours from the page's style sheet.

A class names the meaning (``c-bad``, ``c-blue``); the style sheet has its colour in light and in dark. There
are no style attributes, which the policy of the page forbids.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from markupsafe import Markup

from rmtaudit.names import display_name
from rmtaudit.report.numbers import format_value
from rmtaudit.report.strips import Place, Strip
from rmtaudit.report.verdict import Integrity

_CELL, _BAR, _MARKS = 9.0, 22.0, 9.0
"""Width of a block in a strip, height of its bar, and of the room for marks over it."""

MOST_BLOCKS = 64
_LEAST_HEIGHT = 0.08
_TONES: dict[str, str] = {Integrity.DAMAGED: "bad", Integrity.WARNING: "warn"}


def strip_svg(strip: Strip, low: float, high: float, drawn: str) -> Markup:
    """Return a strip as bars between two values, with a mark over the blocks that need a look."""
    width = _CELL * len(strip.places)
    counts = [
        f"{sum(place is not None and place.integrity == word for place in strip.places)} {word}"
        for word in (Integrity.DAMAGED, Integrity.WARNING)
    ]
    label = (
        f"{drawn} of {strip.role} along the depth: median {format_value(strip.median)}; cells of the strip: "
        f"{', '.join(counts)}"
    )
    parts = [_open(width, _BAR + _MARKS, label, "strip")]
    for index, place in enumerate(strip.places):
        parts += _block(index * _CELL, place, low, high)
    parts.append("</svg>")
    return Markup("".join(parts))


def share_svg(fraction: float, label: str) -> Markup:
    """Return a bar that is filled to a share."""
    filled = 100 * min(max(fraction, 0.0), 1.0)
    if 0 < filled < 1:
        filled = 1.0  # not to be taken for nothing
    return Markup(
        f'{_open(100, 4, label, "share", stretch=True)}<rect class="track" width="100" height="4"/>'
        f'<rect class="filled" width="{filled:.2f}" height="4"/></svg>'
    )


def _block(x: float, place: Place | None, low: float, high: float) -> Iterator[str]:
    base = _BAR + _MARKS
    if place is None:
        return
    tone = _TONES.get(place.integrity)
    middle = x + (_CELL - 1.5) / 2
    if place.value is None:
        yield f'<path class="c-quiet line" d="M{x + 1:g} {base - 1.5:g}h{_CELL - 3.5:g}"/>'
    else:
        share = (place.value - low) / (high - low) if high > low else 0.5
        height = _BAR * max(min(share, 1.0), _LEAST_HEIGHT)
        name = f"c-{tone or 'data'}"
        yield (
            f'<rect class="{name}" x="{x:g}" y="{base - height:.1f}" width="{_CELL - 1.5:g}" '
            f'height="{height:.1f}"/>'
        )
    if tone == "bad":
        yield f'<path class="c-bad line" d="M{middle - 2.5:g} 1.5l5 5m0 -5l-5 5"/>'
    elif tone == "warn":
        yield f'<path class="c-warn" d="M{middle:g} 1l3.4 6h-6.8z"/>'


def _open(width: float, height: float, label: str, name: str, *, stretch: bool = False) -> str:
    ratio = ' preserveAspectRatio="none"' if stretch else ""
    return (
        f'<svg class="{name}" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
        f'{ratio} role="img" aria-label="{quoted(label)}">'
    )


def quoted(text: str) -> str:
    """Return hostile text as one line for an attribute or an element."""
    return escape(display_name(text, longest=400), quote=True)
