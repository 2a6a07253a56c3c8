"""The page of a scan: the verdict and the coverage first, then what was found, then every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from rmtaudit.names import display_name
from rmtaudit.report import sentences
from rmtaudit.report.cells import cell, explained, finding_cell, head
from rmtaudit.report.columns import FINDING, NAME, NUMERIC, is_numeric, shown_columns
from rmtaudit.report.labels import Labels, labels_of
from rmtaudit.report.model import FailedSubject, LayerResult, Report, Result
from rmtaudit.report.numbers import format_value
from rmtaudit.report.ordering import worst_first
from rmtaudit.report.page.environment import render
from rmtaudit.report.page.figures import MOST_BLOCKS, share_svg, strip_svg
from rmtaudit.report.page.findings import FindingView, finding_views
from rmtaudit.report.page.parts import (
    MOST_ROWS,
    Cell,
    Column,
    Fact,
    Row,
    State,
    Table,
    facts,
    file_of,
    state_of,
)
from rmtaudit.report.page.provenance import provenance
from rmtaudit.report.page.spectra import BUDGET, Gallery, gallery
from rmtaudit.report.plots.esd import EsdCollector
from rmtaudit.report.strips import drawn_metric, ranged_metric, scale_of, strips_of

_NAME = 60
_FACETS = frozenset({"kind", "dtype", "view", "integrity", "signal"})
"""Columns with few values, among which a reader chooses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StripView:
    """One role along the depth."""

    role: str
    drawing: Markup
    numbers: tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strips:
    """The roles along the depth, on one scale."""

    caption: str
    metric: str
    drawn: str
    rows: tuple[StripView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportView:
    """One subject of a scan."""

    id: str
    title: str
    path: str
    about: str
    judged: bool
    integrity: State
    signal: str
    answers: tuple[Fact, ...]
    remarks: tuple[str, ...]
    findings: tuple[FindingView, ...]
    quiet_findings: tuple[FindingView, ...]
    strips: Strips | None
    table: Table | None
    gallery: Gallery
    skipped: Table | None
    provenance: tuple[Fact, ...]
    not_claimed: str
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedView:
    """One subject that could not be scanned."""

    id: str
    title: str
    path: str
    integrity: State
    message: str
    hint: str
    code: str
    failed: bool = True


def scan_page(
    results: Sequence[Result],
    *,
    top: int | None = None,
    esd: Sequence[EsdCollector | None] | None = None,
) -> str:
    """Return the page of the subjects of a run.

    Parameters
    ----------
    results
        The subjects, in their order.
    top
        How many layers the tables have, worst first; ``None`` or 0 for all, up to 2000.
    esd
        For each subject the spectra of its scan; ``None`` for a report that was saved before.
    """
    collectors = esd if esd is not None else [None] * len(results)
    budget = BUDGET // max(len(results), 1)
    views = [
        _failed(result, f"s{number}")
        if isinstance(result, FailedSubject)
        else report_view(result, f"s{number}", top=top, esd=collector, budget=budget)
        for number, (result, collector) in enumerate(zip(results, collectors, strict=True), start=1)
    ]
    title = views[0].title if len(views) == 1 else f"{len(views)} checkpoints"
    return render("scan.html.j2", title=title, subjects=views)


def report_view(
    report: Report,
    ident: str,
    *,
    top: int | None = None,
    esd: EsdCollector | None = None,
    budget: int = BUDGET,
) -> ReportView:
    """Return what a page shows of a report; ``ident`` begins every id of it, ``budget`` is of its charts."""
    ordered = worst_first(report)
    shown = ordered[: top or MOST_ROWS][:MOST_ROWS]
    labels = labels_of([layer.name for layer in report.layers])
    texts = dict(zip((layer.name for layer in report.layers), labels.texts, strict=True))
    places = {layer.name: _row_id(ident, number) for number, layer in enumerate(shown)}
    judged = sentences.is_judged(report)
    drawn = gallery(ordered, texts, esd, ident, budget)
    found = finding_views(report, places)
    return ReportView(
        id=ident,
        title=file_of(report.subject["path"]),
        path=sentences.title(report),
        about=sentences.subject_facts(report),
        judged=judged,
        integrity=state_of(report.integrity.word),
        signal=report.signal.text,
        answers=_answers(report),
        remarks=tuple(sentences.remarks(report)),
        findings=tuple(each for each in found if each.state.word != "info"),
        quiet_findings=tuple(each for each in found if each.state.word == "info"),
        strips=_strips(report, texts),
        table=_table(report, shown, labels=labels, texts=texts, drawn=drawn, ident=ident)
        if report.layers
        else None,
        gallery=drawn,
        skipped=_skipped(report, ident),
        provenance=provenance(report),
        not_claimed=sentences.not_claimed(report),
    )


def _answers(report: Report) -> tuple[Fact, ...]:
    judged = sentences.is_judged(report)
    covered = sentences.coverage_line(report)
    bar = share_svg(report.coverage.fraction, f"Analysed: {covered}")
    lines = facts(
        [
            ("Not analysed", sentences.skipped_line(report)),
            ("Summary", sentences.summary_line(report)),
            *((f"Without a spectrum ({owner})", text) for owner, text in sentences.without_spectrum(report)),
        ]
    )
    words = [
        Fact("Integrity", sentences.integrity_line(report)),
        Fact("Signal", sentences.signal_line(report)),
    ]
    return (*words * judged, Fact("Coverage", covered, bar), *lines)


def _failed(subject: FailedSubject, ident: str) -> FailedView:
    path, error = subject.subject.path, subject.error
    return FailedView(
        id=ident,
        title=file_of(path),
        path=display_name(path, longest=max(len(path), 1)),
        integrity=State("unreadable", "unknown"),
        message=error.message,
        hint=error.hint,
        code=error.code,
    )


def _table(
    report: Report,
    shown: Sequence[LayerResult],
    *,
    labels: Labels,
    texts: Mapping[str, str],
    drawn: Gallery,
    ident: str,
) -> Table:
    judged = sentences.is_judged(report)
    names = shown_columns(
        report, before=[*["integrity"] * judged, "kind", "shape"], after=["signal"] * judged
    )
    columns = [
        Column(label=NAME, explained=labels.rule),
        *(
            Column(
                label=head(report, shown, name),
                numeric=is_numeric(name, report.metrics),
                explained=explained(report, name) if name in report.metrics else "",
                facet=name in _FACETS,
            )
            for name in names
        ),
        Column(label=FINDING),
    ]
    rows = []
    for number, layer in enumerate(shown):
        cells = [
            Cell(text=_short(texts[layer.name]), href=drawn.places.get(layer.name, "")),
            *(_cell(report, layer, name) for name in names),
            Cell(text=finding_cell(layer, lambda name: texts.get(name, name))),
        ]
        rows.append(Row(id=_row_id(ident, number), cells=tuple(cells)))
    missing = len(report.layers) - len(shown)
    return Table(
        id=f"{ident}-table",
        caption=sentences.order_line(report),
        columns=tuple(columns),
        rows=tuple(rows),
        left_out=f"{missing} more layers are in the JSON report." if missing else "",
        noun="layers",
    )


def _cell(report: Report, layer: LayerResult, name: str) -> Cell:
    if name == "integrity":
        state = state_of(layer.integrity.word)
        return Cell(text=state.word, tone=state.tone)
    number = float(layer.parameters) if name in NUMERIC - {"matrices"} else layer.number(name)
    return Cell(text=cell(report, layer, name), sort=float(layer.matrices) if name == "matrices" else number)


def _row_id(ident: str, number: int) -> str:
    return f"{ident}-layer-{number}"


def _short(text: str) -> str:
    return text if len(text) <= 2 * _NAME else f"{text[:_NAME]}…{text[-_NAME:]}"


def _strips(report: Report, texts: Mapping[str, str]) -> Strips | None:
    strips = [each.narrowed(MOST_BLOCKS) for each in strips_of(report, texts)]
    if not strips:
        return None
    metric, drawn = ranged_metric(report), drawn_metric(report)
    low, high = scale_of(strips)
    rows = [
        StripView(
            role=each.role,
            drawing=strip_svg(each, low, high, drawn),
            numbers=(format_value(each.least), format_value(each.median), format_value(each.greatest)),
        )
        for each in strips
    ]
    caption = (
        f"Bars are {drawn}, from {format_value(low)} to {format_value(high)}: {explained(report, drawn)}."
    )
    return Strips(caption=caption, metric=metric, drawn=drawn, rows=tuple(rows))


def _skipped(report: Report, ident: str) -> Table | None:
    skipped = report.coverage.skipped
    if not skipped:
        return None
    rows = [
        Row(
            cells=(
                Cell(text=_short(item.name)),
                Cell(text="×".join(map(str, item.shape)) or "scalar"),
                Cell(text=item.dtype),
                Cell(text=item.reason),
            )
        )
        for item in skipped[:MOST_ROWS]
    ]
    missing = len(skipped) - len(rows)
    return Table(
        id=f"{ident}-skipped",
        caption="Tensors that were not analysed",
        columns=(
            Column(label="tensor"),
            Column(label="shape", numeric=True),
            Column(label="dtype", facet=True),
            Column(label="reason", facet=len({item.reason for item in skipped}) <= 12),
        ),
        rows=tuple(rows),
        left_out=f"{missing} more tensors are in the JSON report." if missing else "",
        noun="tensors",
    )
