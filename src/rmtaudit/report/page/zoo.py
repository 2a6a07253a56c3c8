"""The page of a zoo: what came of all models, the table of them, how metrics go with size, and relations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rmtaudit.report.numbers import format_value, human_count, percent
from rmtaudit.report.page.environment import render
from rmtaudit.report.page.figures import share_svg
from rmtaudit.report.page.graph import graph_svg
from rmtaudit.report.page.parts import Cell, Column, Fact, Row, State, Table, facts, state_of
from rmtaudit.report.page.scatter import Plot, Point, Scale, scatter_plot
from rmtaudit.report.zoo import Zoo, ZooModel

MOST_MODELS = 10_000
"""Rows of the table of models."""

_MOST_METRICS, _MOST_EDGES = 6, 5000


@dataclass(frozen=True, slots=True)
class Stat:
    """A large number, what it counts, and its mark."""

    value: str
    label: str
    state: State | None = None


def zoo_page(zoo: Zoo) -> str:
    """Return the page of the audit of a zoo."""
    metrics = _metrics(zoo)
    qualities = list(dict.fromkeys(name for model in zoo.models for name in model.quality))
    edges = zoo.relations.edges if zoo.relations is not None else ()
    drawing, hidden = graph_svg(edges)
    parameters = sum(model.parameters or 0 for model in zoo.models)
    return render(
        "zoo.html.j2",
        title=f"{len(zoo.models)} models",
        about=f"{human_count(parameters)} parameters, audited by rmtaudit {zoo.tool['version']}",
        stats=_stats(zoo),
        facts=_facts(zoo, parameters),
        failed=_failed(zoo),
        table=_table(zoo, metrics, qualities) if zoo.models else None,
        sizes=[plot for name in metrics if (plot := _against_size(zoo, name))],
        quality=[
            plot
            for quality in qualities[:_MOST_METRICS]
            for name in ("parameters", *metrics)
            if (plot := _against_quality(zoo, name, quality))
        ],
        graph=drawing,
        hidden=f"{hidden} more related models are in the table." if hidden else "",
        relations=_relations(zoo),
        relation_facts=_relation_facts(zoo),
        provenance=_provenance(zoo),
    )


def _metrics(zoo: Zoo) -> list[str]:
    """Return the metrics that are shown: those of the columns of the scan, then any others."""
    known = dict.fromkeys(name for model in zoo.models for name in model.metrics)
    chosen = [name for name in zoo.tool["columns"] if name in known]
    return (chosen or list(known))[:_MOST_METRICS]


def _stats(zoo: Zoo) -> list[Stat]:
    words = Counter(model.integrity.word if model.integrity else model.status for model in zoo.models)
    states = {
        "failed": State("could not be audited", "unknown"),
        "inconclusive": State("inconclusive", "unknown"),
    }
    order = ["damaged", "warning", "ok", "unjudged", "inconclusive", "failed"]
    ranked = sorted(words, key=lambda word: (order.index(word) if word in order else len(order), word))
    return [
        Stat(str(words[word]), state.word, state)
        for word in ranked
        for state in [states.get(word) or state_of(word)]
    ]


def _facts(zoo: Zoo, parameters: int) -> tuple[Fact, ...]:
    covered = sum((model.coverage or 0) * (model.parameters or 0) for model in zoo.models)
    share = covered / parameters if parameters else 0.0
    families = Counter(model.family for model in zoo.models if model.family)
    codes = Counter(code for model in zoo.models for code in model.findings)
    named = ", ".join(f"{count} {name}" for name, count in families.most_common(8))
    found = ", ".join(f"{code} in {count} models" for code, count in codes.most_common(6))
    run = zoo.run
    text = f"{percent(share)} of {human_count(parameters)} parameters"
    return (
        Fact("Coverage", text, share_svg(share, f"Analysed: {text}")),
        *facts(
            [
                ("Families", named + (f" and {len(families) - 8} more" if len(families) > 8 else "")),
                ("Findings", found + (f" and {len(codes) - 6} more codes" if len(codes) > 6 else "")),
                ("Run", f"{run.models_computed} models computed, {run.models_reused} reused"),
                ("Complete", "" if run.complete else "no: the run was stopped, and can be resumed"),
                ("Quarantined", f"{len(run.quarantined)} tasks, listed below" if run.quarantined else ""),
            ]
        ),
    )


def _failed(zoo: Zoo) -> Table | None:
    rows = [
        (model.name, model.error.code, f"{model.error.message} {model.error.hint}".rstrip())
        for model in zoo.models
        if model.error is not None
    ]
    rows += [
        (task.model, "quarantined", f"{task.part}: {task.reason}" if task.part else task.reason)
        for task in zoo.run.quarantined
    ]
    if not rows:
        return None
    return Table(
        id="failed",
        caption="Models, and parts of models, that could not be audited",
        columns=(Column(label="model"), Column(label="code", facet=True), Column(label="reason")),
        rows=tuple(Row(cells=tuple(Cell(text=text) for text in row)) for row in rows[:MOST_MODELS]),
        noun="rows",
    )


def _table(zoo: Zoo, metrics: Sequence[str], qualities: Sequence[str]) -> Table:
    columns = [
        Column(label="model"),
        Column(label="family", facet=True),
        Column(label="integrity", facet=True),
        Column(label="signal", facet=True),
        Column(label="parameters", numeric=True),
        Column(label="coverage", numeric=True),
        *(Column(label=name, numeric=True, explained="mean over the layers") for name in metrics),
        *(Column(label=name, numeric=True, explained="quality from the manifest") for name in qualities),
        Column(label="findings"),
    ]
    missing = len(zoo.models) - MOST_MODELS
    return Table(
        id="models",
        caption="Models, in the order in which they were given",
        columns=tuple(columns),
        rows=tuple(_row(model, metrics, qualities) for model in zoo.models[:MOST_MODELS]),
        left_out=f"{missing} more models are in the JSON document." if missing > 0 else "",
        noun="models",
    )


def _row(model: ZooModel, metrics: Sequence[str], qualities: Sequence[str]) -> Row:
    state = state_of(model.integrity.word) if model.integrity else State(model.status, "unknown")
    numbers = [_value(model, name) for name in metrics]
    values = [model.quality[name].value if name in model.quality else None for name in qualities]
    size = model.parameters
    codes = " ".join(f"{code} ×{count}" if count > 1 else code for code, count in model.findings.items())
    return Row(
        cells=(
            Cell(text=model.name),
            Cell(text=model.family or "—"),
            Cell(text=state.word, tone=state.tone),
            Cell(text=model.signal.word if model.signal else "—"),
            Cell(text="—" if size is None else human_count(size), sort=size),
            Cell(text="—" if model.coverage is None else percent(model.coverage), sort=model.coverage),
            *(Cell(text=format_value(number), sort=number) for number in (*numbers, *values)),
            Cell(text=codes or (model.error.code if model.error else "")),
        )
    )


def _value(model: ZooModel, name: str) -> float | None:
    if name == "parameters":
        return None if model.parameters is None else float(model.parameters)
    return model.metrics[name].value if name in model.metrics else None


def _against_size(zoo: Zoo, name: str) -> Plot | None:
    points = [
        Point(model.family, float(model.parameters), value)
        for model in zoo.models
        if model.parameters and (value := _value(model, name)) is not None
    ]
    return scatter_plot(points, Scale("parameters", logarithmic=True), Scale(name))


def _against_quality(zoo: Zoo, name: str, quality: str) -> Plot | None:
    points = [
        Point(model.family, value, float(model.quality[quality].value))
        for model in zoo.models
        if quality in model.quality and (value := _value(model, name))
    ]
    return scatter_plot(points, Scale(name, logarithmic=name == "parameters"), Scale(quality))


def _relations(zoo: Zoo) -> Table | None:
    if zoo.relations is None or not zoo.relations.edges:
        return None
    edges = zoo.relations.edges
    missing = len(edges) - _MOST_EDGES
    return Table(
        id="relations-table",
        caption="Pairs of related models",
        columns=(
            Column(label="model"),
            Column(label="other model"),
            Column(label="relation", facet=True),
            Column(label="made from"),
            Column(
                label="shared", numeric=True, explained="of the smaller one's parameters, in equal tensors"
            ),
        ),
        rows=tuple(
            Row(
                cells=(
                    Cell(text=edge.first),
                    Cell(text=edge.second),
                    Cell(text=edge.kind),
                    Cell(text=edge.source if edge.source is not None else "—"),
                    Cell(text=percent(edge.shared), sort=float(edge.shared)),
                )
            )
            for edge in edges[:_MOST_EDGES]
        ),
        left_out=f"{missing} more relations are in the JSON document." if missing > 0 else "",
        noun="relations",
    )


def _relation_facts(zoo: Zoo) -> tuple[Fact, ...]:
    relations = zoo.relations
    if relations is None:
        return ()
    return facts(
        [
            ("Candidates", f"{relations.candidates} pairs whose layers have the same shapes"),
            ("Tested", str(relations.tested)),
            ("Level", "" if relations.level is None else format_value(relations.level)),
            ("Untested", f"{relations.untested}: nothing is known of them" if relations.untested else ""),
            ("Unreadable", str(relations.unreadable) if relations.unreadable else ""),
        ]
    )


def _provenance(zoo: Zoo) -> tuple[Fact, ...]:
    tool, run = zoo.tool, zoo.run
    analyzers = ", ".join(tool["analyzers"])
    return facts(
        [
            ("Run", f"rmtaudit {tool['version']} · preset {tool['preset']} · seed {tool['seed']}"),
            ("Analyzers", analyzers),
            ("Device", tool["device"]),
            ("Tasks", f"{run.tasks}, {run.retries} repeated, on {run.workers} workers"),
            ("Layers", f"{run.layers_computed} computed, {run.layers_reused} reused"),
            ("Read", f"{run.bytes:,} bytes in {run.seconds:.1f} s"),
            ("Schema", f"{zoo.schema.name} {zoo.schema.version}"),
        ]
    )
