"""What is recorded of one matrix: the metrics that a scan gives, and the spectrum of its update."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from rmtaudit.analyzers.base import LayerInput, MetricValue
from rmtaudit.analyzers.htmp import HTMPFit, HTMPOptions
from rmtaudit.analyzers.kappa import count_spikes
from rmtaudit.analyzers.phase import PhaseOfTraining
from rmtaudit.analyzers.powerlaw import PowerLaw
from rmtaudit.engine.scan.worker import LayerWork, analyse_layer
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues
from rmtaudit.kernels.spectra.spectrum import Spectrum
from rmtaudit.matrices.layers import Layer
from rmtaudit.matrices.tensors import UNIT_ROUNDOFF
from rmtaudit.report.model import MetricResult

METRICS = (
    "alpha",
    "alpha_unstable",
    "xmin",
    "ks_distance",
    "tail_size",
    "kappa_full",
    "kappa_bulk",
    "kappa_spikes",
    "htmp_verdict",
    "phase",
    "phase_confidence",
    "phase_nearest",
    "phase_null",
    "phase_bulk_p_value",
    "phase_spikes",
)
"""What is recorded of a weight: a part of what ``rmtaudit scan`` gives, under the same names."""
LEVELS = tuple(index / 32 for index in range(33))
"""Levels of the quantiles that stand for the spectrum of an update."""

_ANALYZERS = (PowerLaw(), HTMPFit(HTMPOptions(compare=False)), PhaseOfTraining())


def observe_weight(layer: Layer, stored: tuple[torch.Tensor, ...], *, seed: int) -> dict[str, Any]:
    """Return the metrics of a weight, as JSON values, or its ``status`` and ``reason`` where it has none.

    Parameters
    ----------
    layer
        The layer.
    stored
        Its tensors, on the CPU, in their dtype.
    seed
        Seed of the scan whose numbers these are.
    """
    work = LayerWork(
        analyzers=_ANALYZERS, solver="gram", precision="float64", device=torch.device("cpu"), seed=seed
    )
    row = analyse_layer(layer, stored, work).row
    if row.status != "ok":
        return {"status": row.status, "reason": row.reason}
    return {"status": "ok", "metrics": {name: _metric(row.metrics[name]) for name in METRICS}}


def observe_update(
    layer: Layer, before: torch.Tensor, after: torch.Tensor, *, since: int, steps: int
) -> dict[str, Any]:
    """Return the spectrum of ``after - before``, as JSON values.

    Parameters
    ----------
    layer
        The layer.
    before, after
        The matrix at two steps, float64, shape ``(rows, cols)``.
    since
        The step of the first.
    steps
        How many steps lie between. Each rounds the weights to their dtype, so singular values of the
        difference are only resolved above ``rounding``, ``√steps`` times the norm of that noise.
    """
    record: dict[str, Any] = {"since": since, "steps": steps}
    difference = after - before
    if not bool(torch.isfinite(difference).all()):
        return {**record, "status": "failed", "reason": "the update holds values that are not finite"}
    if not bool(difference.any()):
        return {**record, "status": "skipped", "reason": "the weight has not changed"}
    rows, cols = difference.shape
    rms = float(torch.linalg.matrix_norm(after)) / math.sqrt(rows * cols)
    noise = UNIT_ROUNDOFF[layer.dtype] / math.sqrt(3) * rms * math.sqrt(steps)
    rounding = noise * (math.sqrt(rows) + math.sqrt(cols))
    exact = gram_eigenvalues(difference)
    sigma = exact.eigenvalues.sqrt()
    squares = float(exact.eigenvalues.sum())
    spectrum = _above(exact, rounding**2)
    spikes = count_spikes(exact.eigenvalues, rows, cols)
    powerlaw = PowerLaw().analyze(LayerInput(layer=layer, spectrum=spectrum))
    alpha = powerlaw.values["alpha"]
    return {
        **record,
        "status": "ok",
        "spectral_norm": float(sigma[-1]),
        "frobenius_norm": math.sqrt(squares),
        "relative": math.sqrt(squares) / (rms * math.sqrt(rows * cols)) if rms else None,
        "stable_rank": squares / float(exact.eigenvalues[-1]),
        "rounding": rounding,
        "resolved": len(spectrum.resolved),
        "alpha": _metric(alpha),
        "spikes": _metric(spikes if isinstance(spikes, MetricValue) else MetricValue(value=spikes)),
        "quantiles": torch.quantile(sigma, torch.tensor(LEVELS, dtype=torch.float64)).tolist(),
    }


def _above(spectrum: Spectrum, floor: float) -> Spectrum:
    """Return a spectrum in which eigenvalues up to ``floor`` count as unresolved."""
    unresolved = int((spectrum.eigenvalues <= floor).sum())
    if unresolved <= spectrum.unresolved:
        return spectrum
    values = spectrum.eigenvalues.clone()
    values[:unresolved] = 0.0
    return replace(spectrum, eigenvalues=values, floor=floor, unresolved=unresolved)


def _metric(result: MetricResult | MetricValue | float | int | str | bool) -> dict[str, Any]:
    """Return a metric without what it does not have."""
    if isinstance(result, float | int | str | bool):
        return {"value": result}
    if result.status != "ok":
        return {"value": None, "status": result.status, "reason": result.reason}
    ends = None if result.ci is None else list(result.ci)
    uncertain = {"se": result.se, "ci": ends}
    return {"value": result.value, **{name: part for name, part in uncertain.items() if part is not None}}
