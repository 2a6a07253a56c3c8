"""A spectrum that was measured on the whole matrix, as a document of strict JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.engine.density.document import DECILES, finite_options
from rmtaudit.engine.density.method import Method
from rmtaudit.engine.density.settings import SCHEMA_NAME, SCHEMA_VERSION, DensitySettings
from rmtaudit.matrices.sources import Gram
from rmtaudit.version import installed_version

if TYPE_CHECKING:
    from rmtaudit.engine.density.whole import WholeSpectrum
    from rmtaudit.engine.sources import SourceOptions
    from rmtaudit.kernels.slq.functionals import Bounded
    from rmtaudit.matrices.sources import MatrixSource

_CURVE = 200
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
EXACT, MEASURED = "exact", "measured"
_ROUTES = {
    Method.EIGENVALUES: (EXACT, "all eigenvalues of the matrix"),
    Method.PRODUCTS: (MEASURED, "products with the whole matrix; freeness is not assumed"),
}


def whole_document(
    text: str,
    settings: DensitySettings,
    options: SourceOptions,
    source: MatrixSource,
    spectrum: WholeSpectrum,
    compared: Path | None,
) -> dict[str, Any]:
    """Return the document of a spectrum that was computed or measured by products."""
    order, plan = source.shape[0], spectrum.plan
    word, route = _ROUTES[plan.method]
    products = plan.method is Method.PRODUCTS
    return {
        "schema": {"name": SCHEMA_NAME, "version": SCHEMA_VERSION},
        "tool": {
            "version": installed_version(),
            "options": asdict(settings) | {"source": finite_options(asdict(options))},
            "seed": settings.seed,
        },
        "subject": {
            "path": text,
            "name": source.name,
            "holds": "matrix",
            "order": order,
            "symmetric": _symmetry(source, options, products),
        },
        "target": {"size": order, "factor": 1.0},
        "method": {
            "name": str(plan.method),
            "steps": spectrum.distribution.steps if spectrum.distribution is not None else None,
            "probes": settings.probes if products else None,
            "memory": plan.memory,
            "operations": plan.operations,
        },
        "verdict": {"word": word, "reason": "", "route": route},
        "prediction": _prediction(spectrum, products),
        "ridge": _ridge(spectrum, settings.ridge),
        "against": None if compared is None else _against(compared, spectrum),
    }


def _symmetry(source: MatrixSource, options: SourceOptions, products: bool) -> str:
    """Return on what ground the matrix is symmetric, with what this run has seen of it."""
    if isinstance(source, Gram):
        return source.symmetry
    if products:
        return f"{source.symmetry}; products with random vectors agree"
    return source.symmetry if options.symmetric else "every pair compared, up to rounding"


def _prediction(spectrum: WholeSpectrum, products: bool) -> dict[str, Any]:
    import torch

    levels = torch.tensor(DECILES, dtype=torch.float64)
    value, low, high = (part.tolist() for part in spectrum.band(levels))
    numbers = spectrum.numbers()
    x, share, least, most = (part.tolist() for part in spectrum.share(_CURVE))
    return {
        "functionals": {name: _bounded(numbers[name]) for name in _NUMBERS},
        "quantiles": [
            {"level": level} | _numbers(at, below, above)
            for level, at, below, above in zip(DECILES, value, low, high, strict=True)
        ],
        "atoms": [
            {"place": one.place, "mass": (one.low + one.high) / 2, "low": one.low, "high": one.high}
            for one in spectrum.atoms()
        ],
        "intervals": {
            "confidence": 0.9,
            "replicas": 0,
            "from": "the law of the probes and bounds of the quadrature" if products else "exact eigenvalues",
        },
        "curve": {"x": x, "share": share, "low": least, "high": most},
    }


def _ridge(spectrum: WholeSpectrum, ridge: float | None) -> dict[str, Any]:
    out: dict[str, Any] = {"ridge": ridge, "status": "skipped", "reason": "no --ridge", "r_min": 0.0}
    if ridge is None:
        return out
    log_det, dimension = spectrum.ridge(ridge)
    if log_det.value is None or dimension.value is None:
        return out | {"status": "refused", "reason": log_det.reason or dimension.reason}
    return out | {
        "status": "ok",
        "reason": "",
        "log_det": _with_error(log_det),
        "effective_dimension": _with_error(dimension),
        "block_ridge": None,
        "missed": None,
    }


def _with_error(number: Bounded) -> dict[str, float | None]:
    assert number.low is not None
    assert number.high is not None
    # bounds of 90 % of a normal law are 1.645 standard errors from its middle
    return {
        "value": number.value,
        "se": (number.high - number.low) / 2 / 1.6449,
        "low": number.low,
        "high": number.high,
    }


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
    positive = bool((true > 0).all())
    return {
        "path": str(path),
        "eigenvalues": len(true),
        "status": "ok",
        "reason": "",
        "ks": ks_distance(*ranks),
        "wasserstein": float((computed - true).abs().mean()),
        "functionals": {
            "mean": float(true.mean()),
            "standard_deviation": float(true.std(correction=0)),
            "lower_edge": float(true[0]),
            "upper_edge": float(true[-1]),
            "log_det": float(true.log().mean()) if positive else None,
            "condition": float(true[-1] / true[0]) if positive else None,
        },
        "quantiles": torch.quantile(true, torch.tensor(DECILES, dtype=torch.float64)).tolist(),
        "spikes": [],
        "two_moments": None,
    }


def _bounded(number: Bounded) -> dict[str, Any]:
    if number.value is None:
        return {"value": None, "low": None, "high": None, "reason": number.reason}
    return _numbers(number.value, number.low, number.high)


def _numbers(value: float, low: float | None, high: float | None) -> dict[str, Any]:
    if not math.isfinite(value):
        return {"value": None, "low": None, "high": None, "reason": "beyond the range of float64"}
    bounds = [None if one is None or not math.isfinite(one) else one for one in (low, high)]
    return {"value": value, "low": bounds[0], "high": bounds[1], "reason": ""}
