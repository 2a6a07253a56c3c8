"""Estimates of kappa for one layer: what is resolved of its spectrum, which estimator ran, and why."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from rmtaudit.analyzers.base import LayerInput, MetricValue, failed, skipped
from rmtaudit.matrices.tensors import smallest_normal

if TYPE_CHECKING:
    import torch

    from rmtaudit.kernels.htmp.estimate import KappaFit

Estimator = Literal["joint", "moment", "marginal", "ks"]


def resolution_floor(given: LayerInput) -> float:
    """Return the eigenvalue below which only rounding, of the stored entries or of the solver, is seen.

    Entries rounded to a relative ``epsilon`` carry noise of standard deviation at most ``epsilon rms(W)/√3``,
    whose largest singular value is near ``(√rows + √cols)`` times that. Singular values of twice that are
    moved by the noise by no more than a small factor, which a law of their logarithms hardly sees.
    """
    from rmtaudit.kernels.spectra.scale import frobenius_norm

    spectrum = given.spectrum
    rows, cols = spectrum.rows, spectrum.cols
    rms = frobenius_norm(spectrum.eigenvalues) / math.sqrt(rows * cols)
    noise = given.epsilon / math.sqrt(3) * math.hypot(rms, smallest_normal(given.layer.dtype))
    return max(spectrum.floor, (2 * noise * (math.sqrt(rows) + math.sqrt(cols))) ** 2)


def estimate(
    values: torch.Tensor,
    rows: int,
    cols: int,
    estimator: Estimator,
    floor: float,
    joint: KappaFit | MetricValue,
) -> tuple[KappaFit | MetricValue, MetricValue]:
    """Return the estimate asked for, or by moments where that fails, and which of the two it is."""
    fitted = joint if estimator == "joint" else fit(values, rows, cols, estimator, floor)
    if not isinstance(fitted, MetricValue):
        censored = f", {fitted.censored} eigenvalues below the resolution floor" if fitted.censored else ""
        return fitted, MetricValue(value=f"{fitted.method}{censored}")
    moment = fit(values, rows, cols, "moment", floor)
    if isinstance(moment, MetricValue):
        return fitted, fitted
    return moment, MetricValue(value=f"moment, because {estimator} failed: {fitted.reason}")


def fit(
    values: torch.Tensor, rows: int, cols: int, estimator: Estimator, floor: float
) -> KappaFit | MetricValue:
    """Return an estimate, or the reason why there is none; ``joint`` censors unresolved eigenvalues."""
    from rmtaudit.kernels.htmp.censored import fit_joint_censored
    from rmtaudit.kernels.htmp.estimate import fit_joint, fit_moment
    from rmtaudit.kernels.htmp.fit import fit_ks, fit_marginal

    unresolved = int((values <= floor).sum())
    try:
        if estimator == "joint" and unresolved:
            return fit_joint_censored(values, rows, cols, floor=floor)
        if estimator in ("marginal", "ks") and unresolved:
            return failed(needs_all(unresolved))
        fits = {"joint": fit_joint, "moment": fit_moment, "marginal": fit_marginal, "ks": fit_ks}
        return fits[estimator](values, rows, cols)
    except (ArithmeticError, ValueError) as error:
        return failed(str(error))


def count_spikes(values: torch.Tensor, rows: int, cols: int) -> int | MetricValue:
    """Return the number of eigenvalues above a Marchenko-Pastur bulk, or why there is no such bulk."""
    from rmtaudit.kernels.noise.marchenko_pastur import fit_bulk

    try:
        spikes = fit_bulk(values, rows, cols, both_sides=True).spikes
    except ArithmeticError as error:
        return failed(str(error))
    if spikes >= len(values) - max(8, len(values) // 2):
        return skipped(f"half of the eigenvalues ({spikes}) lie above any bulk, so that no bulk is left")
    return spikes


def needs_all(count: int) -> str:
    """Return why something cannot be computed with so many unresolved eigenvalues."""
    return f"{count} eigenvalues are below the resolution floor, and all eigenvalues would be needed"
