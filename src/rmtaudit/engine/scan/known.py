"""Analyses of layers that were made before: a layer of the same name and values is not analysed twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from rmtaudit.analyzers.base import Observation
from rmtaudit.engine.scan.worker import AnalysedLayer, LayerWork, NoSpectrum, analyse_layer
from rmtaudit.kernels.signal import Signal, SignalWord
from rmtaudit.matrices.layers import Layer
from rmtaudit.matrices.skips import SkipReason
from rmtaudit.report.model import LayerResult
from rmtaudit.report.plain import plain

if TYPE_CHECKING:
    import torch

_MACHINE = frozenset({SkipReason.NO_SPECTRUM, SkipReason.INTERNAL_ERROR})
"""Reasons that another machine, or another hour, may not have."""


class KnownLayers(Protocol):
    """Where analyses are kept. Threads call it at the same time."""

    def get(self, key: Mapping[str, Any]) -> Any | None:
        """Return what :meth:`put` was given for this key; ``None`` where there is nothing."""

    def put(self, key: Mapping[str, Any], body: Any) -> None:
        """Keep an analysis, plain values of JSON."""

    def note_tensors(self, digests: Mapping[str, str]) -> None:
        """Take the digests of all tensors (dtype, shape and bytes), by name, at the end of a scan."""


def analysed_once(
    layer: Layer,
    tensors: tuple[torch.Tensor, ...],
    work: LayerWork,
    *,
    known: KnownLayers | None,
    digests: tuple[str, ...],
    no_spectrum: NoSpectrum | None = None,
) -> AnalysedLayer:
    """Return :func:`analyse_layer`, from what is known where that has it.

    ``digests`` are those of the tensors. A layer without a spectrum, for want of memory, is analysed anew:
    what comes of it depends on the budget.
    """
    if known is None or no_spectrum is not None or work.shown:
        return analyse_layer(layer, tensors, work, no_spectrum)
    key = _key(layer, digests)
    body = known.get(key)
    if body is not None:
        return _restored(body)
    analysed = analyse_layer(layer, tensors, work)
    if analysed.row.skip not in _MACHINE:
        known.put(key, _kept(analysed))
    return analysed


def _key(layer: Layer, digests: tuple[str, ...]) -> dict[str, Any]:
    """Return what the analysis of a layer depends on, beside the settings of the scan.

    The name is part of it: it is in the row, and random methods draw from a generator that it seeds.
    """
    return {
        "name": layer.name,
        "tensor": layer.tensor,
        "tensors": list(layer.tensors),
        "kind": str(layer.kind),
        "view": layer.view,
        "shape": list(layer.shape),
        "matrices": layer.matrices,
        "parameters": layer.parameters,
        "dtype": layer.dtype,
        "slices": layer.slices,
        "kernel": list(layer.kernel),
        "band": None if layer.band is None else list(layer.band),
        "encoding": None if layer.encoding is None else repr(layer.encoding),
        "digests": list(digests),
    }


def _kept(analysed: AnalysedLayer) -> dict[str, Any]:
    observed = [
        {
            "code": each.code,
            "message": each.message,
            "evidence": each.evidence,
            "p_value": each.p_value,
            "severity": each.severity,
        }
        for each in analysed.observed
    ]
    signal = analysed.signal
    body: dict[str, Any] = plain(
        {
            "row": analysed.row,
            "observed": observed,
            "signal": None if signal is None else {"word": signal.word, "detail": signal.detail},
        }
    )
    return body


def _restored(body: Any) -> AnalysedLayer:
    signal = body["signal"]
    return AnalysedLayer(
        row=msgspec.convert(body["row"], LayerResult),
        observed=tuple(Observation(**each) for each in body["observed"]),
        signal=None if signal is None else Signal(SignalWord(signal["word"]), signal["detail"]),
    )
