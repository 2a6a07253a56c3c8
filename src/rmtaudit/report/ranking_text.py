"""What a ranking says, in sentences and in tables: the same in a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rmtaudit.names import display_name
from rmtaudit.report.numbers import format_value, human_count
from rmtaudit.report.ranking import Answer, Association, Comparison, Family, Measure, Ranking
from rmtaudit.report.writers.markdown import escape_markdown

COMPARISON_HEADS = ("metric", "tau", "p", "given size", "p", "all families")
_MOST_FAMILIES, _MOST_MODELS = 10, 20
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Rows:
    """A table: a title, heads, rows of texts that are hostile no more, and how many rows were left out."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int = 0


def answer_sentence(ranking: Ranking, measure: Measure) -> str:
    """Return whether any metric adds to size in the order of a quality, in one sentence or two."""
    models = f"{measure.models} model{'s' * (measure.models != 1)}"
    quality = display_name(measure.name)
    tau = measure.size.alone.tau
    tried = f"{ranking.tests} test{'s' * (ranking.tests != 1)}"
    if measure.answer == Answer.SIZE_ORDERS_ALL and tau is not None:
        way = "a larger model is always better" if tau > 0 else "a larger model is always worse"
        return (
            f"The number of parameters orders these {models} perfectly by {quality}: {way}. A "
            "spectral metric could add nothing."
        )
    if measure.answer == Answer.TOO_FEW:
        return (
            f"{models} with {quality}: too few to determine whether a spectral metric adds "
            "information to size."
        )
    adding = [each for each in measure.metrics if _adds(each, ranking.tool.alpha)]
    if adding:
        named = ", ".join(f"{display_name(each.metric)} ({_partial(each)})" for each in adding[:_MOST_NAMED])
        more = f" and {len(adding) - _MOST_NAMED} more" if len(adding) > _MOST_NAMED else ""
        return (
            f"Given the size, these metrics add to the order of {models} by {quality}: "
            f"{named}{more}; {tried} counted."
        )
    best = _best(measure)
    if best is None:
        return f"No metric can add to the size in ordering {models} by {quality}: none has a partial tau."
    return (
        f"No spectral metric is shown to add to the size in ordering {models} by {quality}: of "
        f"{tried}, the smallest adjusted p-value is {format_p(best)}. This does not prove that "
        "none does."
    )


def reversal_sentences(measure: Measure) -> list[str]:
    """Return what is to be said of Simpson's paradox, and of families that cannot show it."""
    if measure.families < 2:
        return []
    reversed_ = [each for each in (measure.size, *measure.metrics) if each.reversed]
    if not reversed_:
        return [
            f"Simpson's paradox: none of the signs differs between and within {measure.families} families."
        ]
    return [
        f"Simpson's paradox: {display_name(each.metric)} has tau {_signed(each.alone.tau)} within families, "
        f"but {_signed(each.pooled)} over all models. Do not order models of different families by it."
        for each in reversed_
    ]


def without_quality(ranking: Ranking) -> str:
    """Return what follows where no model has a measured quality; empty where one has."""
    if ranking.measures:
        return ""
    return (
        "No model has a measured quality, so nothing here shows that a high place is good. Add "
        "quality to the manifest to compare the metrics with the number of parameters."
    )


def comparison_rows(measure: Measure) -> Rows:
    """Return the table of a measure: the number of parameters first, then the metrics."""
    rows = [_comparison(each) for each in (measure.size, *measure.metrics)]
    better = "higher is better" if measure.higher_is_better else "lower is better; tau is with its negative"
    title = f"{display_name(measure.name)} ({better}), {measure.models} models"
    return Rows(title, COMPARISON_HEADS, tuple(rows))


def family_rows(ranking: Ranking, *, everything: bool) -> Iterator[Rows]:
    """Yield a table for each family: the models with the most parameters first, places in brackets."""
    shown = ranking.families if everything else ranking.families[:_MOST_FAMILIES]
    for family in shown:
        yield _family(ranking, family, everything=everything)


def families_left_out(ranking: Ranking, *, everything: bool) -> int:
    """Return how many families have no table."""
    return 0 if everything else max(0, len(ranking.families) - _MOST_FAMILIES)


def legend(ranking: Ranking) -> list[tuple[str, str]]:
    """Return what the columns of the tables of a ranking mean; taus stand only where a quality is known."""
    places = [("(1)", ("place in the family: 1 has the largest value, which is not necessarily the best"))]
    if not ranking.measures:
        return places
    return [
        ("tau", "Kendall's tau-b with the quality, of pairs within a family: 1 same order, -1 reversed"),
        ("given size", "partial tau given the number of parameters"),
        ("[low, high]", "95 % bootstrap interval, for this row alone"),
        ("p", "two-sided, by permutation within families; adjusted for all metrics (Holm)"),
        ("all families", "tau of all models, whatever their families"),
        *places,
    ]


def markdown(ranking: Ranking) -> str:
    """Return the ranking as Markdown."""
    subject = ranking.subject
    lines = [
        f"## {escape_markdown(f'Ranking of {subject.path}')}",
        "",
        escape_markdown(subject_line(ranking)),
    ]
    for measure in ranking.measures:
        lines += ["", f"**{escape_markdown(answer_sentence(ranking, measure))}**", ""]
        lines += [escape_markdown(text) for text in reversal_sentences(measure)]
        lines += ["", *_markdown_table(comparison_rows(measure))]
    if not ranking.measures:
        lines += ["", escape_markdown(without_quality(ranking))]
    for rows in family_rows(ranking, everything=True):
        lines += ["", *_markdown_table(rows)]
    lines += ["", *(f"- {escape_markdown(head)}: {escape_markdown(text)}" for head, text in legend(ranking))]
    return "\n".join(lines) + "\n"


def subject_line(ranking: Ranking) -> str:
    """Return how many models, families and metrics there are."""
    subject = ranking.subject
    left = f" · {subject.left_out} without a report or a metric were excluded" if subject.left_out else ""
    families = len(ranking.families)
    return (
        f"{subject.models} models · {families} famil{'y' if families == 1 else 'ies'} · metrics: "
        f"{', '.join(map(display_name, ranking.metrics))}{left}"
    )


def format_p(value: float) -> str:
    """Return a p-value with two digits, or that it is below .001."""
    return "<.001" if value < 0.001 else f"{value:.2g}".replace("0.", ".", 1) if value < 1 else "1"


def _markdown_table(rows: Rows) -> list[str]:
    lines = [f"### {escape_markdown(rows.title)}", "", _row(rows.heads)]
    lines.append(_row(["---", *["---:"] * (len(rows.heads) - 1)], escape=False))
    return [*lines, *map(_row, rows.rows)]


def _row(cells: Sequence[str], *, escape: bool = True) -> str:
    return f"| {' | '.join(escape_markdown(cell) if escape else cell for cell in cells)} |"


def _comparison(each: Comparison) -> tuple[str, ...]:
    given = each.given_size
    return (
        display_name(each.metric),
        _tau(each.alone),
        _p(each.alone),
        "" if given is None else _tau(given),
        "" if given is None else _p(given),
        _signed(each.pooled) + (" !" if each.reversed else ""),
    )


def _family(ranking: Ranking, family: Family, *, everything: bool) -> Rows:
    known = {name for model in family.models for name in model.quality}
    measures = [measure.name for measure in ranking.measures if measure.name in known]
    shown = family.models if everything else family.models[:_MOST_MODELS]
    rows = []
    for model in shown:
        cells = [display_name(model.name), human_count(model.parameters)]
        for name in measures:
            quality = model.quality.get(name)
            cells.append("—" if quality is None else format_value(quality.value))
        for metric in ranking.metrics:
            entry = model.metrics.get(metric)
            cells.append("—" if entry is None else f"{format_value(entry.value)} ({entry.place})")
        rows.append(tuple(cells))
    title = f"Family {display_name(family.name)}" if family.name else "Models without a family"
    heads = ("model", "parameters", *map(display_name, measures), *map(display_name, ranking.metrics))
    return Rows(title, heads, tuple(rows), len(family.models) - len(shown))


def _tau(association: Association) -> str:
    if association.tau is None:
        return "—"
    if association.ci is None:
        return _signed(association.tau)
    return f"{_signed(association.tau)} [{_signed(association.ci[0])}, {_signed(association.ci[1])}]"


def _p(association: Association) -> str:
    return "—" if association.p_adjusted is None else format_p(association.p_adjusted)


def _signed(value: float | None) -> str:
    return "—" if value is None else f"{value:+.2f}"


def _adds(each: Comparison, alpha: float) -> bool:
    p = None if each.given_size is None else each.given_size.p_adjusted
    return p is not None and p < alpha


def _partial(each: Comparison) -> str:
    given = each.given_size
    assert given is not None
    p = "" if given.p_adjusted is None else f", adjusted p {format_p(given.p_adjusted)}"
    return f"partial tau {_tau(given)}{p}"


def _best(measure: Measure) -> float | None:
    values = [each.given_size.p_adjusted for each in measure.metrics if each.given_size is not None]
    return min((value for value in values if value is not None), default=None)
