"""What the eigenvalues of the population forecast, and whether the sample can come from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rmtaudit.errors import UsageError

if TYPE_CHECKING:
    import torch

    from rmtaudit.engine.samples.spectrum import FeatureSpectrum

_SLACK = (5.0, 0.05)
"""Degrees of freedom, absolute and relative, by which sample and population may differ: those of a sample
vary by about 1 around their equivalent, and by more where the features have heavy tails."""


def population_forecast(
    spectrum: FeatureSpectrum,
    population: torch.Tensor | None,
    signal: torch.Tensor | None,
    mu: torch.Tensor,
    *,
    path: str = "",
) -> dict[str, Any]:
    """Return the deterministic equivalent at the ridges ``mu``, beside the degrees of freedom of the sample.

    Raises
    ------
    UsageError
        RA-US-405 where the number of samples is not known, or the lists have different lengths.
    """
    import torch

    from rmtaudit.kernels.ridge.population import population_risk

    if population is None:
        return {"status": "skipped", "reason": "the eigenvalues of the population are not given"}
    samples, features = spectrum.samples, spectrum.features
    if samples is None:
        raise _mismatch("The number of samples is unknown.", "Give --shape SAMPLES FEATURES.", path)
    if features is not None and len(population) != features:
        raise _mismatch(
            f"The population has {len(population)} eigenvalues, and there are {features} features.",
            "Give one eigenvalue for each feature, zeros included.",
            path,
        )
    squares = torch.ones_like(population) if signal is None else signal
    if len(squares) != len(population):
        raise _mismatch(
            f"The target has {len(squares)} squared coefficients, and the population {len(population)} "
            "eigenvalues.",
            "Give one for each, in the same order.",
            path,
        )
    # a kernel matrix is n times the sample covariance, and so is its ridge
    unit = float(samples) if spectrum.matrix == "kernel" else 1.0
    try:
        forecast = population_risk(population, squares, mu / unit, samples=samples)
    except (ArithmeticError, ValueError) as error:
        return {"status": "failed", "reason": str(error)}
    values = spectrum.eigenvalues
    degrees = (values / (values + mu[:, None])).sum(1)
    gap = (degrees - forecast.degrees).abs()
    fits = bool((gap <= _SLACK[0] + _SLACK[1] * forecast.degrees).all())
    return {
        "status": "ok",
        "reason": "",
        "signal": "random" if signal is None else "given",
        "verdict": "consistent" if fits else "contradicted",
        "trace_ratio": float(values.sum() / unit / population.sum()),
        "curve": [
            {
                "mu": float(at),
                "kappa": float(kappa) * unit,
                "risk": float(risk),
                "degrees": float(equivalent),
                "degrees_of_sample": float(own),
            }
            for at, kappa, risk, equivalent, own in zip(
                mu, forecast.kappa, forecast.risk, forecast.degrees, degrees, strict=True
            )
        ],
    }


def _mismatch(message: str, hint: str, path: str) -> UsageError:
    return UsageError("RA-US-405", message, hint=hint, where=path)
