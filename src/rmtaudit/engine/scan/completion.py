"""What every row of a report has, whatever came of its layer: all metrics, and its size."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

from msgspec.structs import replace

from rmtaudit.matrices.tensors import ITEMSIZE
from rmtaudit.report.model import LayerResult, MetricResult, Status

_NOT_NEEDED = "the layer has a spectrum of its own"


class _Stored(Protocol):
    @property
    def bits(self) -> float: ...


def completed(layer: LayerResult, names: Iterable[str]) -> LayerResult:
    """Return the row with an entry for every metric of the scan, and with its size in bytes.

    A metric that the row lacks has the status and the reason of the row; in a row that was analysed it is one
    that stands in for a spectrum.
    """
    status: Status = "failed" if layer.status == "failed" else "skipped"
    missing = MetricResult(
        value=None,
        se=None,
        ci=None,
        status=status,
        reason=layer.reason if layer.status != "ok" else _NOT_NEEDED,
    )
    metrics = {name: layer.metrics.get(name, missing) for name in names}
    return replace(
        layer,
        metrics={**metrics, **layer.metrics},
        bytes=stored_bytes(layer.parameters, layer.dtype, layer.encoding),
    )


def stored_bytes(elements: int, dtype: str, encoding: _Stored | None) -> int:
    """Return about how many bytes so many elements take in the file: codes with their scales, or numbers."""
    if encoding is not None:
        return math.ceil(elements * encoding.bits / 8)
    return elements * ITEMSIZE.get(dtype, 0)
