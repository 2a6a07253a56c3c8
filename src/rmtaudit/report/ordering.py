"""The order of the rows: what needs a look stands first."""

from __future__ import annotations

import math
import re

from rmtaudit.kernels.signal import SignalWord
from rmtaudit.report.columns import FINDING, NAME, NUMERIC, PROPERTIES
from rmtaudit.report.model import LayerResult, Report

_NO_TROUBLE = 3
UNTRAINED = (SignalWord.NOISE_LIKE, SignalWord.INITIAL)
"""The signals of layers that learned nothing that can be seen."""

_Natural = tuple[tuple[int, str], ...]
_DIGITS = re.compile(r"([0-9]+)")


def worst_first(report: Report) -> tuple[LayerResult, ...]:
    """Return the rows of the report, worst first.

    Failed rows; then damaged ones, ones with a warning, noise-like ones and initial ones; then rows by the
    metric or the property ``tool["sort"]``, metrics worst first as ``metrics[…].better`` says, numbers
    largest first where no direction is known, texts in natural order; then rows without that metric; skipped
    rows last. Ties are in natural order of the names.
    """
    sort = report.tool["sort"]
    by_property = sort not in report.metrics and sort in PROPERTIES
    entry = report.metrics.get(sort)
    sign = 1.0 if entry is not None and entry.better == "higher" else -1.0

    def key(layer: LayerResult) -> tuple[int, int, float, _Natural, _Natural, str]:
        value = _size(layer, sort) if by_property else layer.number(sort)
        text = natural_key(_text(layer, sort)) if by_property else ()
        if layer.status == "failed":
            group = 0
        elif layer.status == "ok":
            group = 1 if value is not None else 2
        else:
            group = 3
        trouble = _trouble(layer)
        if trouble < _NO_TROUBLE:
            group = min(group, 1)
        rank = sign * value if value is not None else 0.0
        return (group, trouble, rank, text, natural_key(layer.name), layer.name)

    return tuple(sorted(report.layers, key=key))


def _size(layer: LayerResult, name: str) -> float:
    """Return the number of a property; 0 for one that is a text."""
    if name not in NUMERIC:
        return 0.0
    return float(math.prod(layer.shape) if name == "shape" else getattr(layer, name))


def _text(layer: LayerResult, name: str) -> str:
    """Return the text of a property; empty for a number, for the name and for the finding."""
    if name in (NAME, FINDING) or name in NUMERIC:
        return ""
    if name in ("integrity", "signal"):
        return str(getattr(layer, name).word)
    return str(getattr(layer, name))


def _trouble(layer: LayerResult) -> int:
    severities = {finding.severity for finding in layer.findings}
    for place, severity in enumerate(("error", "warning")):
        if severity in severities:
            return place
    return 2 if layer.signal.word in UNTRAINED else _NO_TROUBLE


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key under which ``layer.2`` stands before ``layer.10``."""
    parts = _DIGITS.split(name)
    # A text and the number after it make one pair; a number is compared by length first, so that a name of
    # a million digits costs no arithmetic.
    return tuple(
        pair
        for text, digits in zip(parts[::2], [*parts[1::2], ""], strict=True)
        for pair in ((0, text), (len(digits.lstrip("0")), digits.lstrip("0")))
    )
