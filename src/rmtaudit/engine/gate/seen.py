"""How much of a model was seen: what was analysed, against the weights that were not."""

from __future__ import annotations

import math

from rmtaudit.engine.gate.targets import HARMLESS, is_harmless
from rmtaudit.matrices.skips import SkipReason
from rmtaudit.report.model import Report, SkippedTensor


def share_seen(report: Report) -> float | None:
    """Return the share of the parameters of weight matrices that were analysed; ``None`` if there are none.

    Copies and constants of the architecture do not count, nor do whole numbers of 32 bits and more, which are
    indices and counts. Those of fewer bits may be the codes of quantised weights, and count as not seen.
    """
    unseen = {
        tensor.name: math.prod(tensor.shape) for tensor in report.coverage.skipped if not _is_harmless(tensor)
    }
    for layer in report.layers:
        if layer.status != "ok" and not is_harmless(layer):
            unseen.setdefault(layer.tensor, layer.parameters)
    analysed = report.coverage.parameters_analyzed
    total = analysed + sum(unseen.values())
    return analysed / total if total else None


def unseen_layers(report: Report) -> int:
    """Return the number of weight tensors that were not analysed, copies and constants aside."""
    return sum(layer.status != "ok" and not is_harmless(layer) for layer in report.layers)


def _is_harmless(tensor: SkippedTensor) -> bool:
    if tensor.skip is None:
        return sum(size > 1 for size in tensor.shape) <= 1
    if tensor.skip == SkipReason.INTEGER:
        return "32" in tensor.dtype or "64" in tensor.dtype
    return tensor.skip in HARMLESS
