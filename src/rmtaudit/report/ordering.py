"""The order of the rows: what needs a look stands first."""

from __future__ import annotations

import re

from rmtaudit.kernels.signal import SignalWord
from rmtaudit.report.model import LayerResult, Report

_NO_TROUBLE = 3
UNTRAINED = (SignalWord.NOISE_LIKE, SignalWord.INITIAL)
"""The signals of layers that learned nothing that can be seen."""

_DIGITS = re.compile(r"([0-9]+)")


def worst_first(report: Report) -> tuple[LayerResult, ...]:
    """Return the rows of the report, worst first.

    Failed rows; then damaged ones, ones with a warning, noise-like ones and initial ones; then rows by the
    metric ``tool["sort"]``, worst first as ``metrics[…].better`` says (largest first where no direction is
    known); then rows without that metric; skipped rows last. Ties are in natural order of the names.
    """
    sort = report.tool["sort"]
    entry = report.metrics.get(sort)
    sign = 1.0 if entry is not None and entry.better == "higher" else -1.0

    def key(layer: LayerResult) -> tuple[int, int, float, tuple[tuple[int, str], ...], str]:
        value = layer.number(sort)
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
        return (group, trouble, rank, natural_key(layer.name), layer.name)

    return tuple(sorted(report.layers, key=key))


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
