"""The strips along the depth in a terminal: one line a role, one sign a block."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from rmtaudit.names import display_name
from rmtaudit.report.glyphs import Glyphs
from rmtaudit.report.labels import Labels, told_apart
from rmtaudit.report.model import Report
from rmtaudit.report.numbers import format_value
from rmtaudit.report.strips import Strip, drawn_metric, ranged_metric, scale_of
from rmtaudit.report.verdict import Integrity

_GAP = 2
_LEAST_BARS = 8
_STYLE: dict[str, str] = {Integrity.DAMAGED: "red", Integrity.WARNING: "yellow"}
_NUMBERS = ("min", "median", "max")


def draw_strips(console: Console, report: Report, strips: Sequence[Strip], glyphs: Glyphs) -> None:
    """Print the strips: bars on one scale, marks where a layer has a finding, and the range of the metric."""
    metric, drawn = ranged_metric(report), drawn_metric(report)
    numbers = [[_number(value) for value in (each.least, each.median, each.greatest)] for each in strips]
    widths = [max(len(head), *(len(row[place]) for row in numbers)) for place, head in enumerate(_NUMBERS)]
    room = console.width - sum(width + _GAP for width in widths) - _GAP
    full = max(cell_len(each.role) for each in strips)
    longest = max(len(each.places) for each in strips)
    roles = [each.role for each in strips]
    names = Labels(told_apart(roles, [glyphs.name(role) for role in roles])).fitted(
        max(min(full, room - min(longest, max(room // 2, _LEAST_BARS))), 4),
        measure=cell_len,
        ellipsis=glyphs.ellipsis,
    )
    name_width = max(map(cell_len, names))
    narrow = [each.narrowed(max(room - name_width, _LEAST_BARS)) for each in strips]
    low, high = scale_of(narrow)
    bar_width = max(len(each.places) for each in narrow)
    console.print(Text(_caption(strips, narrow, drawn, (low, high), glyphs), style="dim", overflow="fold"))
    heads = "".join(f"{'':{_GAP}}{head:>{width}}" for head, width in zip(_NUMBERS, widths, strict=True))
    indent = name_width + _GAP + bar_width
    caption = f"{display_name(metric, longest=max(indent, 1)):>{indent}}"
    console.print(Text(caption + heads, style="dim", no_wrap=True, overflow="crop"))
    for name, each, row in zip(names, narrow, numbers, strict=True):
        text = Text(name + " " * (name_width - cell_len(name) + _GAP), no_wrap=True, overflow="crop")
        for place in each.places:
            style = _STYLE.get(place.integrity, "") if place is not None else ""
            text.append(glyphs.sign(place, low, high), style=style)
        text.append(" " * (bar_width - len(each.places)))
        text.append(
            "".join(f"{'':{_GAP}}{number:>{width}}" for number, width in zip(row, widths, strict=True))
        )
        console.print(text)


def _caption(
    strips: Sequence[Strip], narrow: Sequence[Strip], drawn: str, scale: tuple[float, float], glyphs: Glyphs
) -> str:
    """Return what a sign stands for, and the scale of the bars."""
    first = min((each.first for each in strips if each.first is not None), default=None)
    last = max((each.last for each in strips if each.last is not None), default=None)
    depth = f", block {first} {glyphs.arrow} {last}" if first is not None else ""
    counts = {
        -(-len(before.places) // len(after.places)) for before, after in zip(strips, narrow, strict=True)
    }
    shared = f", up to {max(counts)} blocks a sign" if max(counts) > 1 else ""
    low, high = (_number(value) for value in scale)
    return (
        f"{display_name(drawn)} along the depth{depth}{shared}: {glyphs.bars[0]} {low} to "
        f"{glyphs.bars[-1]} {high}, {glyphs.error} damaged, {glyphs.warning} warning"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}" if 0.01 <= abs(value) < 1000 else format_value(value)
