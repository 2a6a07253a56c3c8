"""A prediction as a document of strict JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rmtaudit.engine.density.settings import SCHEMA_NAME, SCHEMA_VERSION, DensitySettings
from rmtaudit.version import installed_version

if TYPE_CHECKING:
    import torch

    from rmtaudit.engine.density.blocks import Blocks
    from rmtaudit.engine.sources import SourceOptions
    from rmtaudit.kernels.extrapolation import Interval, Prediction
    from rmtaudit.kernels.extrapolation.functionals import Law

DECILES = tuple(round(0.1 * index, 1) for index in range(1, 10))
"""A convention: levels of the quantiles in a document."""
_ROUTES = {"free": "free decompression", "rows": "growth by rows of the same kind"}
CURVE_POINTS = 200
"""A convention: more than a terminal or a figure shows."""


def document_of(
    text: str,
    settings: DensitySettings,
    source: SourceOptions,
    blocks: Blocks,
    target: int,
    prediction: Prediction,
) -> dict[str, Any]:
    """Return the document but for its parts ``ridge``, ``kpm`` and ``against``."""
    return {
        **head_of(settings, source),
        "subject": {
            "path": text,
            "name": blocks.name,
            "holds": blocks.holds,
            "order": blocks.order,
            "block": blocks.size,
            "samples": len(blocks.spectra),
            "dimension": blocks.dimension,
            **blocks.facts,
        },
        "target": {"size": target, "factor": target / blocks.size},
        "verdict": _verdict(prediction, settings),
        "tests": _tests(prediction),
        "block": _block(prediction.bulk),
        "prediction": None if prediction.law is None else _prediction(prediction, prediction.law),
        "spikes": [{"block": value, "predicted": place} for value, place in prediction.spikes],
        "baselines": {str(order): _baseline(law, target) for order, law in prediction.baselines.items()}
        if prediction.law is not None
        else {},
    }


def head_of(settings: DensitySettings, source: SourceOptions) -> dict[str, Any]:
    """Return the parts ``schema`` and ``tool``."""
    # strict JSON has no number for infinity
    options = {key: "inf" if value == math.inf else value for key, value in asdict(source).items()}
    return {
        "schema": {"name": SCHEMA_NAME, "version": SCHEMA_VERSION},
        "tool": {
            "version": installed_version(),
            "options": asdict(settings) | {"source": options},
            "seed": settings.seed,
        },
    }


def _verdict(prediction: Prediction, settings: DensitySettings) -> dict[str, Any]:
    verdict = prediction.verdict
    granted = verdict.granted(free=settings.assume_free, smooth=settings.assume_smooth)
    return {
        "word": verdict.word,
        "reason": verdict.reason,
        "route": _ROUTES[prediction.route],
        "assumptions": [one.value for one in verdict.assumptions],
        "granted": granted,
        "obstacle": None if verdict.obstacle is None else verdict.obstacle.value,
        "parent": verdict.share,
        "width": verdict.width,
        "largest_factor": verdict.largest_factor,
        "simple_law": verdict.simple,
    }


def _tests(prediction: Prediction) -> dict[str, Any]:
    free, nested = prediction.free, prediction.nested
    out: dict[str, Any] = {
        "mass": prediction.law.mass if prediction.law is not None else None,
        "diagonal_share": prediction.diagonal_share,
        "unresolved": free.unresolved if free is not None else None,
        "fit": None,
        "form": None,
        "validation": None,
        "freeness": None,
        "determination": None,
        "nested": None,
    }
    if free is not None:
        out["fit"] = {
            "chi_square_per_datum": free.fit.chi_square,
            "n_data": free.fit.n_data,
            "stays_positive": bool(free.fit.positive),
            "slack": free.fit.slack,
            "last_factor": _finite_number(free.last_factor),
        }
        if free.form is not None:
            out["form"] = {
                "name": free.form.name,
                "numbers": free.form.numbers,
                "p_value": free.form.p_value,
            }
        if free.choice is not None:
            out["validation"] = {
                "score": free.choice.score,
                "baselines": {str(order): score for order, score in free.choice.baselines.items()},
            }
    if prediction.freeness is not None:
        out["freeness"] = {
            "p_value": prediction.freeness.p_value,
            "distance": prediction.freeness.distance,
            "chance": prediction.freeness.chance,
            "largest_factor": _finite_number(prediction.freeness.largest_factor),
        }
    if prediction.determination is not None:
        out["determination"] = [
            {
                "parent": level.share,
                "chi_square": level.chi_square,
                "n_data": level.n_data,
                "p_value": level.p_value,
                "width": level.width,
            }
            for level in prediction.determination.levels
        ]
    if nested is not None:
        out["nested"] = {
            "free": nested.free,
            "rows": nested.rows,
            "baselines": {str(order): score for order, score in nested.baselines.items()},
        }
    return out


def _block(bulk: torch.Tensor) -> dict[str, Any]:
    """Return what was seen, all blocks together, without spikes."""
    import torch

    values = bulk.reshape(-1)
    levels = torch.tensor(DECILES, dtype=torch.float64)
    # sorted blocks of one size: the mean of their quantiles, without a limit on how many values there are
    deciles = torch.stack([torch.quantile(row, levels) for row in bulk]).mean(0)
    positive = bool((values > 0).all())
    mean, spread = float(values.mean()), float(values.std(correction=0))
    return {
        "mean": mean,
        "standard_deviation": spread,
        "skewness": float(((values - mean) ** 3).mean()) / spread**3 if spread > 0 else None,
        "lower_edge": float(values.min()),
        "upper_edge": float(values.max()),
        "log_det": float(values.log().mean()) if positive else None,
        "quantiles": deciles.tolist(),
    }


def _prediction(prediction: Prediction, law: Law) -> dict[str, Any]:
    import torch

    levels = torch.tensor(DECILES, dtype=torch.float64)
    low, high = (
        prediction.law.ppf(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
        if prediction.law
        else (0, 0)
    )
    at = _grid(low, high)
    return {
        "functionals": {name: _interval(value) for name, value in prediction.numbers().items()},
        "quantiles": [
            {"level": level, **_interval(value)}
            for level, value in zip(DECILES, prediction.band(levels), strict=True)
        ],
        "atoms": [{"place": place, "mass": mass} for place, mass in law.atoms],
        "intervals": {
            "confidence": 0.9,
            "replicas": len(prediction.replicas),
            "from": "samples" if prediction.pooled else "extreme laws and redrawn blocks",
        },
        "curve": {"x": at.tolist(), "density": prediction.density(at).tolist()},
    }


def _grid(low: float, high: float) -> torch.Tensor:
    """Return points over the support, even in the logarithm where it spans more than two decades."""
    import torch

    if low > 0 and high > 100 * low:
        return torch.logspace(math.log10(low), math.log10(high), CURVE_POINTS, dtype=torch.float64)
    return torch.linspace(low, high, CURVE_POINTS, dtype=torch.float64)


def _baseline(law: Law, target: int) -> dict[str, Any]:
    import torch

    from rmtaudit.kernels.extrapolation.functionals import ends

    low, high = ends(law, target)
    levels = torch.tensor(DECILES, dtype=torch.float64)
    return {
        "lower_edge": low,
        "upper_edge": high,
        "quantiles": law.ppf(levels).tolist(),
    }


def _interval(interval: Interval) -> dict[str, Any]:
    return {"value": interval.value, "low": interval.low, "high": interval.high, "reason": interval.reason}


def _finite_number(value: float) -> float | None:
    return value if math.isfinite(value) else None
