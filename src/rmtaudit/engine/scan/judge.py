"""From what the analyzers observed to findings with a severity, and to the words of layers and of the model.

An observation is a fact about the bytes, or a test with a p-value for its layer alone. A model has many
layers and more than one kind of test, so a p-value is multiplied by the number of both (Bonferroni) before
the catalogue says how severe it is: where every null hypothesis holds, an ``error`` is raised in at most
1 % of models and a ``warning`` in at most 5 %. A fact has the severity of its kind, or a milder one where the
observer knows an innocent explanation. Findings with one cause are grouped over the layers of the model.

The findings alone decide the integrity, the signal analyzer alone the signal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from msgspec.structs import replace

from rmtaudit.analyzers.base import Observation
from rmtaudit.engine.scan.copies import copied_layers
from rmtaudit.engine.scan.peers import constants_among_trained, out_of_scale
from rmtaudit.finding_kind import FindingKind
from rmtaudit.kernels.signal import Signal, SignalWord
from rmtaudit.matrices.skips import label_of
from rmtaudit.report.catalogue import FINDINGS
from rmtaudit.report.grouping import grouped_findings
from rmtaudit.report.model import Finding, LayerResult
from rmtaudit.report.verdict import Verdict, integrity_of, joint_verdict, of_signal

_SIGN_TEST, _ORDER_TEST = "noise_p_value", "exchangeable_p"
_CHANCE = 0.01
"""A model is ``structured`` if noise in all its layers is rejected at this level (Bonferroni over them)."""

_NOTHING_JUDGED = "no layer could be judged"
_FEW_CHECKS = "the analyzer forensics did not run"


@dataclass(frozen=True, slots=True)
class JudgedModel:
    """The rows with their words, the words of the model, and its findings."""

    layers: tuple[LayerResult, ...]
    integrity: Verdict
    signal: Verdict
    findings: tuple[Finding, ...]

    @property
    def judgement(self) -> Verdict:
        """Both words in one."""
        return joint_verdict(self.integrity, self.signal)

    @property
    def verdict(self) -> str:
        """Both words in one, as a text."""
        return self.judgement.text


def judge(
    rows: Sequence[LayerResult],
    observed: Mapping[int, Sequence[Observation]],
    signals: Mapping[int, Signal] = MappingProxyType({}),
    *,
    copies: Mapping[int, str] = MappingProxyType({}),
    kinds: Mapping[str, FindingKind] = FINDINGS,
    thorough: bool = True,
) -> JudgedModel:
    """Return the rows with findings, integrity and signal, and both words for the model.

    Parameters
    ----------
    rows
        All rows of the model, without findings.
    observed
        What the analyzers saw, by the place of the row in ``rows``.
    signals
        What the weights say about learning, likewise. The one finding that a constant of the architecture can
        have is that it is none (RA-MO-003).
    copies
        The tensor that has the very same values, by the place of the row.
    kinds
        The catalogue of findings: rmtaudit's own, with those of the analyzers that ran.
    thorough
        Whether the analyzer forensics looked for damage. Otherwise ``ok`` says that it did not.
    """
    tests = sum(bool(kind.levels) for kind in kinds.values())
    corrected_by = tests * max(1, sum(row.status == "ok" for row in rows))
    scales, repeated = out_of_scale(rows), copied_layers(rows, copies)
    overwritten = constants_among_trained(rows, signals)
    remark = "" if thorough else _FEW_CHECKS
    judged = []
    words = []
    for index, row in enumerate(rows):
        signal = signals.get(index) or Signal(SignalWord.UNJUDGED, _why_unjudged(row))
        words.append(signal)
        if signal.word is SignalWord.CONSTANT:
            observations = overwritten.get(index, [])
        else:
            observations = [*observed.get(index, ()), *scales.get(index, ()), *repeated.get(index, ())]
        raised = [_finding(observation, corrected_by, kinds) for observation in observations]
        findings = tuple(sorted(filter(None, raised), key=lambda finding: finding.code))
        judged.append(_with_words(row, findings, signal, remark))
    every = [finding for row in judged for finding in row.findings]
    unread = "" if any(row.examined for row in judged) else _NOTHING_JUDGED
    return JudgedModel(
        layers=tuple(judged),
        integrity=integrity_of(every, unread=unread, remark=remark),
        signal=of_signal(_together(judged, words)),
        findings=grouped_findings(judged, kinds),
    )


def _finding(observation: Observation, corrected_by: int, kinds: Mapping[str, FindingKind]) -> Finding | None:
    kind = kinds.get(observation.code)
    evidence = dict(observation.evidence)
    if kind is None:  # an analyzer of a third party, which does not say what the code means
        return Finding(code=observation.code, severity="info", message=observation.message, evidence=evidence)
    adjusted = None
    if observation.p_value is not None:
        adjusted = min(1.0, observation.p_value * corrected_by)
        evidence |= {"p_value": observation.p_value}
        if kind.levels:
            evidence |= {"family_wise_p_value": adjusted}
    severity = kind.severity(adjusted, observation.severity)
    if severity is None:
        return None
    return Finding(code=observation.code, severity=severity, message=observation.message, evidence=evidence)


def _with_words(row: LayerResult, findings: tuple[Finding, ...], signal: Signal, remark: str) -> LayerResult:
    """Return the row with its findings, and the words that they and its signal come to."""
    unread = "" if row.examined else label_of(row.skip, row.reason)
    integrity = integrity_of(findings, unread=unread, remark=remark)
    word = of_signal(signal)
    joint = joint_verdict(integrity, word)
    return replace(
        row, findings=findings, integrity=integrity, signal=word, verdict=joint.text, judgement=joint
    )


def _why_unjudged(row: LayerResult) -> str:
    """Return why a row has no signal."""
    if row.status != "ok":
        return label_of(row.skip, row.reason)
    test = row.metrics.get(_SIGN_TEST)
    return "the analyzer noise did not run" if test is None else test.reason


def _together(rows: Sequence[LayerResult], signals: Sequence[Signal]) -> Signal:
    """Return the signal of the model.

    Structured if some layer is, at a family-wise level of 1 % over all that were tested; else the word
    that most of its parameters have, of noise-like, initial and too small.
    """
    pairs = list(zip(rows, signals, strict=True))
    for word, test in ((SignalWord.STRUCTURED, _SIGN_TEST), (SignalWord.SCALES, _ORDER_TEST)):
        tested = sum(row.number(test) is not None for row in rows)
        p_values = [p for row, signal in pairs if signal.word is word and (p := row.number(test)) is not None]
        if p_values and min(p_values) * tested <= _CHANCE:
            return Signal(word)
    sizes: Counter[SignalWord] = Counter()
    for row, signal in pairs:
        sizes[signal.word] += row.parameters
    for word in (SignalWord.NOISE_LIKE, SignalWord.INITIAL, SignalWord.TOO_SMALL):
        if sizes[word] and sizes[word] == max(sizes[other] for other in _SILENT):
            return Signal(word, _shared_detail(word, signals))
    constant = sizes[SignalWord.CONSTANT] > 0
    return Signal(SignalWord.UNJUDGED, "nothing but constants" if constant else _NOTHING_JUDGED)


_SILENT = (SignalWord.NOISE_LIKE, SignalWord.INITIAL, SignalWord.TOO_SMALL)


def _shared_detail(word: SignalWord, signals: Sequence[Signal]) -> str:
    """Return the name that all starts of a model share; ``""`` for every other word."""
    names = {signal.detail for signal in signals if signal.word is word}
    return names.pop() if word is SignalWord.INITIAL and len(names) == 1 else ""
