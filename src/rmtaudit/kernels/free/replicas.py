"""Refits to data like those that were seen: what the intervals of a prediction are from."""

from __future__ import annotations

import math

import torch

from rmtaudit.kernels.free.ended import one_atom_with_end
from rmtaudit.kernels.free.evolution import EvolvedLaw, evolve
from rmtaudit.kernels.free.fit import LevyFit, fit_many
from rmtaudit.kernels.free.forms import Form, refit
from rmtaudit.kernels.free.measure import LevyMeasure
from rmtaudit.kernels.free.validation import free_block

CURVE = 1500
_PARENT = 2.0
"""How much larger the matrix is that a replica is a block of."""


def scarcity(factor: float) -> float:
    """Return how much more the moments of a block of the large matrix vary than those of replicas do.

    Their variance goes as ``1 - n/N``.
    """
    return math.sqrt((1 - 1 / factor) / (1 - 1 / min(_PARENT, factor)))


def redrawn(
    bulk: torch.Tensor, measure: LevyMeasure, factor: float, count: int, generator: torch.Generator
) -> list[torch.Tensor]:
    """Return spectra to refit: the samples, or blocks of a free matrix with the law, a little larger.

    Parameters
    ----------
    bulk
        Shape ``(R, n)``, float64: the spectra that were fitted.
    measure, factor
        The fit, and the factor asked for.
    count
        Blocks to draw where there is one spectrum.
    generator
        Source of the blocks.
    """
    if len(bulk) > 1:
        return list(bulk)
    n = bulk.shape[-1]
    large = round(n * min(_PARENT, factor))
    parent = evolve(measure, large / n, CURVE).quantiles(large)
    return [free_block(parent, n, generator) for _ in range(count)]


def refits(spectra: list[torch.Tensor], fit: LevyFit, factor: float) -> tuple[EvolvedLaw, ...]:
    """Return the predictions of fits to spectra, made as the fit was."""
    if not spectra:
        return ()
    if fit.atoms:
        # those whose end lies before the factor are left out: the margin keeps them few
        ended = [one_atom_with_end(one).measure for one in spectra]
        return tuple(evolve(one, factor, CURVE) for one in ended if one.index * factor < 1)
    fits = fit_many(spectra, positive=fit.positive, slacks=(fit.slack,), index=fit.measure.index)
    return tuple(evolve(one[0].measure, factor, CURVE) for one in fits)


def refits_of_form(
    spectra: list[torch.Tensor], form: Form, smooth: LevyFit, factor: float
) -> tuple[tuple[EvolvedLaw, ...], tuple[EvolvedLaw, ...]]:
    """Return predictions of the form and of smooth fits from the same spectra.

    Spectra to which the form cannot be fitted, or whose law ends before the factor, are left out; none are
    returned where fewer than two are left.
    """
    pairs = []
    for one in spectra:
        try:
            measure = refit(one, form).measure
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
