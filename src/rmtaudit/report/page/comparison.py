"""The page of a comparison: the sentence first, then what changed, and what is left of the signal."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from rmtaudit.report.comparison import Comparison, LayerComparison
from rmtaudit.report.comparison_text import HEADS, UNCHANGED, cells, changed, facts
from rmtaudit.report.numbers import human_count, percent
from rmtaudit.report.page.environment import render
from rmtaudit.report.page.figures import share_svg
from rmtaudit.report.page.findings import evidence_facts
from rmtaudit.report.page.parts import MOST_ROWS, Cell, Column, Fact, Row, Table, file_of
from rmtaudit.report.plots.chart import BLUE, VERMILION, Axis, Chart, Panel, Points, span
from rmtaudit.report.plots.svg import chart_svg

_LEAST = 4
"""Pairs that make a figure."""

_EXPLAINED = {
    "rel. change": "Frobenius norm of the difference over that of the base",
    "signal left": "share of the base's resolvable signal that survives",
    "spikes": "directions of the base that stood out from noise and still do in the candidate",
    "angle": "largest principal angle between the leading singular directions",
}


@dataclass(frozen=True, slots=True)
class Stat:
    """A large number and what it counts."""

    value: str
    label: str


def comparison_page(comparison: Comparison) -> str:
    """Return the page of a comparison."""
    coverage = comparison.coverage
    kinds = Counter(comparison.summary.kinds)
    return render(
        "comparison.html.j2",
        title=f"{file_of(comparison.base.path)} → {file_of(comparison.candidate.path)}",
        sentence=comparison.summary.sentence,
        stats=_stats(comparison),
        facts=[
            *(Fact(label, text) for label, text in facts(comparison)),
            Fact(
                "Coverage",
                f"{percent(coverage.fraction)} of {human_count(coverage.parameters_base)} parameters",
                share_svg(coverage.fraction, f"Compared: {percent(coverage.fraction)} of the base"),
            ),
        ],
        relation=evidence_facts(comparison.relation or {}),
        claim=evidence_facts(comparison.claim or {}),
        kinds=[Fact(kind.replace("_", " "), str(count)) for kind, count in kinds.most_common()],
        change=_change(comparison),
        kept=_kept(comparison),
        table=_table(comparison),
        unmatched=_unmatched(comparison),
        provenance=_provenance(comparison),
    )


def _stats(comparison: Comparison) -> list[Stat]:
    coverage, summary = comparison.coverage, comparison.summary
    differ = len(changed(comparison))
    stats = [
        Stat(f"{differ} of {coverage.compared}", "compared pairs of tensors that differ"),
        Stat(percent(coverage.fraction), "of the base's parameters compared"),
    ]
    if summary.distortion is not None:
        stats.append(Stat(percent(summary.distortion), "of the base's resolvable signal left"))
    return stats


def _depth(rows: list[tuple[int, float]], panel: Panel, label: str) -> Markup | None:
    if len(rows) < _LEAST:
        return None
    chart = Chart(title="", rows=((panel,),), width=520, row_height=120, left=58)
    return Markup(chart_svg(chart, f"{panel.y.label.split()[0]}-", label))


def _across(comparison: Comparison) -> Axis:
    return Axis(label="pair, in stored order", low=-0.7, high=len(comparison.layers) - 0.3)


def _change(comparison: Comparison) -> Markup | None:
    rows = [
        (at, layer.change.relative_frobenius)
        for at, layer in enumerate(comparison.layers)
        if layer.kind is not None and layer.change is not None and layer.change.relative_frobenius > 0
    ]
    if len(rows) < _LEAST:
        return None
    x, y = np.array(rows, dtype=float).T
    low, high = span([y], logarithmic=True)
    panel = Panel(
        title="",
        x=_across(comparison),
        y=Axis(label="change", low=low, high=high, logarithmic=True),
        marks=(Points(x=x, y=y, colour=VERMILION, radius=1.9),),
        grid=True,
    )
    label = f"Relative change of {len(rows)} weight matrices in stored order, {y.min():.3g} to {y.max():.3g}"
    return _depth(rows, panel, label)


def _kept(comparison: Comparison) -> Markup | None:
    rows = [
        (at, layer.distortion.value)
        for at, layer in enumerate(comparison.layers)
        if layer.distortion is not None and layer.distortion.value is not None
    ]
    if len(rows) < _LEAST:
        return None
    x, y = np.array(rows, dtype=float).T
    panel = Panel(
        title="",
        x=_across(comparison),
        y=Axis(label="left", low=-0.03, high=1.05),
        marks=(Points(x=x, y=y, colour=BLUE, radius=1.9),),
        grid=True,
    )
    label = f"Signal left in {len(rows)} layers in stored order, {percent(y.min())} to {percent(y.max())}"
    return _depth(rows, panel, label)


def _table(comparison: Comparison) -> Table | None:
    order = [*changed(comparison), *(each for each in comparison.layers if _same(each))]
    if not order:
        return None
    shown = order[:MOST_ROWS]
    missing = len(order) - len(shown)
    columns = [
        Column(label="layer"),
        Column(label="diagnosis", facet=True),
        Column(label="matched by", facet=True),
    ]
    columns += [
        Column(label=head, numeric=place > 0, explained=_EXPLAINED.get(head, ""))
        for place, head in enumerate(HEADS[1:])
    ]
    columns.append(Column(label="dtypes", facet=True))
    return Table(
        id="pairs",
        caption="Pairs of tensors, those that changed most first",
        columns=tuple(columns),
        rows=tuple(_row(layer) for layer in shown),
        left_out=f"{missing} more pairs are in the JSON document." if missing else "",
        noun="pairs",
    )


def _same(layer: LayerComparison) -> bool:
    return layer.diagnosis is not None and layer.diagnosis.kind in UNCHANGED


def _row(layer: LayerComparison) -> Row:
    name, *texts = cells(layer)
    change, kept = layer.change, layer.distortion
    numbers = (
        None,
        None if change is None else change.relative_frobenius,
        None if kept is None else kept.value,
        None if kept is None or kept.value is None else float(kept.survived),
        None if kept is None or not kept.angles else kept.angles[0],
    )
    kind = layer.status if layer.diagnosis is None else layer.diagnosis.kind.replace("_", " ")
    dtypes = " → ".join(dict.fromkeys(layer.dtypes))
    return Row(
        cells=(
            Cell(text=name),
            Cell(text=kind),
            Cell(text=layer.match),
            *(Cell(text=text, sort=number) for text, number in zip(texts, numbers, strict=True)),
            Cell(text=dtypes),
        )
    )


def _unmatched(comparison: Comparison) -> Table | None:
    sides = (("base", comparison.coverage.only_base), ("candidate", comparison.coverage.only_candidate))
    rows = [
        Row(
            cells=(
                Cell(text=item.name),
                Cell(text=side),
                Cell(text="×".join(map(str, item.shape))),
                Cell(text="weight matrix" if item.weight else "other"),
            )
        )
        for side, items in sides
        for item in items
    ]
    if not rows:
        return None
    missing = len(rows) - MOST_ROWS
    return Table(
        id="unmatched",
        caption="Tensors without a counterpart",
        columns=(
            Column(label="tensor"),
            Column(label="only in", facet=True),
            Column(label="shape", numeric=True),
            Column(label="what it is", facet=True),
        ),
        rows=tuple(rows[:MOST_ROWS]),
        left_out=f"{missing} more are in the JSON document." if missing > 0 else "",
        noun="tensors",
    )


def _provenance(comparison: Comparison) -> list[Fact]:
    sides = [("Base", comparison.base), ("Candidate", comparison.candidate)]
    lines = [
        Fact(
            label,
            f"{side.path} · {side.format} · {side.tensors} tensors · "
            f"{human_count(side.parameters)} parameters",
        )
        for label, side in sides
    ]
    tool = comparison.tool
    lines.append(Fact("Run", f"rmtaudit {tool.version} · seed {tool.seed}"))
    lines += [Fact(f"Option {each.label}", each.text) for each in evidence_facts(tool.options)]
    lines.append(Fact("Schema", f"{comparison.schema.name} {comparison.schema.version}"))
    return lines
