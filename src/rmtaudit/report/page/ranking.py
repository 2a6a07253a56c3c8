"""The page of a ranking: whether a metric adds to size, the plots of it, and a table for each family."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rmtaudit.names import display_name
from rmtaudit.report.numbers import format_value, human_count
from rmtaudit.report.page.environment import render
from rmtaudit.report.page.parts import Cell, Column, Fact, Row, State, Table, Tone, facts
from rmtaudit.report.page.scatter import Plot, Point, Scale, scatter_plot
from rmtaudit.report.ranking import Answer, Comparison, Family, Measure, RankedModel, Ranking
from rmtaudit.report.ranking_text import (
    answer_sentence,
    comparison_rows,
    legend,
    reversal_sentences,
    subject_line,
    without_quality,
)

MOST_MODELS = 10_000
"""Rows of all tables of families together."""

_MOST_METRICS, _MOST_MEASURES = 6, 6
_TONES: dict[Answer, Tone] = {Answer.ADDS: "info", Answer.SIZE_ORDERS_ALL: "info"}
_EXPLAINED = ("tau", "p", "given size", "", "all families")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What is said of a measure of quality, with the table that it follows from."""

    name: str
    state: State
    sentence: str
    notes: Sequence[str]
    table: Table


def ranking_page(ranking: Ranking) -> str:
    """Return the page of a ranking."""
    metrics = ranking.metrics[:_MOST_METRICS]
    shown = ranking.measures[:_MOST_MEASURES]
    models = sum(len(family.models) for family in ranking.families)
    return render(
        "ranking.html.j2",
        title=f"{models} model{'s' * (models != 1)} ranked",
        about=subject_line(ranking),
        answers=[_answered(ranking, place, measure) for place, measure in enumerate(ranking.measures)],
        unanswered=without_quality(ranking),
        sizes=[plot for name in metrics if (plot := _against_size(ranking, name))],
        quality=[
            plot
            for measure in shown
            for name in ("parameters", *metrics)
            if (plot := _against_quality(ranking, name, measure.name))
        ],
        families=list(_families(ranking)),
        place=dict(legend(ranking))["(1)"],
        left_out=_left_out(models),
        provenance=_provenance(ranking),
    )


def _answered(ranking: Ranking, place: int, measure: Measure) -> Answered:
    rows = comparison_rows(measure)
    compared = (measure.size, *measure.metrics)
    meaning = dict(legend(ranking))
    labels = ("metric", "tau", "p of tau", "given size", "p given size", "all families")
    explained = ("", *(meaning.get(name, "") for name in _EXPLAINED))
    columns = tuple(
        Column(label=label, numeric=number > 0, explained=text)
        for number, (label, text) in enumerate(zip(labels, explained, strict=True))
    )
    return Answered(
        name=measure.name,
        state=State(str(measure.answer), _TONES.get(measure.answer, "unknown")),
        sentence=answer_sentence(ranking, measure),
        notes=[*reversal_sentences(measure), *_reasons(measure)],
        table=Table(
            id=f"measure-{place}",
            caption=rows.title,
            columns=columns,
            rows=tuple(
                Row(cells=tuple(map(_cell, texts, _numbers(each))))
                for texts, each in zip(rows.rows, compared, strict=True)
            ),
            noun="rows",
        ),
    )


def _cell(text: str, number: float | None) -> Cell:
    return Cell(text=text, sort=number)


def _numbers(each: Comparison) -> tuple[float | None, ...]:
    """Return what the cells of a row are sorted by."""
    alone, given = each.alone, each.given_size
    partial, p = (None, None) if given is None else (given.tau, given.p_adjusted)
    return (None, alone.tau, alone.p_adjusted, partial, p, each.pooled)


def _reasons(measure: Measure) -> Iterator[str]:
    """Yield why p-values, intervals or taus are missing, each reason once."""
    associations = (
        part for each in (measure.size, *measure.metrics) for part in (each.alone, each.given_size)
    )
    for reason in dict.fromkeys(part.reason for part in associations if part is not None and part.reason):
        yield f"Missing: {reason}."


def _families(ranking: Ranking) -> Iterator[Table]:
    room = MOST_MODELS
    for place, family in enumerate(ranking.families):
        if room <= 0:
            return
        yield _family(ranking, family, place=place, room=room)
        room -= len(family.models)


def _family(ranking: Ranking, family: Family, *, place: int, room: int) -> Table:
    known = {name for model in family.models for name in model.quality}
    measures = [measure for measure in ranking.measures if measure.name in known]
    columns = [Column(label="model"), Column(label="parameters", numeric=True)]
    for measure in measures:
        better = "higher is better" if measure.higher_is_better else "lower is better"
        columns.append(Column(label=measure.name, numeric=True, explained=f"quality, {better}"))
    columns += [Column(label=name, numeric=True) for name in ranking.metrics]
    count = len(family.models)
    name = f"Family {display_name(family.name)}" if family.name else "Models without a family"
    return Table(
        id=f"family-{place}",
        caption=f"{name}, {count} model{'s' * (count != 1)}, the most parameters first",
        columns=tuple(columns),
        rows=tuple(_row(ranking, model, measures) for model in family.models[:room]),
        noun="models",
    )


def _row(ranking: Ranking, model: RankedModel, measures: Sequence[Measure]) -> Row:
    qualities = [
        float(model.quality[measure.name].value) if measure.name in model.quality else None
        for measure in measures
    ]
    entries = [model.metrics.get(name) for name in ranking.metrics]
    return Row(
        cells=(
            Cell(text=model.name),
            Cell(text=human_count(model.parameters), sort=float(model.parameters)),
            *(Cell(text=format_value(value), sort=value) for value in qualities),
            *(
                Cell(text="—")
                if entry is None
                else Cell(text=f"{format_value(entry.value)} ({entry.place})", sort=float(entry.value))
                for entry in entries
            ),
        )
    )


def _left_out(models: int) -> str:
    missing = models - MOST_MODELS
    return f"{missing:,} more models are in the JSON document." if missing > 0 else ""


def _models(ranking: Ranking) -> Iterator[tuple[str, RankedModel]]:
    for family in ranking.families:
        for model in family.models:
            yield family.name, model


def _value(model: RankedModel, name: str) -> float | None:
    if name == "parameters":
        return float(model.parameters) if model.parameters else None
    return float(model.metrics[name].value) if name in model.metrics else None


def _against_size(ranking: Ranking, name: str) -> Plot | None:
    points = [
        Point(family, float(model.parameters), value)
        for family, model in _models(ranking)
        if model.parameters and (value := _value(model, name)) is not None
    ]
    return scatter_plot(points, Scale("parameters", logarithmic=True), Scale(name))


def _against_quality(ranking: Ranking, name: str, quality: str) -> Plot | None:
    points = [
        Point(family, value, float(model.quality[quality].value))
        for family, model in _models(ranking)
        if quality in model.quality and (value := _value(model, name)) is not None
    ]
    return scatter_plot(points, Scale(name, logarithmic=name == "parameters"), Scale(quality))


def _provenance(ranking: Ranking) -> tuple[Fact, ...]:
    tool = ranking.tool
    return facts(
        [
            ("Models", ranking.subject.path),
            ("Run", f"rmtaudit {tool.version} · seed {tool.seed}"),
            (
                "Tests",
                f"{ranking.tests} partial correlations, adjusted together (Holm)" if ranking.tests else "",
            ),
            ("Intervals", f"{tool.draws:,} bootstrap draws" if ranking.measures else ""),
            ("Schema", f"{ranking.schema.name} {ranking.schema.version}"),
        ]
    )
