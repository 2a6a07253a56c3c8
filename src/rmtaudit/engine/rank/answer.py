"""The ranking of models: their order within families, and whether a metric adds to size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from rmtaudit.engine.rank.associations import LEAST, Table, compare_metrics
from rmtaudit.engine.rank.models import Model, Models
from rmtaudit.errors import NothingAuditableError, UsageError
from rmtaudit.kernels.rank_correlation.permutation import holm
from rmtaudit.names import display_name, suggestion
from rmtaudit.report.ordering import natural_key
from rmtaudit.report.ranking import (
    RANKING_HEADER,
    Answer,
    Association,
    Comparison,
    Family,
    Measure,
    RankedMetric,
    RankedModel,
    Ranking,
    RankingSubject,
    RankingTool,
)
from rmtaudit.version import installed_version

_DRAWS, _LEVEL, _ALPHA = 1000, 0.95, 0.05


def rank_models(given: Models, path: Path, *, metrics: Sequence[str] = (), seed: int = 0) -> Ranking:
    """Return the ranking of models.

    Parameters
    ----------
    given
        The models.
    path
        Where they are from.
    metrics
        The metrics to try; those of the table of the scans where it is empty.
    seed
        Of the bootstrap and of the permutations.

    Raises
    ------
    UsageError
        RA-RK-003: no model has a metric that was asked for.
    NothingAuditableError
        RA-NA-005: no model has any of the metrics.
    """
    chosen = _chosen(given, metrics)
    models = [model for model in given.models if any(name in model.metrics for name in chosen)]
    if not models:
        raise NothingAuditableError(
            "RA-NA-005",
            "No model has a metric to rank by.",
            hint="Scan the models with an analyzer that yields numbers, or choose others with --metrics.",
            where=str(path),
        )
    measures = [_measure(name, models, chosen, seed) for name in _measures_of(models)]
    measures, tests = _adjusted(measures)
    return Ranking(
        schema=RANKING_HEADER,
        tool=RankingTool(version=installed_version(), seed=seed, draws=_DRAWS, level=_LEVEL, alpha=_ALPHA),
        subject=RankingSubject(
            path=str(path),
            models=len(models),
            left_out=given.left_out + len(given.models) - len(models),
        ),
        metrics=chosen,
        tests=tests,
        families=tuple(_families(models, chosen)),
        measures=tuple(_answered(measure) for measure in measures),
    )


def _chosen(given: Models, metrics: Sequence[str]) -> tuple[str, ...]:
    known = {name: None for model in given.models for name in model.metrics}
    for name in metrics:
        if name not in known:
            raise UsageError(
                "RA-RK-003",
                f"No model has the metric {display_name(name)!r}.{suggestion(name, known)}",
                hint=f"Metrics: {', '.join(map(display_name, known)) or 'none'}.",
                where="--metrics",
            )
    return tuple(metrics) or tuple(name for name in given.columns if name in known)


def _measures_of(models: Sequence[Model]) -> list[str]:
    return list(dict.fromkeys(name for model in models for name in model.quality))


def _measure(name: str, models: Sequence[Model], metrics: tuple[str, ...], seed: int) -> Measure:
    judged = [model for model in models if name in model.quality]
    higher = {model.quality[name].higher_is_better for model in judged}
    if len(higher) > 1:
        raise UsageError(
            "RA-RK-004",
            f"The models disagree on whether a higher {display_name(name)!r} is better.",
            hint="Correct higher_is_better in the manifest.",
        )
    sign = 1.0 if higher == {True} else -1.0
    labels = {label: place for place, label in enumerate(dict.fromkeys(model.family for model in judged))}
    table = Table(
        names=metrics,
        metrics=np.array(
            [[model.metrics.get(metric, np.nan) for model in judged] for metric in metrics], dtype=float
        ).reshape(len(metrics), len(judged)),
        size=np.array([model.parameters for model in judged], dtype=float),
        quality=np.array([sign * model.quality[name].value for model in judged], dtype=float),
        strata=np.array([labels[model.family] for model in judged], dtype=np.int64),
    )
    generator = np.random.default_rng(seed)
    size, compared = compare_metrics(table, draws=_DRAWS, level=_LEVEL, generator=generator)
    counts = np.bincount(table.strata)
    return Measure(
        name=name,
        higher_is_better=higher == {True},
        models=len(judged),
        families=int((counts > 1).sum()),
        answer=Answer.TOO_FEW,
        size=size,
        metrics=tuple(compared),
    )


def _adjusted(measures: Sequence[Measure]) -> tuple[list[Measure], int]:
    """Return the measures with adjusted p-values, and the number of partial correlations tested.

    The tests of tau and those of partial tau are two questions, each adjusted for all metrics and measures.
    The baseline is no metric that was tried: its p-value stays as it is.
    """
    alone = _holm_of([each.alone for measure in measures for each in measure.metrics])
    given = _holm_of([each.given_size for measure in measures for each in measure.metrics])
    places = iter(zip(alone, given, strict=True))
    adjusted = []
    for measure in measures:
        compared = []
        for each in measure.metrics:
            first, second = next(places)
            compared.append(replace(each, alone=first, given_size=second))
        size = replace(measure.size, alone=replace(measure.size.alone, p_adjusted=measure.size.alone.p))
        adjusted.append(replace(measure, size=size, metrics=tuple(compared)))
    return adjusted, sum(each is not None and each.p is not None for each in given)


def _holm_of(associations: Sequence[Association | None]) -> list[Association | None]:
    tested = [place for place, each in enumerate(associations) if each is not None and each.p is not None]
    values = holm([each.p for each in associations if each is not None and each.p is not None])
    result = list(associations)
    for place, value in zip(tested, values, strict=True):
        one = result[place]
        assert one is not None
        result[place] = replace(one, p_adjusted=value)
    return result


def _answered(measure: Measure) -> Measure:
    return replace(measure, answer=_answer(measure.size, measure.metrics))


def _answer(size: Comparison, metrics: Sequence[Comparison]) -> Answer:
    tau = size.alone.tau
    if tau is not None and abs(tau) > 1 - 1e-12:
        return Answer.SIZE_ORDERS_ALL
    tested = [
        each.given_size for each in metrics if each.given_size is not None and each.given_size.p is not None
    ]
    if size.models < LEAST:
        return Answer.TOO_FEW
    adds = any(each.p_adjusted is not None and each.p_adjusted < _ALPHA for each in tested)
    return Answer.ADDS if adds else Answer.NOT_SHOWN


def _families(models: Sequence[Model], metrics: tuple[str, ...]) -> list[Family]:
    groups: defaultdict[str, list[Model]] = defaultdict(list)
    for model in models:
        groups[model.family].append(model)
    families = []
    for name in sorted(groups, key=natural_key):
        members = sorted(groups[name], key=lambda model: (-model.parameters, natural_key(model.name)))
        places = {metric: _places(members, metric) for metric in metrics}
        families.append(
            Family(
                name=name,
                models=tuple(
                    RankedModel(
                        name=model.name,
                        parameters=model.parameters,
                        metrics={
                            metric: RankedMetric(
                                value=model.metrics[metric], place=places[metric][model.metrics[metric]]
                            )
                            for metric in metrics
                            if metric in model.metrics
                        },
                        quality=model.quality,
                    )
                    for model in members
                ),
            )
        )
    return families


def _places(models: Sequence[Model], metric: str) -> dict[float, int]:
    values = sorted((model.metrics[metric] for model in models if metric in model.metrics), reverse=True)
    places: dict[float, int] = {}
    for place, value in enumerate(values, start=1):
        places.setdefault(value, place)
    return places
