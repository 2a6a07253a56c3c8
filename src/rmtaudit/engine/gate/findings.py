"""Rules about findings: none of a severity, or of some codes, may occur."""

from __future__ import annotations

from rmtaudit.engine.gate.judged import Judged, unseen
from rmtaudit.engine.gate.policy import Rule, listed
from rmtaudit.engine.gate.subject import Candidate
from rmtaudit.finding_kind import SEVERITIES
from rmtaudit.names import display_name
from rmtaudit.report.failing import FailOn, analyzer_of, parse_fail_on
from rmtaudit.report.gate import CheckEvidence
from rmtaudit.report.layer import LayerResult
from rmtaudit.report.model import Report

_ALWAYS = "forensics"
"""The analyzer without which a severity says little."""


def judge_findings(rule: Rule, candidate: Candidate, layer: LayerResult) -> list[Judged]:
    """Return the findings of one layer that a rule forbids; that it has none; or that it was not seen."""
    own, others = condition_of(rule)
    matching = [
        each
        for each in layer.findings
        if own.applies_to(each) or each.code.lower() in {code.lower() for code in others}
    ]
    base = candidate.base_layer(layer.name)
    known = {each.code for each in base.findings} if base is not None else set()
    fresh = [each for each in matching if not (rule.new and each.code in known)]
    if rule.new and candidate.baseline is None and matching:
        return [unseen(layer.name, "has findings, and without a baseline it is unknown whether they are new")]
    if fresh:
        return [
            Judged(
                layer=layer.name,
                outcome="failed",
                text=f"{_said(each.message)} [{display_name(each.code)}]",
                evidence=CheckEvidence(layer=layer.name, finding=each.code, value=each.severity),
                finding=each.code,
                excess=float(SEVERITIES.index(each.severity)),
            )
            for each in fresh
        ]
    seen = layer.status == "ok" or layer.examined or bool(layer.findings)
    if not seen:
        return [unseen(layer.name, f"was not examined: {display_name(layer.reason, longest=200)}")]
    what = "has only findings that the baseline also has" if matching else "has no such finding"
    return [Judged(layer=layer.name, outcome="passed", text=what, evidence=CheckEvidence(layer=layer.name))]


def missing_analyzer(rule: Rule, report: Report) -> str:
    """Return the analyzer that a rule needs and the report was made without; ``""`` if none is missing."""
    own, others = condition_of(rule)
    needed = [analyzer_of(code) for code in sorted(own.codes)] + [_ALWAYS] * (own.level is not None)
    running = report.tool["analyzers"]
    missing = [name for name in needed if name and name not in running]
    if missing:
        return missing[0]
    return f"of {others[0]}" if others and set(running) <= _BUILT_IN else ""


def condition_of(rule: Rule) -> tuple[FailOn, tuple[str, ...]]:
    """Return the condition of a rule, and the codes of plugins, which no catalogue of ours has."""
    texts = listed(rule.finding)
    others = tuple(text for text in texts if _is_of_plugin(text))
    own = [text for text in texts if text not in others]
    return (parse_fail_on(",".join(own)) if own else FailOn()), others


def _is_of_plugin(text: str) -> bool:
    return "-" in text and not text.lower().startswith("ra-") and text.lower() not in SEVERITIES


def _said(message: str) -> str:
    """Return the message of a finding as it follows the name of its layer."""
    return f"has a finding: {display_name(message, longest=400).rstrip('.')}"


_BUILT_IN = frozenset(
    {
        "extrapolate", "forensics", "htmp", "logdet", "noise", "null_alpha", "scale", "sketch", "tails",
        "traps", "phase", "powerlaw", "predicted", "weightwatcher",
    }
)  # fmt: skip
