"""The findings of a report as a page shows them: what, where, the evidence, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rmtaudit.finding_kind import SEVERITIES, FindingKind
from rmtaudit.report.catalogue import FINDINGS
from rmtaudit.report.grouping import grouped_findings
from rmtaudit.report.model import Finding, LayerResult, Report
from rmtaudit.report.numbers import format_value
from rmtaudit.report.page.parts import Fact, State, state_of_severity

_MOST_LAYERS, _MOST_EVIDENCE = 12, 4
"""Layers of a finding that are named, and those whose evidence is shown."""

_MOST_VALUES, _MOST_FACTS = 6, 24
_BOOKKEEPING = frozenset({"codes", "layers"})


@dataclass(frozen=True, slots=True)
class Link:
    """A layer: its name, and where its row is on the page; no place where it has no row."""

    text: str
    href: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a finding rests on in one layer."""

    layer: Link
    message: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingView:
    """One finding of a model, of one cause."""

    state: State
    title: str
    message: str
    kinds: tuple[tuple[str, FindingKind | None], ...]
    layers: tuple[Link, ...]
    more_layers: int
    evidence: tuple[Evidence, ...]


def finding_views(report: Report, places: Mapping[str, str]) -> tuple[FindingView, ...]:
    """Return the findings of a report, the most severe first; ``places`` are the rows of the layers."""
    entries = sorted(
        report.causes or grouped_findings(report.layers),
        key=lambda finding: -SEVERITIES.index(finding.severity),
    )
    layers = {layer.name: layer for layer in report.layers}
    return tuple(_view(finding, layers, places) for finding in entries)


def _view(finding: Finding, layers: Mapping[str, LayerResult], places: Mapping[str, str]) -> FindingView:
    codes = _texts(finding.evidence.get("codes")) or [finding.code]
    names = _texts(finding.evidence.get("layers"))
    kinds = tuple((code, FINDINGS.get(code)) for code in codes)
    title = ", ".join(dict.fromkeys(kind.title if kind else code for code, kind in kinds))
    evidence = [
        Evidence(_link(name, places), each.message, evidence_facts(each.evidence))
        for name in names
        if name in layers
        for each in layers[name].findings
        if each.code in codes and each.severity == finding.severity
    ]
    return FindingView(
        state=state_of_severity(finding.severity),
        title=title[:1].upper() + title[1:],
        message=finding.message,
        kinds=kinds,
        layers=tuple(_link(name, places) for name in names[:_MOST_LAYERS]),
        more_layers=max(len(names) - _MOST_LAYERS, 0),
        evidence=tuple(evidence[:_MOST_EVIDENCE]),
    )


def evidence_facts(evidence: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Return evidence as labelled values: nested keys joined by dots, long lists cut."""
    facts: list[Fact] = []
    for key, value in evidence.items():
        if key not in _BOOKKEEPING:
            _add(facts, str(key), value)
    if len(facts) > _MOST_FACTS:
        rest = len(facts) - _MOST_FACTS
        facts = [*facts[:_MOST_FACTS], Fact("", f"and {rest} more values, in the JSON")]
    return tuple(facts)


def _add(facts: list[Fact], label: str, value: Any) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _add(facts, f"{label}.{key}", item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        plain = [item for item in value if not isinstance(item, Mapping | list | tuple)]
        if len(plain) == len(value):
            shown = ", ".join(map(format_value, value[:_MOST_VALUES]))
            more = f" and {len(value) - _MOST_VALUES} more" if len(value) > _MOST_VALUES else ""
            facts.append(Fact(label, f"{shown}{more}" or "none"))
        else:
            for place, item in enumerate(value[:_MOST_VALUES], start=1):
                _add(facts, f"{label}.{place}", item)
    else:
        facts.append(Fact(label, format_value(value)))


def _texts(value: object) -> list[str]:
    """Return the texts of a list in evidence, which may be that of another version."""
    return [str(item) for item in value] if isinstance(value, list | tuple) else []


def _link(name: str, places: Mapping[str, str]) -> Link:
    return Link(name, places.get(name, ""))
