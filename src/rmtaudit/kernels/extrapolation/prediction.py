"""From principal blocks to the larger matrix: which route, with what verdict, and how sure of each number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from rmtaudit.kernels.extrapolation.answer import Prediction
from rmtaudit.kernels.extrapolation.atomic import atoms_alone
from rmtaudit.kernels.extrapolation.functionals import Law
from rmtaudit.kernels.extrapolation.growth import GrownGram, grown_gram, missed_variance
from rmtaudit.kernels.extrapolation.nested import USUAL_SLACK, Nested, nested_scores
from rmtaudit.kernels.extrapolation.parts import diagonal_share, principal_part
from rmtaudit.kernels.extrapolation.spikes import carried, cleaned, deflated, shared_spikes, without
from rmtaudit.kernels.extrapolation.verdict import Assumption, Obstacle, Verdict
from rmtaudit.kernels.free.bands import FORGIVEN
from rmtaudit.kernels.free.cumulants import cumulant_laws
from rmtaudit.kernels.free.decompression import UNFIT, Decompression, decompress_spectrum, take_spikes
from rmtaudit.kernels.free.determination import LEAST_SMOOTH, Determination, Level, Outcome, determine
from rmtaudit.kernels.free.empirical import ConcentratedError
from rmtaudit.kernels.free.evolution import evolve
from rmtaudit.kernels.free.freeness import LEVEL, FreenessEvidence, freeness_evidence

_TESTED = 1024
"""A convention: order of the part of the block that tests use."""
_POINTS, _CELLS = 1000, 128  # of a replica
_POOR, _AS_GOOD = 0.15, 1.1
"""A convention: the share of its spread by which quarters may miss the block; and the ratio to that of a
simple law that does as well."""
_STRUCTURED = 0.2
"""A convention: the share of the variance on the diagonal from which rows differ in size."""
_MISSED = 0.1
"""Of the variance at the target: at a tenth rows are not free of each other."""
_TIE = 1.25
"""A tie goes to the route that knows the dimension, hence the rank."""
_LEAST = 1.25
"""The smallest factor that is offered instead of one that is refused."""
_COMPARED, _OUTSIDE = 49, 0.01
"""Points at which a fit is compared with the band, and by how much it may leave it."""
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
        Shape ``(n,)`` or ``(R, n)``, float64, any device: eigenvalues of one or several random blocks.
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
        return _refused(rows, factor, Verdict(obstacle=Obstacle.ATOMS, detail=atoms.reason))
    try:
        return _by_best_route(
            rows, factor, matrix, dimension=dimension, replicas=replicas, generator=generator
        )
    except ConcentratedError as error:
        if float(rows.max() - rows.min()) <= _POINT * float(rows.abs().max()):
            raise
        # the block, or a quarter of it that a test draws
        return _refused(rows, factor, Verdict(obstacle=Obstacle.CONCENTRATED, detail=str(error)))


def _by_best_route(
    rows: torch.Tensor,
    factor: float,
    matrix: torch.Tensor | None,
    dimension: int | None,
    replicas: int,
    generator: torch.Generator,
) -> Prediction:
    tested = None if matrix is None else principal_part(matrix, min(len(matrix), _TESTED), generator)
    share = None if matrix is None else diagonal_share(matrix, rows)
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
        return _by_rows(
            rows,
            factor,
            matrix,
            dimension=dimension,
            nested=nested,
            share=share,
            missed=missed,
            replicas=replicas,
            generator=generator,
        )
    return _freely(
        rows,
        factor,
        tested,
        nested=nested,
        share=share,
        dimension=dimension,
        replicas=replicas,
        generator=generator,
    )


def _refused(rows: torch.Tensor, factor: float, verdict: Verdict) -> Prediction:
    """Return a refusal before any fit."""
    return Prediction(
        verdict=verdict,
        route="free",
        law=None,
        replicas=(),
        alternatives=(),
        extremes=(),
        pooled=False,
        positive=bool((rows >= 0).all()),
        bulk=rows.cpu(),
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
    evidence = None if tested is None else freeness_evidence(tested, generator)
    bulk = take_spikes(rows)[0]
    known = True if dimension is not None else None
    decompression, determined = None, None
    obstacle: Obstacle | None = None
    try:
        search = evidence is None or evidence.largest_factor >= _LEAST
        determined = determine(bulk, factor, positive=known, search=search)
        hopeless = determined.outcome is Outcome.REFUSED
        count = 0 if hopeless or (evidence is not None and factor > evidence.largest_factor) else replicas
        decompression = decompress_spectrum(rows, factor, generator=generator, replicas=count)
    except ArithmeticError:
        obstacle = Obstacle.FAILED
    positive = bool(known) if determined is None else determined.positive
    if tested is not None and nested is None and decompression is not None:
        # a law that ends was fitted without smoothing, and its quarters are fitted with the usual one
        slack = decompression.fit.slack if decompression.fit.slack > 0 else USUAL_SLACK
        nested = nested_scores(tested, generator, positive=positive, slack=slack)
    verdict = _verdict(factor, determined, decompression, evidence=evidence, nested=nested, obstacle=obstacle)
    law: Law | None = None
    fitted = False
    extremes: tuple[Law, ...] = ()
    if not verdict.refused:
        assert determined is not None
        assert decompression is not None
        level = determined.level
        fitted = decompression.verdict != UNFIT and _within(decompression.law, level, factor)
        law = decompression.law if fitted else level.central
        extremes = (*level.extremes, *(decompression.extremes if fitted else ()))
    spikes = _spikes(decompression, bulk, law, dimension, factor)
    accepted = decompression if fitted else None
    return Prediction(
        verdict=verdict,
        route="free",
        law=law,
        replicas=accepted.replicas if accepted else (),
        alternatives=accepted.alternatives if accepted else (),
        extremes=extremes,
        pooled=bool(accepted and accepted.pooled),
        positive=positive,
        bulk=bulk.cpu(),
        spikes=spikes,
        free=decompression,
        nested=nested,
        diagonal_share=share,
        baselines=decompression.baselines if decompression else _baselines(bulk, factor),
        order=rows.shape[-1] * factor,
        smooth=accepted.smooth if accepted else None,
        smoothed=accepted.smoothed if accepted else (),
        freeness=evidence,
        determination=determined,
    )


def _verdict(
    factor: float,
    determined: Determination | None,
    decompression: Decompression | None,
    evidence: FreenessEvidence | None,
    nested: Nested | None,
    obstacle: Obstacle | None,
) -> Verdict:
    """Return the verdict on a free decompression: freeness first, then what the block determines."""
    if obstacle is not None or determined is None or decompression is None:
        return Verdict(obstacle=obstacle or Obstacle.FAILED)
    tolerable = math.inf if evidence is None else evidence.largest_factor
    level = determined.level
    if factor > tolerable:
        largest = determined.largest_factor
        possible = min(tolerable, factor if largest is None else largest)
        answers = determined.outcome is not Outcome.REFUSED or largest is not None
        return Verdict(
            obstacle=Obstacle.NOT_FREE,
            measure=tolerable,
            largest_factor=possible if answers and possible >= _LEAST else None,
        )
    if determined.outcome is Outcome.REFUSED:
        fitting = [one for one in determined.levels if one.fits]
        small = level.answers  # but for the size of the block
        level = fitting[-1] if fitting else level
        return Verdict(
            obstacle=Obstacle.SMALL if small else Obstacle.WIDE if fitting else Obstacle.SHAPE,
            measure=LEAST_SMOOTH if small else level.width,
            share=level.share,
            width=level.width,
            largest_factor=determined.largest_factor,
        )
    if nested is not None and nested.free > _POOR:
        return Verdict(obstacle=Obstacle.MISSED, measure=nested.free)
    assumptions = []
    departs = evidence is not None and evidence.p_value < LEVEL
    if evidence is None or departs:
        assumptions.append(Assumption.FREE)
    if determined.outcome is Outcome.IF_SMOOTH:
        assumptions.append(Assumption.SMOOTH)
    simple = decompression.simple
    if nested is not None and nested.baselines:
        order, best = nested.best_baseline
        simple = order if best <= _AS_GOOD * nested.free else simple
    return Verdict(
        assumptions=tuple(assumptions), share=level.share, width=level.width, simple=simple, departs=departs
    )


def _within(law: Law, level: Level, factor: float) -> bool:
    """Return whether a law lies within the band, up to shifts that are not counted in it."""
    levels = torch.linspace(0.02, 0.98, _COMPARED, dtype=torch.float64)
    x = level.central.ppf(levels)
    shift = FORGIVEN * level.central.scale * math.sqrt(factor)
    low = torch.stack([one.cdf(x - shift) for one in level.extremes]).amin(0)
    high = torch.stack([one.cdf(x + shift) for one in level.extremes]).amax(0)
    own = law.cdf(x)
    return bool(((own >= low - _OUTSIDE) & (own <= high + _OUTSIDE)).all())


def _spikes(
    decompression: Decompression | None,
    bulk: torch.Tensor,
    law: Law | None,
    dimension: int | None,
    factor: float,
) -> tuple[tuple[float, float | None], ...]:
    if decompression is None:
        return ()
    if law is None:
        return tuple((value, None) for value, _ in decompression.spikes)
    if dimension is None:
        return decompression.spikes
    return tuple(
        (value, carried(bulk[0], law, dimension, factor, value)) for value, _ in decompression.spikes
    )


def _not_free_rows(missed: float) -> Verdict:
    """Return why growth by rows is refused; ``missed`` is in units of the variance that entries give."""
    if missed < 0:
        return Verdict(obstacle=Obstacle.SHARED, measure=min(1.0, -missed))
    return Verdict(obstacle=Obstacle.ORTHOGONAL, measure=1 + missed)


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
    verdict = Verdict()
    law: GrownGram | None = None
    drawn: tuple[Law, ...] = ()
    if abs(missed) > _MISSED:
        verdict = _not_free_rows(missed)
    elif score > _POOR:
        verdict = Verdict(obstacle=Obstacle.MISSED, measure=score)
    else:
        order, best = nested.best_baseline if nested.baselines else (0, math.inf)
        verdict = Verdict(simple=order if best <= _AS_GOOD * score else None)
        law = grown_gram(bulk.mean(0), room, factor)
        lost = abs(law.mass - 1)
        if lost > _LOST:
            verdict, law = Verdict(obstacle=Obstacle.LOST, measure=lost), None
        elif len(rows) > 1:
            drawn = tuple(_replica(one, room, factor) for one in bulk)
        else:
            drawn = tuple(_halves(matrix, dimension, factor, replicas, generator))
    return Prediction(
        verdict=verdict,
        route="rows",
        law=law,
        replicas=drawn,
        alternatives=(),
        extremes=(),
        pooled=len(rows) > 1 and law is not None,
        positive=True,
        bulk=bulk.cpu(),
        spikes=tuple(
            (value, None if law is None else carried(bulk[0], law, room, factor, value)) for value in outliers
        ),
        free=None,
        nested=nested,
        diagonal_share=share,
        baselines=_baselines(bulk, factor),
        order=rows.shape[-1] * factor,
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
        values, places = shared_spikes(principal_part(matrix, n // 2, generator))
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
