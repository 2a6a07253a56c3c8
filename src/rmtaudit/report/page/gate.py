"""The page of a gate: the verdict and the policy first, then the checks that failed, then every check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rmtaudit.report.gate import Check, CheckOutcome, GateDocument, GateOutcome, GateSubject
from rmtaudit.report.numbers import format_value, human_count, percent
from rmtaudit.report.page.environment import render
from rmtaudit.report.page.figures import share_svg
from rmtaudit.report.page.parts import (
    MOST_ROWS,
    Cell,
    Column,
    Fact,
    Row,
    State,
    Table,
    Tone,
    facts,
    file_of,
)

_OUTCOMES: dict[GateOutcome | CheckOutcome, Tone] = {
    "passed": "ok",
    "failed": "bad",
    "inconclusive": "unknown",
    "unreadable": "unknown",
    "suppressed": "info",
}
_ORDER: tuple[CheckOutcome, ...] = ("failed", "inconclusive", "suppressed", "passed")
_MOST_CARDS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckView:
    """A check that did not pass."""

    state: State
    title: str
    message: str
    facts: tuple[Fact, ...]
    evidence: Table | None
    left_out: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectView:
    """What came of one checkpoint."""

    id: str
    title: str
    path: str
    state: State
    answers: tuple[Fact, ...]
    cards: tuple[CheckView, ...]
    more: str
    table: Table | None


def gate_page(document: GateDocument) -> str:
    """Return the page of the result of a gate."""
    policy, baseline = document.policy, document.baseline
    return render(
        "gate.html.j2",
        title=f"{policy.name}: {document.outcome}",
        state=State(document.outcome, _OUTCOMES[document.outcome]),
        subjects=[_subject(subject, f"g{at}") for at, subject in enumerate(document.subjects, start=1)],
        summary=facts(
            [
                ("Policy", f"{policy.name} {policy.version}"),
                ("Checkpoints", _counted([subject.outcome for subject in document.subjects])),
                ("Baseline", baseline.path if baseline else ""),
                ("Exit code", str(document.exit_code)),
            ]
        ),
        suppressions=_suppressions(document),
        provenance=facts(
            [
                ("Policy", f"{policy.name} {policy.version} · sha256:{policy.sha256}"),
                *(("Read from", source) for source in policy.sources),
                ("Baseline", f"{baseline.path} · {baseline.format}" if baseline else ""),
                ("Baseline digest", (baseline.digest or "") if baseline else ""),
                *(
                    (f"Digest of {file_of(subject.path)}", subject.digest or "")
                    for subject in document.subjects
                ),
                ("Day", document.day or ""),
                ("Run", f"rmtaudit {document.tool.version}"),
                ("Schema", f"{document.schema.name} {document.schema.version}"),
            ]
        ),
    )


def _subject(subject: GateSubject, ident: str) -> SubjectView:
    ordered = sorted(subject.checks, key=lambda check: (_ORDER.index(check.outcome), check.severity))
    loud = [check for check in ordered if check.outcome in ("failed", "inconclusive")]
    coverage = subject.coverage
    answers = [
        Fact("Checks", _counted([check.outcome for check in ordered]) or "none"),
        Fact("Size", f"{human_count(subject.parameters)} parameters · {subject.format}"),
        *(Fact("From", subject.report) for _ in range(subject.report is not None) if subject.report),
    ]
    if coverage is not None:
        text = f"{percent(coverage.fraction)} of all parameters, {coverage.skipped} weight tensors skipped"
        answers.append(Fact("Coverage", text, share_svg(coverage.fraction, f"Analysed: {text}")))
    for name, metric in subject.metrics.items():
        interval = "" if metric.low is None else f" [{format_value(metric.low)}, {format_value(metric.high)}]"
        answers.append(Fact(name, f"{format_value(metric.value)}{interval} {metric.unit}".rstrip()))
    if subject.error is not None:
        answers.append(Fact(f"Error {subject.error.code}", f"{subject.error.message} {subject.error.hint}"))
    more = len(loud) - _MOST_CARDS
    return SubjectView(
        id=ident,
        title=file_of(subject.path),
        path=subject.path,
        state=State(subject.outcome, _OUTCOMES[subject.outcome]),
        answers=tuple(answers),
        cards=tuple(
            _card(check, f"{ident}-evidence-{at}") for at, check in enumerate(loud[:_MOST_CARDS], start=1)
        ),
        more=f"{more} more are in the table below." if more > 0 else "",
        table=_table(ordered, ident),
    )


def _counted(outcomes: Sequence[str]) -> str:
    return ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in dict.fromkeys(outcomes))


def _card(check: Check, ident: str) -> CheckView:
    tone = "warn" if check.outcome == "failed" and check.severity == "warning" else _OUTCOMES[check.outcome]
    rate = check.false_alarm_rate
    return CheckView(
        state=State(f"{check.outcome}, {check.severity}", tone),
        title=check.title,
        message=check.message,
        facts=facts(
            [
                ("Why", check.why),
                ("Inconclusive because" if check.outcome == "inconclusive" else "Reason", check.reason),
                ("Rule", check.rule),
                (check.level.capitalize(), check.target),
                ("False alarms", "" if rate is None else f"{percent(rate)} of healthy models"),
            ]
        ),
        evidence=_evidence(check, ident),
        left_out=f"{check.evidence_left_out} more pieces of evidence." if check.evidence_left_out else "",
    )


def _evidence(check: Check, ident: str) -> Table | None:
    evidence = check.evidence
    if not evidence:
        return None
    columns = ("layer", "metric", "value", "interval", "baseline", "threshold", "finding")
    rows = []
    for each in evidence:
        interval = f"{format_value(each.low)} to {format_value(each.high)}" if each.low is not None else "—"
        texts = (
            each.layer if each.layer is not None else "whole model",
            each.metric or "—",
            format_value(each.value),
            interval,
            format_value(each.baseline),
            format_value(each.threshold),
            each.finding or "—",
        )
        rows.append([Cell(text=text) for text in texts])
    used = [at for at in range(len(columns)) if at == 0 or any(row[at].text != "—" for row in rows)]
    return Table(
        id=ident,
        caption=f"{check.rule}, {check.target or 'whole model'}: evidence, the worst first",
        columns=tuple(Column(label=columns[at], numeric=2 <= at <= 5) for at in used),
        rows=tuple(Row(cells=tuple(row[at] for at in used)) for row in rows),
        noun="pieces of evidence",
    )


def _table(checks: Sequence[Check], ident: str) -> Table | None:
    if not checks:
        return None
    missing = len(checks) - MOST_ROWS
    return Table(
        id=f"{ident}-checks",
        caption="Every check: a rule, applied to one target",
        columns=(
            Column(label="rule", facet=True),
            Column(label="outcome", facet=True),
            Column(label="severity", facet=True),
            Column(label="target"),
            Column(label="message"),
        ),
        rows=tuple(
            Row(
                cells=(
                    Cell(text=check.rule),
                    Cell(text=check.outcome, tone=_OUTCOMES[check.outcome]),
                    Cell(text=check.severity),
                    Cell(text=check.target or "whole model"),
                    Cell(text=f"{check.message} {check.reason}".rstrip()),
                )
            )
            for check in checks[:MOST_ROWS]
        ),
        left_out=f"{missing} more checks are in the JSON document." if missing > 0 else "",
        noun="checks",
    )


def _suppressions(document: GateDocument) -> Table | None:
    if not document.suppressions:
        return None
    return Table(
        id="suppressions",
        caption="Exceptions that the policy grants",
        columns=(
            Column(label="rule"),
            Column(label="layers"),
            Column(label="finding"),
            Column(label="reason"),
            Column(label="expires"),
            Column(label="used", numeric=True),
        ),
        rows=tuple(
            Row(
                cells=(
                    Cell(text=each.rule),
                    Cell(text=each.layer or "all"),
                    Cell(text=each.finding or "all"),
                    Cell(text=each.reason),
                    Cell(
                        text=f"{each.expires}, expired" if each.expired else each.expires,
                        tone="warn" if each.expired else None,
                    ),
                    Cell(text=str(each.used), sort=float(each.used)),
                )
            )
            for each in document.suppressions[:MOST_ROWS]
        ),
        noun="suppressions",
    )
