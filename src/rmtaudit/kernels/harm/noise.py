"""Gaussian changes of a given relative size, images of noise, and means with their standard errors."""

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


def images_of_noise(shape: tuple[int, int, int, int], generator: torch.Generator) -> torch.Tensor:
    """Return Gaussian noise with the spectrum of photographs: amplitudes fall as one over the frequency.

    The amplitude spectra of natural images fall about so (Field 1987, *J. Opt. Soc. Am. A* 4, 2379); white
    noise has most of its energy at frequencies that photographs hardly have. The mean, whose amplitude the
    law does not give, gets that of the lowest frequency.

    Parameters
    ----------
    shape
        Images, channels, height and width. Channels are independent.
    generator
        On the CPU.

    Returns
    -------
    Tensor
        float64, with variance 1 over all entries.
    """
    white = torch.randn(shape, generator=generator, dtype=torch.float64)
    rows, cols = (torch.fft.fftfreq(side, dtype=torch.float64) for side in shape[2:])
    frequency = torch.hypot(rows[:, None], cols[None])
    frequency[0, 0] = 1 / max(shape[2:])
    noise: torch.Tensor = torch.fft.ifft2(torch.fft.fft2(white) / frequency).real
    return noise / noise.square().mean().sqrt()


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
