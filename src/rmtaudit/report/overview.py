"""What a table of a report shows: which rows, what is left out, and the strips along the depth.

The terminal and Markdown draw the same overview.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rmtaudit.finding_kind import SEVERITIES
from rmtaudit.matrices.skips import SkipReason
from rmtaudit.report.labels import Labels, labels_of
from rmtaudit.report.model import Finding, LayerResult, Report
from rmtaudit.report.ordering import UNTRAINED, worst_first
from rmtaudit.report.strips import Strip, strips_of
from rmtaudit.report.verdict import Integrity

ALL = 0
"""The number of rows that stands for all of them."""

_SMALL = 16
"""Rows up to which a model is shown whole."""

_MOST_TROUBLED = 25
_MANY, _EACH = 12, 3
"""With more rows than the first that have findings, each code has so many rows."""

_FEW = 5
_LEAST_ROWS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The part of a report that a table shows.

    Attributes
    ----------
    labels
        The texts for the names of the layers that may have a row, in the order of the report.
    texts
        The same by name.
    rows
        The layers that have a row, in the stated order.
    hidden
        Layers that have findings and no row, by the code of the worst one.
    quiet
        How many layers have neither a finding nor a row.
    strips
        The roles along the depth; empty where rows were asked for.
    """

    labels: Labels
    texts: Mapping[str, str]
    rows: tuple[LayerResult, ...]
    hidden: Mapping[str, int]
    quiet: int
    strips: tuple[Strip, ...]


def overview_of(report: Report, top: int | None) -> Overview:
    """Return what is shown: the first ``top`` rows, :data:`ALL` for all, ``None`` for what needs a look.

    What needs a look are the rows that are damaged, have a warning or failed, and up to three that are
    noise-like or initial; then a strip for each role of repeated blocks, with a few rows of other layers. Up
    to 16 rows are all shown. Layers that the caller left out have a row only among all; the coverage counts
    them.
    """
    rows = worst_first(report)
    if top != ALL:
        rows = tuple(layer for layer in rows if layer.skip != SkipReason.EXCLUDED)
    candidates = {layer.name for layer in rows}
    names = [layer.name for layer in report.layers if layer.name in candidates]
    labels = labels_of(names)
    texts = dict(zip(names, labels.texts, strict=True))
    strips: tuple[Strip, ...] = ()
    if top is not None:
        shown = rows[:top] if top != ALL else rows
    elif len(rows) <= _SMALL:
        shown = rows
    else:
        strips = strips_of(report, texts)
        shown = _in_need(rows, {name for strip in strips for name in strip.names})
    places = {id(layer) for layer in shown}
    left = [layer for layer in rows if id(layer) not in places]
    hidden = Counter(finding.code for layer in left if (finding := worst_finding(layer)) is not None)
    return Overview(
        labels=labels,
        texts=texts,
        rows=shown,
        hidden=dict(hidden.most_common()),
        quiet=len(left) - hidden.total(),
        strips=strips,
    )


def worst_finding(layer: LayerResult) -> Finding | None:
    """Return the most severe finding of a layer, the first of equals; ``None`` for information alone."""
    loud = [finding for finding in layer.findings if finding.severity != "info"]
    return max(loud, key=lambda finding: SEVERITIES.index(finding.severity), default=None)


def is_troubled(layer: LayerResult) -> bool:
    """Whether a layer needs a look."""
    return layer.status == "failed" or layer.integrity.word in (Integrity.DAMAGED, Integrity.WARNING)


def _in_need(rows: Sequence[LayerResult], in_strips: set[str]) -> tuple[LayerResult, ...]:
    troubled = [layer for layer in rows if is_troubled(layer)]
    if len(troubled) > _MANY:
        seen: Counter[str] = Counter()
        kept = []
        for layer in troubled:
            finding = worst_finding(layer)
            code = finding.code if finding is not None else ""
            seen[code] += 1
            if seen[code] <= _EACH:
                kept.append(layer)
        troubled = kept[:_MOST_TROUBLED]
    calm = [layer for layer in rows if not is_troubled(layer)]
    untrained = [layer for layer in calm if layer.signal.word in UNTRAINED][:_EACH]
    others = [layer for layer in calm if layer.name not in in_strips and layer not in untrained]
    few = _FEW if in_strips else max(_FEW, _LEAST_ROWS - len(troubled))
    return (*troubled, *untrained, *others[:few])
