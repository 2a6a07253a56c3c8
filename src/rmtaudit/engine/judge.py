"""From what the analyzers observed to findings with a severity, and to verdicts.

An observation is a fact about the bytes, or a test with a p-value for its layer alone. A model has many
layers and more than one kind of test, so a p-value is multiplied by the number of both (Bonferroni) before
the catalogue says how severe it is: where every null hypothesis holds, an ``error`` is raised in at most
1 % of models and a ``warning`` in at most 5 %. A fact has the severity of its kind, or a milder one where the
observer knows an innocent explanation. Findings with one cause are grouped over the layers of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from rmtaudit.analyzers.base import Observation
from rmtaudit.engine.copies import copied_layers
from rmtaudit.engine.peers import out_of_scale
from rmtaudit.report.catalogue import FINDINGS
from rmtaudit.report.grouping import grouped_findings
from rmtaudit.report.model import Finding, LayerResult

TRAINED, NOISE_LIKE, DAMAGED, UNJUDGED = "trained", "noise-like", "damaged", "unjudged"

_WITHOUT_STRUCTURE = ("zero:", "constant:")
_NOISE_LIKE_CODE = "RA-NF-001"
_NOISE_TEST = "noise_p_value"
_CHANCE = 0.01
"""A model is ``trained`` if noise in all its layers is rejected at this level (Bonferroni over them)."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a model is found to be."""

    layers: tuple[LayerResult, ...]
    verdict: str
    findings: tuple[Finding, ...]


def judge(
    rows: Sequence[LayerResult],
    observed: Mapping[int, Sequence[Observation]],
    *,
    copies: Mapping[int, str] = MappingProxyType({}),
) -> Judgement:
    """Return the rows with findings and verdicts, and the verdict of the model.

    Parameters
    ----------
    rows
        All rows of the model, without findings.
    observed
        What the analyzers saw, by the place of the row in ``rows``.
    copies
        The tensor that has the very same values, by the place of the row.
    """
    tests = sum(bool(kind.levels) for kind in FINDINGS.values())
    corrected_by = tests * max(1, sum(row.status == "ok" for row in rows))
    scales, repeated = out_of_scale(rows), copied_layers(rows, copies)
    judged = []
    for index, row in enumerate(rows):
        seen = [*observed.get(index, ()), *scales.get(index, ()), *repeated.get(index, ()), *_of_the_row(row)]
        found = [_finding(observation, corrected_by) for observation in seen]
        findings = tuple(sorted(filter(None, found), key=lambda finding: finding.code))
        judged.append(replace(row, findings=findings, verdict=_verdict(row, findings)))
    return Judgement(tuple(judged), _model_verdict(judged), grouped_findings(judged))


def _finding(observation: Observation, corrected_by: int) -> Finding | None:
    kind = FINDINGS.get(observation.code)
    evidence = dict(observation.evidence)
    if kind is None:  # an analyzer of a third party, whose codes no catalogue of ours has calibrated
        return Finding(observation.code, "info", observation.message, evidence)
    adjusted = None
    if observation.p_value is not None:
        adjusted = min(1.0, observation.p_value * corrected_by)
        evidence |= {"p_value": observation.p_value}
        if kind.levels:
            evidence |= {"family_wise_p_value": adjusted}
    severity = kind.severity(adjusted, observation.severity)
    return None if severity is None else Finding(observation.code, severity, observation.message, evidence)


def _of_the_row(row: LayerResult) -> list[Observation]:
    kind, _, detail = row.reason.partition(": ")
    if kind == "nonfinite":
        return [Observation("RA-SC-001", f"The layer holds values that are not finite: {detail}.", {})]
    if kind == "zero":
        return [Observation("RA-SC-002", "Every weight of the layer is zero.", {})]
    return []


def _verdict(row: LayerResult, findings: Sequence[Finding]) -> str:
    errors = sorted({finding.code for finding in findings if finding.severity == "error"})
    if errors:
        return f"{DAMAGED} ({', '.join(errors)})"
    if row.status != "ok" or row.reason.startswith(_WITHOUT_STRUCTURE):
        return f"{UNJUDGED} ({row.reason.partition(':')[0]})"
    test = row.metrics.get(_NOISE_TEST)
    if test is None:
        return f"{UNJUDGED} (the analyzer noise did not run)"
    if test.value is None:
        return f"{UNJUDGED} ({test.reason})"
    noise = any(finding.code == _NOISE_LIKE_CODE for finding in findings)
    return NOISE_LIKE if noise else TRAINED


def _model_verdict(rows: Sequence[LayerResult]) -> str:
    """Return the verdict of the model: damaged if a layer is; else what its judged layers say together."""
    codes = sorted({f.code for row in rows for f in row.findings if f.severity == "error"})
    if codes:
        return f"{DAMAGED} ({', '.join(codes)})"
    tested = [p_value for row in rows if (p_value := _noise_p_value(row)) is not None]
    if not tested:
        return f"{UNJUDGED} (no layer could be judged)"
    return TRAINED if min(tested) * len(tested) <= _CHANCE else NOISE_LIKE


def _noise_p_value(row: LayerResult) -> float | None:
    test = row.metrics.get(_NOISE_TEST)
    return float(test.value) if test is not None and isinstance(test.value, (int, float)) else None
