"""What a spectrum forecasts of ridge regression, as a document of strict JSON: ``rmtaudit forecast``."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.errors import NothingAuditableError, UsageError

if TYPE_CHECKING:
    import torch

SCHEMA_NAME = "rmtaudit.forecast"
SCHEMA_VERSION = "1.0"

_LOW = 0.01
"""The grid of ridges starts at this quantile of the positive eigenvalues."""
_SENTENCES = {
    "not rejected": (
        "The spectrum does not reject HTMP: the closed form may be read beyond the smallest eigenvalue."
    ),
    "rejected": (
        "The spectrum rejects HTMP: the closed form is that of another one, and its limit means nothing here."
    ),
}


@dataclass(frozen=True, slots=True)
class ForecastSettings:
    """How a spectrum is read.

    Attributes
    ----------
    shape
        Rows and columns of the matrix whose Gram matrix has the spectrum, in either order; ``None``: not
        known, and HTMP is not fitted.
    points
        Ridges, evenly spaced in their logarithm.
    bootstrap
        Resamples behind the intervals; 0 for none.
    confidence
        Coverage of the intervals.
    level
        HTMP is rejected where the p-value of its fit is below.
    seed
        Seed of the resamples.
    """

    shape: tuple[int, int] | None = None
    points: int = 13
    bootstrap: int = 200
    confidence: float = 0.9
    level: float = 0.01
    seed: int = 0


def forecast_file(path: Path, settings: ForecastSettings) -> dict[str, Any]:
    """Return the document of the eigenvalues of a file.

    Raises
    ------
    InputError
        RA-SA-…, as :func:`rmtaudit.matrices.samples.read_samples`.
    UsageError
        RA-US-402 where the shape does not have that many eigenvalues.
    NothingAuditableError
        RA-NA-003 where every eigenvalue is 0.
    """
    from rmtaudit.matrices.samples import read_samples

    return forecast_values(read_samples(path, sign="nonnegative"), settings, path=str(path))


def forecast_values(values: torch.Tensor, settings: ForecastSettings, *, path: str = "") -> dict[str, Any]:
    """Return the document of ``values``, shape ``(n,)``, not negative. Raises as :func:`forecast_file`."""
    from rmtaudit import __version__
    from rmtaudit.kernels.ridge import ridge_bias

    values = values.sort().values
    positive = values[values > 0]
    if settings.shape is not None and min(settings.shape) != len(values):
        rows, cols = settings.shape
        raise UsageError(
            "RA-US-402",
            f"A {rows} x {cols} matrix has {min(rows, cols)} eigenvalues, and the file {len(values)}.",
            hint="Give the shape of the matrix whose Gram matrix this is, and all of the eigenvalues.",
            where=path,
        )
    if not len(positive):
        raise NothingAuditableError("RA-NA-003", "Every eigenvalue is 0: nothing can be learned.", where=path)
    mu = _grid(positive, settings.points)
    found = ridge_bias(values, mu)
    intervals = _intervals(values, mu, settings)
    return {
        "schema": {"name": SCHEMA_NAME, "version": SCHEMA_VERSION},
        "tool": {"version": __version__, "options": asdict(settings), "seed": settings.seed},
        "subject": {
            "path": path,
            "values": len(values),
            "zeros": len(values) - len(positive),
            "least_positive": float(positive[0]),
            "greatest": float(values[-1]),
        },
        "empirical": [
            {
                "mu": float(at),
                "bias": {"value": float(bias), "ci": None if intervals is None else intervals[0][index]},
                "exponent": {"value": float(slope), "ci": None if intervals is None else intervals[1][index]},
            }
            for index, (at, bias, slope) in enumerate(zip(mu, found.bias, found.exponent, strict=True))
        ],
        "htmp": _htmp(values, mu, settings),
    }


def _grid(positive: torch.Tensor, points: int) -> torch.Tensor:
    import torch

    low, high = float(positive.quantile(_LOW)), float(positive[-1])
    if not low < high:
        low = high / 10
    return torch.logspace(math.log10(low), math.log10(high), points, dtype=torch.float64)


def _intervals(
    values: torch.Tensor, mu: torch.Tensor, settings: ForecastSettings
) -> tuple[list[list[float]], list[list[float]]] | None:
    import torch

    from rmtaudit.kernels.ridge import bootstrap_ridge_bias

    if not settings.bootstrap:
        return None
    generator = torch.Generator().manual_seed(settings.seed)
    drawn = bootstrap_ridge_bias(values, mu, draws=settings.bootstrap, generator=generator)
    ends = torch.tensor([(1 - settings.confidence) / 2, (1 + settings.confidence) / 2], dtype=torch.float64)
    bias, exponent = (each.quantile(ends, dim=0).T.tolist() for each in drawn)
    return bias, exponent


def _htmp(values: torch.Tensor, mu: torch.Tensor, settings: ForecastSettings) -> dict[str, Any]:
    from rmtaudit.kernels.htmp.estimate import fit_joint
    from rmtaudit.kernels.htmp.goodness import distance, p_value
    from rmtaudit.kernels.htmp.law import HTMP

    if settings.shape is None:
        return _none("skipped", "the shape of the matrix is not known: give --shape ROWS COLUMNS")
    try:
        fit = fit_joint(values, *settings.shape)
        far = distance(values, fit)
        share = p_value(math.sqrt(fit.size) * far, fit.kappa)
        law = HTMP.of(fit.ensemble, fit.mean)
    except (ArithmeticError, ValueError) as error:
        return _none("failed", str(error))
    verdict = "not rejected" if share >= settings.level else "rejected"
    return {
        "status": "ok",
        "reason": "",
        "gamma": fit.gamma,
        "kappa": {"value": fit.kappa, "se": fit.se},
        "delta": law.delta,
        "ks_distance": far,
        "p_value": share,
        "verdict": verdict,
        "sentence": _SENTENCES[verdict],
        "limit_exponent": min(2.0, law.delta),
        "paper_exponent": 2 + law.delta,
        "curve": [
            {"mu": float(at), "bias": float(bias), "exponent": float(slope)}
            for at, bias, slope in zip(mu, law.ridge_bias(mu), law.ridge_exponent(mu), strict=True)
        ],
    }


def _none(status: str, reason: str) -> dict[str, Any]:
    return {"status": status, "reason": reason}
