"""OpenMetrics text: what GitLab shows as changed numbers of a merge request, and Prometheus collects.

Every number is a gauge. A metric of a model has up to three: its value and the ends of its interval.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rmtaudit.report.gate import GateDocument, GateMetric
from rmtaudit.report.writers.gate import GateResult
from rmtaudit.report.writers.gate.words import one_line, whole_line

_SPECIAL = re.compile(r'[\\"\n]')
_OUTCOMES = ("passed", "failed", "inconclusive", "suppressed")

Sample = tuple[dict[str, str], float]


def write(result: GateResult) -> str:
    """Return the families, and the line that ends them."""
    families = _families(result.document)
    lines = [line for name, help_, samples in families for line in _family(name, help_, samples)]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _families(document: GateDocument) -> Iterator[tuple[str, str, list[Sample]]]:
    subjects = [({"checkpoint": whole_line(subject.path)}, subject) for subject in document.subjects]
    policy = {"policy": one_line(document.policy.name), "version": one_line(document.policy.version)}
    yield (
        "rmtaudit_gate_exit_code",
        "0 passed, 1 failed, 2 unreadable, 3 inconclusive.",
        [(policy, document.exit_code)],
    )
    yield (
        "rmtaudit_gate_checks",
        "Checks of the policy by outcome.",
        [
            ({**labels, "outcome": outcome}, sum(check.outcome == outcome for check in subject.checks))
            for labels, subject in subjects
            if subject.error is None
            for outcome in _OUTCOMES
        ],
    )
    yield (
        "rmtaudit_coverage_ratio",
        "Share of the parameters that are in analysed layers.",
        [(labels, subject.coverage.fraction) for labels, subject in subjects if subject.coverage is not None],
    )
    yield (
        "rmtaudit_gate_suppressions",
        "Checks that an exception of the policy changed; an expired one changes none.",
        [
            (
                {
                    "rule": whole_line(each.rule),
                    "layer": whole_line(each.layer or ""),
                    "finding": whole_line(each.finding or ""),
                    "expires": each.expires,
                    "reason": one_line(each.reason),
                },
                each.used,
            )
            for each in document.suppressions
        ],
    )
    metrics = [
        (
            {
                **labels,
                "metric": whole_line(name),
                **({"unit": one_line(metric.unit)} if metric.unit else {}),
            },
            metric,
        )
        for labels, subject in subjects
        for name, metric in subject.metrics.items()
    ]
    yield "rmtaudit_metric", "A number of the whole model.", _numbers(metrics, "value")
    yield "rmtaudit_metric_low", "Lower end of its interval.", _numbers(metrics, "low")
    yield "rmtaudit_metric_high", "Upper end of its interval.", _numbers(metrics, "high")


def _numbers(metrics: Iterable[tuple[dict[str, str], GateMetric]], part: str) -> list[Sample]:
    numbers = ((labels, getattr(metric, part)) for labels, metric in metrics)
    return [(labels, number) for labels, number in numbers if number is not None]


def _family(name: str, help_: str, samples: list[Sample]) -> list[str]:
    if not samples:
        return []
    unique = {tuple(labels.items()): value for labels, value in reversed(samples)}
    lines = [f"{name}{_labels(labels)} {value!r}" for labels, value in reversed(unique.items())]
    return [f"# TYPE {name} gauge", f"# HELP {name} {help_}", *lines]


def _labels(labels: Iterable[tuple[str, str]]) -> str:
    return "{" + ",".join(f'{key}="{_escaped(text)}"' for key, text in labels) + "}"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda match: "\\n" if match[0] == "\n" else f"\\{match[0]}", text)
