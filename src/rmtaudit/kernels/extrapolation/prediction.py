"""From principal blocks to the larger matrix: which route, with what verdict, and how sure of each number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from rmtaudit.kernels.extrapolation.answer import ACCEPTED, AS_GOOD, REFUSED, Prediction
from rmtaudit.kernels.extrapolation.atomic import atoms_alone
from rmtaudit.kernels.extrapolation.functionals import Law
from rmtaudit.kernels.extrapolation.growth import GrownGram, grown_gram, missed_variance
from rmtaudit.kernels.extrapolation.nested import Nested, nested_scores
from rmtaudit.kernels.extrapolation.spikes import carried, cleaned, deflated, shared_spikes, without
from rmtaudit.kernels.free.cumulants import cumulant_laws
from rmtaudit.kernels.free.decompression import decompress_spectrum, take_spikes
from rmtaudit.kernels.free.evolution import evolve
from rmtaudit.kernels.free.fit import ConcentratedError

_TESTED = 1024
_POINTS, _CELLS = 1000, 128  # of a replica
_POOR, _AS_GOOD = 0.15, 1.1
_STRUCTURED = 0.2
_MISSED = 0.1
"""Of the variance at the target: at a tenth rows are not free of each other."""
_TIE = 1.25
"""A tie goes to the route that knows the dimension, hence the rank."""
_POINT = 1e-12
"""Relative width of a spectrum that is one point."""
_LOST = 0.01
"""Of the mass of a law: more, and the curve has missed a part of it."""


def predict(
    spectra: torch.Tensor,
    factor: float,
    *,
    generator: torch.Generator,
    matrix: torch.Tensor | None = None,
    dimension: int | None = None,
    replicas: int = 10,
) -> Prediction:
    """Predict the spectrum of a matrix ``factor`` times as large as its principal blocks.

    Parameters
    ----------
    spectra
        Shape ``(n,)`` or ``(R, n)``, float64: eigenvalues of one block, or of several random ones.
    factor
        ``N/n``, above 1.
    generator
        Source of the tests and of the replicas.
    matrix
        Shape ``(n, n)``, float64: the first block, for the tests that eigenvalues alone do not allow.
    dimension
        Of a Gram matrix, the entries of the vectors whose inner products it holds: opens the route ``rows``.
    replicas
        Replicas behind the intervals of a single block; 0 for none. Several blocks are their own.

    Raises
    ------
    ValueError
        For a factor not above 1, fewer than 32 eigenvalues, or eigenvalues that are all alike.
    """
    if not factor > 1:
        raise ValueError(f"the factor must be above 1, not {factor}")
    rows = spectra.double().reshape(-1, spectra.shape[-1]).sort(-1).values
    if dimension is not None:
        rows = cleaned(rows)
    atoms = next(filter(None, map(atoms_alone, rows)), None)
    if atoms is not None:
        return _refused(rows, factor, atoms.reason)
    try:
        return _by_best_route(rows, factor, matrix, dimension, replicas, generator)
    except ConcentratedError as error:
        if float(rows.max() - rows.min()) <= _POINT * float(rows.abs().max()):
            raise
        # the block, or a quarter of it that a test draws
        return _refused(rows, factor, str(error))


def _by_best_route(
    rows: torch.Tensor,
    factor: float,
    matrix: torch.Tensor | None,
    dimension: int | None,
    replicas: int,
    generator: torch.Generator,
) -> Prediction:
    tested = None if matrix is None else _part(matrix, min(len(matrix), _TESTED), generator)
    share = None if matrix is None else _diagonal_share(matrix, rows)
    nested = None
    if tested is not None and dimension is not None:
        nested = nested_scores(tested, generator, positive=True, dimension=dimension)
    missed = 0.0
    if matrix is not None and dimension is not None:
        missed = missed_variance(deflated(matrix), dimension, factor)
    if _grows_by_rows(nested, share, missed):
        assert nested is not None
        assert matrix is not None
        assert dimension is not None
        return _by_rows(rows, factor, matrix, dimension, nested, share, missed, replicas, generator)
    return _freely(rows, factor, tested, nested, share, dimension, replicas, generator)


def _refused(rows: torch.Tensor, factor: float, reason: str) -> Prediction:
    """Return a refusal before any fit."""
    return Prediction(
        verdict=REFUSED,
        reason=reason,
        route="free",
        law=None,
        replicas=(),
        alternatives=(),
        extremes=(),
        pooled=False,
        positive=bool((rows >= 0).all()),
        bulk=rows,
        spikes=(),
        free=None,
        nested=None,
        diagonal_share=None,
        baselines={},
        order=rows.shape[-1] * factor,
    )


def _grows_by_rows(nested: Nested | None, share: float | None, missed: float) -> bool:
    if nested is None or nested.rows is None or share is None:
        return False
    return share >= _STRUCTURED or (nested.rows < _TIE * nested.free and abs(missed) <= _MISSED)


def _freely(
    rows: torch.Tensor,
    factor: float,
    tested: torch.Tensor | None,
    nested: Nested | None,
    share: float | None,
    dimension: int | None,
    replicas: int,
    generator: torch.Generator,
) -> Prediction:
    found = decompress_spectrum(rows, factor, generator=generator, matrix=tested, replicas=replicas)
    bulk = take_spikes(rows)[0]
    verdict, reason = found.verdict, found.reason
    if tested is not None and nested is None:
        nested = nested_scores(tested, generator, positive=bool(found.fit.positive), slack=found.fit.slack)
    if verdict != REFUSED and nested is not None and nested.free > _POOR:
        verdict = REFUSED
        reason = f"real quarters of the block miss it by {nested.free:.0%} of the spread"
    if verdict == ACCEPTED and nested is not None and nested.baselines:
        order, best = nested.best_baseline
        if best <= _AS_GOOD * nested.free:
            verdict = AS_GOOD
            reason = f"{order} free cumulants predict the block from real quarters of it as well"
    positive = bool(found.fit.positive)
    spikes: tuple[tuple[float, float | None], ...] = found.spikes
    if dimension is not None:
        spikes = tuple(
            (value, carried(bulk[0], found.law, dimension, factor, value)) for value, _ in found.spikes
        )
    refused = verdict == REFUSED
    return Prediction(
        verdict,
        reason,
        "free",
        None if refused else found.law,
        () if refused else found.replicas,
        () if refused else found.alternatives,
        () if refused else found.extremes,
        found.pooled and not refused,
        positive,
        bulk,
        tuple((value, None) for value, _ in spikes) if refused else spikes,
        found,
        nested,
        share,
        found.baselines,
        rows.shape[-1] * factor,
        None if refused else found.smooth,
        () if refused else found.smoothed,
    )


def _by_rows(
    rows: torch.Tensor,
    factor: float,
    matrix: torch.Tensor,
    dimension: int,
    nested: Nested,
    share: float | None,
    missed: float,
    replicas: int,
    generator: torch.Generator,
) -> Prediction:
    places = shared_spikes(matrix)[1]
    outliers = [float(rows[0, -1 - place]) for place in places]
    bulk = without(rows, places)
    room = dimension - len(outliers)
    score = nested.rows if nested.rows is not None else math.inf
    verdict, reason = ACCEPTED, ""
    law: GrownGram | None = None
    drawn: tuple[Law, ...] = ()
    if abs(missed) > _MISSED:
        verdict, reason = (
            REFUSED,
            f"rows have directions in common: {abs(missed):.0%} of the variance is missed",
        )
    elif score > _POOR:
        verdict, reason = REFUSED, f"real quarters of the rows miss them all by {score:.0%} of the spread"
    else:
        order, best = nested.best_baseline if nested.baselines else (0, math.inf)
        if best <= _AS_GOOD * score:
            verdict = AS_GOOD
            reason = f"{order} free cumulants predict the block from its quarter as well"
        law = grown_gram(bulk.mean(0), room, factor)
        lost = abs(law.mass - 1)
        if lost > _LOST:
            verdict, reason, law = REFUSED, f"the mass of the computed law is off by {lost:.1g}", None
        elif len(rows) > 1:
            drawn = tuple(_replica(one, room, factor) for one in bulk)
        else:
            drawn = tuple(_halves(matrix, dimension, factor, replicas, generator))
    return Prediction(
        verdict,
        reason,
        "rows",
        law,
        drawn,
        (),
        (),
        len(rows) > 1 and law is not None,
        True,
        bulk,
        tuple(
            (value, None if law is None else carried(bulk[0], law, room, factor, value)) for value in outliers
        ),
        None,
        nested,
        share,
        _baselines(bulk, factor),
        rows.shape[-1] * factor,
    )


def _halves(
    matrix: torch.Tensor, dimension: int, factor: float, count: int, generator: torch.Generator
) -> Sequence[Law]:
    """Return the laws from random halves of the vectors: they spread as the whole does among its like.

    A half without replacement varies around the whole by ``σ²(2/n - 1/n)``: the variance of the whole.
    """
    n = len(matrix)
    out = []
    for _ in range(count):
        values, places = shared_spikes(_part(matrix, n // 2, generator))
        bulk = without(values, places)
        out.append(_replica(bulk, dimension - len(places), factor * n / (n // 2)))
    return out


def _replica(eigenvalues: torch.Tensor, dimension: int, factor: float) -> GrownGram:
    return grown_gram(eigenvalues, dimension, factor, points=_POINTS, cells=_CELLS)


def _baselines(bulk: torch.Tensor, factor: float) -> dict[int, Law]:
    return {
        order: evolve(law, factor, 1500)
        for order, law in cumulant_laws(bulk).items()
        if law.index * factor < 1
    }


def _part(matrix: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    if size == len(matrix):
        return matrix
    chosen = torch.randperm(len(matrix), generator=generator)[:size]
    return matrix[chosen][:, chosen]


def _diagonal_share(matrix: torch.Tensor, rows: torch.Tensor) -> float:
    variance = float(rows[0].var(correction=0))
    return float(matrix.diagonal().var(correction=0)) / variance if variance > 0 else 0.0
