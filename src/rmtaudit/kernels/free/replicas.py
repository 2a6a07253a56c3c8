"""Refits to data like those that were seen: what the intervals of a prediction are from.

The fluctuation of a block's transform is Gaussian with a known covariance
(:mod:`rmtaudit.kernels.free.fluctuations`), so that replicas are drawn as transforms: no matrix is drawn
and no eigenvalue computed.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from rmtaudit.kernels.free.empirical import Transform, empirical_transform
from rmtaudit.kernels.free.ended import one_atom_with_end
from rmtaudit.kernels.free.evolution import EvolvedLaw, evolve
from rmtaudit.kernels.free.fit import LevyFit, fit_many
from rmtaudit.kernels.free.fluctuations import Noise, Whitened, noise_of, whiten
from rmtaudit.kernels.free.forms import MOST_POINTS, Form, refit
from rmtaudit.kernels.free.measure import LevyMeasure

CURVE = 800
"""A convention: points of a replica's curve, of which only the spread is used."""
_MOST_POINTS = 400
"""Of a replica's transform: a spectrum of 1400 has so many, and lower points add least."""


def redrawn(
    bulk: torch.Tensor, measure: LevyMeasure, factor: float, count: int, generator: torch.Generator
) -> list[Transform]:
    """Return transforms to refit: those of the samples, or of blocks that the law of a fit could have given.

    Parameters
    ----------
    bulk
        Shape ``(R, n)``, float64: the spectra that were fitted.
    measure, factor
        The fit, and the factor asked for: the fluctuation is that around a matrix so large.
    count
        Replicas to draw where there is one spectrum.
    generator
        Source of the noise.

    Raises
    ------
    ArithmeticError
        As :func:`rmtaudit.kernels.free.fluctuations.whiten`.
    """
    if len(bulk) > 1:
        return [empirical_transform(one) for one in bulk]
    if not count:
        return []
    given = empirical_transform(bulk).highest(_MOST_POINTS)
    noise = noise_of(given, measure, factor)
    return [_drawn(given, noise, generator) for _ in range(count)]


def _drawn(given: Transform, noise: Noise, generator: torch.Generator) -> Transform:
    """Return a transform of the law with its bias, and a fluctuation of the transform and of the mean."""
    scores = torch.randn(noise.spread.shape[1], generator=generator, dtype=torch.float64).numpy()
    last = float(torch.randn(1, generator=generator, dtype=torch.float64))
    shift = float(noise.mean @ scores) + noise.rest * last
    both = noise.spread @ scores
    half = len(both) // 2
    f = noise.f + both[:half] + 1j * both[half:] - noise.slope * shift
    f = np.where(f.imag > given.z.imag.cpu().numpy(), f, f.real + 1j * given.z.imag.cpu().numpy())
    return dataclasses.replace(given, f=torch.from_numpy(f).to(given.f), mean=given.mean + shift)


def refits(spectra: list[Transform], fit: LevyFit, factor: float) -> tuple[EvolvedLaw, ...]:
    """Return the predictions of fits to transforms, made as the fit was."""
    if not spectra:
        return ()
    if fit.atoms:
        # those whose end lies before the factor are left out: the margin keeps them few
        ended = [one_atom_with_end(one).measure for one in spectra]
        return tuple(evolve(one, factor, CURVE) for one in ended if one.index * factor < 1)
    fits = fit_many(spectra, positive=fit.positive, slacks=(fit.slack,), index=fit.measure.index)
    return tuple(evolve(one[0].measure, factor, CURVE) for one in fits)


def refits_of_form(
    spectra: list[Transform], form: Form, smooth: LevyFit, factor: float
) -> tuple[tuple[EvolvedLaw, ...], tuple[EvolvedLaw, ...]]:
    """Return predictions of the form and of smooth fits from the same transforms.

    Those to which the form cannot be fitted, or whose law ends before the factor, are left out; none are
    returned where fewer than two are left.
    """
    if len(spectra) < 2:
        return (), ()
    pairs = []
    for one, white in zip(spectra, _whitened(spectra, form), strict=True):
        try:
            measure = refit(one, form, white).measure
        except ArithmeticError:
            continue
        if measure.index * factor < 1:
            pairs.append((one, measure))
    if len(pairs) < 2:
        return (), ()
    fits = fit_many([one for one, _ in pairs], positive=smooth.positive, slacks=(smooth.slack,))
    return (
        tuple(evolve(measure, factor, CURVE) for _, measure in pairs),
        tuple(evolve(one[0].measure, factor, CURVE) for one in fits),
    )


def _whitened(spectra: list[Transform], form: Form) -> list[Whitened | None]:
    """Return the directions of the noise of each: computed once where all have the same points."""
    first = spectra[0].highest(MOST_POINTS)
    if any(one.z.shape != first.z.shape or not torch.equal(one.z, first.z) for one in spectra):
        return [None] * len(spectra)
    try:
        white = whiten(first, form.measure)
    except ArithmeticError:
        return [None] * len(spectra)
    bias = first.f.cpu().numpy() - white.f
    return [dataclasses.replace(white, f=one.f.cpu().numpy() - bias) for one in spectra]
