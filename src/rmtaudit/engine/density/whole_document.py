"""A spectrum that was measured on the whole matrix, as a document of strict JSON."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.engine.density.companions import true_numbers
from rmtaudit.engine.density.document import CURVE_POINTS, DECILES, head_of
from rmtaudit.engine.density.entries import REASONS, Entries, entries_document, entries_of
from rmtaudit.engine.density.method import Method
from rmtaudit.engine.density.settings import DensitySettings

if TYPE_CHECKING:
    from rmtaudit.engine.density.whole import WholeSpectrum
    from rmtaudit.engine.sources import SourceOptions
    from rmtaudit.kernels.slq.functionals import Bounded
    from rmtaudit.matrices.sources import MatrixSource

_NUMBERS = (
    "mean",
    "standard_deviation",
    "skewness",
    "lower_edge",
    "upper_edge",
    "atom",
    "effective_rank",
    "log_det",
    "condition",
)
EXACT, COMPUTED, MEASURED = "exact", "computed", "measured"
_ROUTES = {
    EXACT: "all eigenvalues of the matrix",
    COMPUTED: "all eigenvalues of the entries as they are computed",
    MEASURED: "products with the whole matrix; freeness is not assumed",
}
_BOUNDS = {
    EXACT: "exact eigenvalues",
    COMPUTED: "not known",
    MEASURED: "the law of the probes and bounds of the quadrature",
}
_STANDARD_ERRORS = 1.6449
"""Half the width of bounds of 90 % of a normal law, in standard errors."""


def whole_document(
    text: str,
    settings: DensitySettings,
    options: SourceOptions,
    source: MatrixSource,
    spectrum: WholeSpectrum,
    compared: Path | None,
) -> dict[str, Any]:
    """Return the document of a spectrum that was computed or measured by products.

    All eigenvalues of entries that may be off by more than float64 rounds have no bounds: they are those of
    another matrix. Bounds of products are those of the probes and the quadrature in any case.
    """
    order, plan, entries = source.shape[0], spectrum.plan, entries_of(source)
    products = plan.method is Method.PRODUCTS
    word = MEASURED if products else EXACT if entries is Entries.FLOAT64 else COMPUTED
    return {
        **head_of(settings, options),
        "subject": {
            "path": text,
            "name": source.name,
            "holds": "matrix",
            "order": order,
            "symmetric": _symmetry(source, options, products),
            "rounding": entries_document(entries),
        },
        "target": {"size": order, "factor": 1.0},
        "method": {
            "name": str(plan.method),
            "steps": spectrum.distribution.steps if spectrum.distribution is not None else None,
            "probes": settings.probes if products else None,
            "memory": plan.memory,
            "operations": plan.operations,
        },
        "verdict": {"word": word, "reason": REASONS[entries], "route": _ROUTES[word]},
        "prediction": _prediction(spectrum, word),
        "ridge": _ridge(spectrum, settings.ridge, bounded=word != COMPUTED),
        "against": None if compared is None else _against(compared, spectrum),
    }


def _symmetry(source: MatrixSource, options: SourceOptions, products: bool) -> str:
    """Return on what ground the matrix is symmetric, with what this run has seen of it."""
    if source.known().gram is not None:
        return source.symmetry
    if products:
        return f"{source.symmetry}; products with random vectors agree"
    return source.symmetry if options.symmetric else "every pair compared, up to rounding"


def _prediction(spectrum: WholeSpectrum, word: str) -> dict[str, Any]:
    import torch

    bounded = word != COMPUTED
    levels = torch.tensor(DECILES, dtype=torch.float64)
    value, low, high = (part.tolist() for part in spectrum.band(levels))
    numbers = spectrum.numbers()
    x, share, least, most = (part.tolist() for part in spectrum.share(CURVE_POINTS))
    return {
        "functionals": {name: _bounded(numbers[name], bounded) for name in _NUMBERS},
        "quantiles": [
            {"level": level} | _numbers(at, *((below, above) if bounded else (None, None)))
            for level, at, below, above in zip(DECILES, value, low, high, strict=True)
        ],
        "atoms": [
            {
                "place": atom.place,
                "mass": (atom.low + atom.high) / 2,
                "low": atom.low if bounded else None,
                "high": atom.high if bounded else None,
            }
            for atom in spectrum.atoms()
        ],
        "intervals": {
            "confidence": 0.9 if bounded else None,
            "replicas": 0,
            "from": _BOUNDS[word],
        },
        "curve": {
            "x": x,
            "share": share,
            "low": least if bounded else None,
            "high": most if bounded else None,
        },
    }


def _ridge(spectrum: WholeSpectrum, ridge: float | None, *, bounded: bool) -> dict[str, Any]:
    out: dict[str, Any] = {"ridge": ridge, "status": "skipped", "reason": "no --ridge", "r_min": 0.0}
    if ridge is None:
        return out
    log_det, dimension = spectrum.ridge(ridge)
    if log_det.value is None or dimension.value is None:
        return out | {"status": "refused", "reason": log_det.reason or dimension.reason}
    return out | {
        "status": "ok",
        "reason": "",
        "log_det": _with_error(log_det, bounded),
        "effective_dimension": _with_error(dimension, bounded),
        "block_ridge": None,
        "missed": None,
    }


def _with_error(number: Bounded, bounded: bool) -> dict[str, float | None]:
    if not bounded:
        return {"value": number.value, "se": None, "low": None, "high": None}
    assert number.low is not None
    assert number.high is not None
    error = (number.high - number.low) / 2 / _STANDARD_ERRORS
    return {"value": number.value, "se": error, "low": number.low, "high": number.high}


def _against(path: Path, spectrum: WholeSpectrum) -> dict[str, Any]:
    """Return how far the eigenvalues of a file are from those found."""
    import torch

    from rmtaudit.kernels.free.validation import ks_distance
    from rmtaudit.matrices.samples import read_samples

    true = read_samples(path).sort().values
    computed = spectrum.quantiles(len(true))
    rounding = 1e-9 * float(true.abs().max())
    # a value and the same with rounding are one
    both = torch.cat([true, computed]).sort().values
    steps = torch.zeros(len(both), dtype=torch.float64)
    steps[1:] = (both.diff() > rounding).double().cumsum(0)
    ranks = [steps[torch.searchsorted(both, one)] for one in (computed, true)]
    return {
        "path": str(path),
        "eigenvalues": len(true),
        "status": "ok",
        "reason": "",
        "ks": ks_distance(*ranks),
        "wasserstein": float((computed - true).abs().mean()),
        **true_numbers(true),
        "spikes": [],
        "two_moments": None,
    }


def _bounded(number: Bounded, bounded: bool) -> dict[str, Any]:
    if number.value is None:
        return {"value": None, "low": None, "high": None, "reason": number.reason}
    return _numbers(number.value, *((number.low, number.high) if bounded else (None, None)))


def _numbers(value: float, low: float | None, high: float | None) -> dict[str, Any]:
    if not math.isfinite(value):
        return {"value": None, "low": None, "high": None, "reason": "beyond the range of float64"}
    bounds = [None if one is None or not math.isfinite(one) else one for one in (low, high)]
    return {"value": value, "low": bounds[0], "high": bounds[1], "reason": ""}
