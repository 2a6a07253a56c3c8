"""What a spectrum forecasts of ridge regression, as a document of strict JSON: ``rmtaudit forecast``."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from rmtaudit.errors import UsageError
from rmtaudit.version import installed_version

if TYPE_CHECKING:
    import torch

    from rmtaudit.engine.samples.spectrum import FeatureSpectrum, Matrix

SCHEMA_NAME = "rmtaudit.forecast"
SCHEMA_VERSION = "2.0"

LEAST_RESIDUAL = 20
"""Degrees of freedom that the fit must leave for a risk: it is then within 25 % in 99 of 100 cases.

Measured on isotropic features (normal, signs, Student's t with 6 degrees of freedom; 30 to 200 samples), for
which the risk is known: the relative error was below 6 over the degrees of freedom left in 99 of 100 cases
(``benchmarks/forecast.py``)."""

_AGREEMENT = 10.0
"""Logarithms of bias and risk of isotropic features differ by less, over the degrees of freedom left."""
_NORMAL = 2.0**-1022
"""The least normal number: ridges below it have lost their digits."""
_LOW = 0.01
"""The grid of ridges starts at this quantile of the positive eigenvalues."""
_HTMP_SENTENCES = {
    "not rejected": (
        "The spectrum does not reject HTMP: the closed form can be used beyond the smallest eigenvalue."
    ),
    "rejected": (
        "The spectrum rejects HTMP: the closed form describes a different spectrum, and its "
        "limit is meaningless here."
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastSettings:
    """How a spectrum is read.

    Attributes
    ----------
    matrix
        Whose eigenvalues the file has: ``"covariance"``, features by features, or ``"kernel"``, samples by
        samples. ``None``: ``shape`` and their number must tell.
    shape
        Samples and features; ``None``: not known, and HTMP is not fitted.
    population, signal
        Files of the eigenvalues of the population covariance, and of the squared coefficients of the target
        along its eigenvectors in the same order; ``None``: not known, or equal.
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

    matrix: Matrix | None = None
    shape: tuple[int, int] | None = None
    population: str | None = None
    signal: str | None = None
    points: int = 13
    bootstrap: int = 200
    confidence: float = 0.9
    level: float = 0.01
    seed: int = 0


class ForecastKeywords(TypedDict, total=False):
    """The fields of :class:`ForecastSettings` as keywords of a call, but for the files."""

    matrix: Matrix | None
    shape: tuple[int, int] | None
    points: int
    bootstrap: int
    confidence: float
    level: float
    seed: int


def forecast_file(path: Path, settings: ForecastSettings) -> dict[str, Any]:
    """Return the document of the eigenvalues of a file.

    Raises
    ------
    InputError
        RA-SA-…, as :func:`rmtaudit.matrices.samples.read_samples`, of any of the files.
    UsageError
        RA-US-402 to RA-US-404, as :func:`rmtaudit.engine.samples.spectrum.feature_spectrum`; RA-US-405 where
        the files of population and signal do not go with the others.
    NothingAuditableError
        RA-NA-003 where every eigenvalue is 0, or the largest is out of range.
    """
    from rmtaudit.matrices.samples import read_samples

    def read(file: str | None) -> torch.Tensor | None:
        return None if file is None else read_samples(file, sign="nonnegative")

    values = read_samples(path, sign="nonnegative")
    return forecast_values(
        values, settings, population=read(settings.population), signal=read(settings.signal), path=str(path)
    )


def forecast_values(
    values: torch.Tensor,
    settings: ForecastSettings,
    *,
    population: torch.Tensor | None = None,
    signal: torch.Tensor | None = None,
    path: str = "",
) -> dict[str, Any]:
    """Return the document of ``values``, shape ``(n,)``, not negative. Raises as :func:`forecast_file`."""
    from rmtaudit.engine.samples.population import population_forecast
    from rmtaudit.engine.samples.spectrum import feature_spectrum

    spectrum = feature_spectrum(values, settings.matrix, settings.shape, path=path)
    if signal is not None and population is None:
        raise UsageError(
            "RA-US-405",
            "The coefficients of the target refer to the eigenvectors of a population that is not given.",
            hint="Give --population FILE with its eigenvalues, in the same order.",
            where=path,
        )
    eigenvalues = spectrum.eigenvalues
    # rounding leaves zeros at n eps max; the grid of ridges must not start there
    positive = eigenvalues[eigenvalues > len(values) * 2.0**-52 * eigenvalues[-1]]
    mu = _grid(positive, settings.points)
    rows = _rows(spectrum, mu, settings)
    return {
        "schema": {"name": SCHEMA_NAME, "version": SCHEMA_VERSION},
        "tool": {"version": installed_version(), "options": asdict(settings), "seed": settings.seed},
        "subject": {
            "path": path,
            "matrix": spectrum.matrix,
            "samples": spectrum.samples,
            "features": spectrum.features,
            "values": len(values),
            "zeros": int((values == 0).sum()),
            "least_positive": float(positive[0]),
            "greatest": float(eigenvalues[-1]),
        },
        "isotropy": _isotropy(rows),
        "empirical": rows,
        "population": population_forecast(spectrum, population, signal, mu, path=path),
        "htmp": _htmp(spectrum, mu, settings),
    }


def _grid(positive: torch.Tensor, points: int) -> torch.Tensor:
    import torch

    low, high = float(positive.quantile(_LOW)), float(positive[-1])
    low = max(low if low < high else high / 10, _NORMAL)
    return torch.logspace(math.log10(low), math.log10(high), points, dtype=torch.float64)


def _rows(spectrum: FeatureSpectrum, mu: torch.Tensor, settings: ForecastSettings) -> list[dict[str, Any]]:
    risk = _risk_columns(spectrum, mu, settings)
    bias = _bias_columns(spectrum, mu, settings)
    return [{"mu": float(at), **more, **less} for at, more, less in zip(mu.tolist(), risk, bias, strict=True)]


def _risk_columns(
    spectrum: FeatureSpectrum, mu: torch.Tensor, settings: ForecastSettings
) -> list[dict[str, Any]]:
    """Return what cross-validation says at each ridge: nothing where the samples are not counted."""
    import torch

    from rmtaudit.kernels.ridge.sample import ridge_risk

    samples, values = spectrum.samples, spectrum.eigenvalues
    if samples is None:
        return [{"residual": None, "risk": None, "risk_exponent": None} for _ in mu]

    def curve(chosen: torch.Tensor) -> torch.Tensor:
        risk = ridge_risk(chosen, mu, samples=samples)
        return torch.stack([risk.risk, risk.exponent])

    curves, ends = curve(values), _interval(curve, values, settings)
    residual = samples - (values / (values + mu[:, None])).sum(1)
    return [
        {
            "residual": left,
            "risk": _estimate(curves[0], ends, 0, index) if left >= LEAST_RESIDUAL else None,
            "risk_exponent": _estimate(curves[1], ends, 1, index) if left >= LEAST_RESIDUAL else None,
        }
        for index, left in enumerate(residual.tolist())
    ]


def _bias_columns(
    spectrum: FeatureSpectrum, mu: torch.Tensor, settings: ForecastSettings
) -> list[dict[str, Any]]:
    """Return the mean error of the coefficients at each ridge: nothing where the features are not counted."""
    import torch

    from rmtaudit.kernels.ridge.sample import ridge_bias

    features, values = spectrum.features, spectrum.eigenvalues
    if features is None:
        return [{"bias": None, "exponent": None} for _ in mu]

    def curve(chosen: torch.Tensor) -> torch.Tensor:
        bias = ridge_bias(chosen, mu, zeros=features - len(values))
        return torch.stack([bias.bias, bias.exponent])

    curves, ends = curve(values), _interval(curve, values, settings)
    return [
        {"bias": _estimate(curves[0], ends, 0, index), "exponent": _estimate(curves[1], ends, 1, index)}
        for index in range(len(mu))
    ]


def _interval(curve: Any, values: torch.Tensor, settings: ForecastSettings) -> torch.Tensor | None:
    """Return both ends, shape ``(2, curves, m)``."""
    import torch

    from rmtaudit.kernels.ridge.sample import bootstrap_ridge

    if not settings.bootstrap:
        return None
    generator = torch.Generator().manual_seed(settings.seed)
    drawn = torch.stack(bootstrap_ridge(curve, values, draws=settings.bootstrap, generator=generator))
    ends = torch.tensor([(1 - settings.confidence) / 2, (1 + settings.confidence) / 2], dtype=torch.float64)
    return drawn.quantile(ends, dim=0)


def _estimate(values: torch.Tensor, ends: torch.Tensor | None, curve: int, index: int) -> dict[str, Any]:
    return {"value": float(values[index]), "ci": None if ends is None else ends[:, curve, index].tolist()}


def _isotropy(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Say whether bias and risk, which agree for isotropic features, do."""
    pairs = [
        (math.log(row["bias"]["value"] / row["risk"]["value"]), row["residual"])
        for row in rows
        if row["bias"] is not None
        and row["risk"] is not None
        and row["risk"]["value"] > 0 < row["bias"]["value"]
    ]
    if not pairs:
        return {"verdict": "not tested", "largest_ratio": None}
    return {
        "verdict": "contradicted"
        if any(abs(gap) * left > _AGREEMENT for gap, left in pairs)
        else "consistent",
        "largest_ratio": math.exp(max(abs(gap) for gap, _ in pairs)),
    }


def _htmp(spectrum: FeatureSpectrum, mu: torch.Tensor, settings: ForecastSettings) -> dict[str, Any]:
    from rmtaudit.kernels.htmp.estimate import fit_joint
    from rmtaudit.kernels.htmp.goodness import distance, p_value
    from rmtaudit.kernels.htmp.law import HTMP

    values, features = spectrum.eigenvalues, spectrum.features
    if settings.shape is None or features is None:
        return {"status": "skipped", "reason": "the shape is unknown: give --shape SAMPLES FEATURES"}
    try:
        fit = fit_joint(values, *settings.shape)
        far = distance(values, fit)
        share = p_value(math.sqrt(fit.size) * far, fit.kappa)
        law = HTMP.of(fit.ensemble, fit.mean)
    except (ArithmeticError, ValueError) as error:
        return {"status": "failed", "reason": str(error)}
    if not math.isfinite(far):
        return {"status": "failed", "reason": ("the eigenvalues exceed the range in which HTMP is compared")}
    verdict = "not rejected" if share >= settings.level else "rejected"
    # the law is that of the eigenvalues that both matrices share; the others of the covariance are 0
    shared = len(values) / features
    bias = shared * law.ridge_bias(mu) + (1 - shared)
    exponent = shared * law.ridge_bias(mu) * law.ridge_exponent(mu) / bias
    return {
        "status": "ok",
        "reason": "",
        "gamma": fit.gamma,
        "kappa": {"value": fit.kappa, "se": fit.se},
        "delta": law.delta,
        "ks_distance": far,
        "p_value": share,
        "verdict": verdict,
        "sentence": _HTMP_SENTENCES[verdict],
        "limit_exponent": min(2.0, law.delta) if shared == 1 else 0.0,
        "paper_exponent": 2 + law.delta,
        "curve": [
            {"mu": at, "bias": value, "exponent": slope}
            for at, value, slope in zip(mu.tolist(), bias.tolist(), exponent.tolist(), strict=True)
        ],
    }
