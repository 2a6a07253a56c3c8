"""Gaussian changes of a given relative size, and means with their standard errors."""

from __future__ import annotations

import torch


def relative_noise(weight: torch.Tensor, size: float, generator: torch.Generator) -> torch.Tensor:
    """Return a Gaussian matrix with ``size`` times the Frobenius norm of a weight.

    Parameters
    ----------
    weight
        Any shape, real floating dtype.
    size
        Frobenius norm of the noise over that of the weight.
    generator
        On the CPU, so that the noise is the same on every device.

    Returns
    -------
    Tensor
        Shape, dtype and device of the weight.
    """
    draw = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    scale = size * float(torch.linalg.vector_norm(weight.double())) / float(torch.linalg.vector_norm(draw))
    return (draw * scale).to(weight)


def mean_and_error(values: torch.Tensor) -> tuple[float, float | None]:
    """Return the mean over draws and samples, and its standard error.

    Draws and samples are crossed: the variances of the means by draw and by sample add up. What they share
    counts twice, so that the error is rather too large.

    Parameters
    ----------
    values
        Shape ``(draws, samples)``. A single draw stands for a change that is not random.

    Returns
    -------
    tuple of float
        Mean, and standard error: ``None`` for a single sample.
    """
    draws, samples = values.shape
    if samples < 2:
        return float(values.mean()), None
    variance = values.mean(0).var() / samples
    if draws > 1:
        variance = variance + values.mean(1).var() / draws
    return float(values.mean()), float(variance.sqrt())
