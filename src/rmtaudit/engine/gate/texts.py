"""Rules about words: the signal or a word of a layer, its diagnosis, the relation of two models, a digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmtaudit.engine.gate.judged import Judged, unseen
from rmtaudit.engine.gate.policy import LAYER_WORDS, Choice, Rule
from rmtaudit.engine.gate.subject import Candidate
from rmtaudit.names import display_name, suggestion
from rmtaudit.report.gate import CheckEvidence
from rmtaudit.report.layer import LayerResult

if TYPE_CHECKING:
    from rmtaudit.report.comparison import LayerComparison

UNTESTABLE = "untestable"


def judge_word(rule: Rule, candidate: Candidate, layer: LayerResult) -> Judged:
    """Return what comes of one layer under a rule about a word."""
    metric = rule.metric or ""
    word, problem = _word(metric, layer)
    if word is None:
        near = "" if metric in candidate.report.metrics else suggestion(metric, candidate.report.metrics)
        return unseen(layer.name, f"{problem}{near}".rstrip("?"), metric)
    other = candidate.base_layer(layer.name)
    base_word = None if other is None else _word(metric, other)[0]
    if rule.same_as_baseline or rule.new:
        if candidate.baseline is None:
            return unseen(layer.name, f"has no {metric} of a baseline to compare with", metric)
        if rule.same_as_baseline and base_word is None:
            return unseen(layer.name, f"cannot be compared: the baseline has no {metric} of it", metric)
    shown = display_name(word, longest=80)
    evidence = CheckEvidence(layer=layer.name, metric=metric, value=word, baseline=base_word)
    if rule.same_as_baseline and word != base_word:
        text = f"has {metric} '{shown}', and the baseline '{display_name(str(base_word), longest=80)}'"
        return Judged(layer=layer.name, outcome="failed", text=text, evidence=evidence)
    if rule.choice is not None and not _is_allowed(word, rule.choice):
        was = "" if base_word is None or base_word == word else f", where the baseline has '{base_word}'"
        if rule.new and base_word is not None and not _is_allowed(base_word, rule.choice):
            text = f"has {metric} '{shown}', as the baseline has"
            return Judged(layer=layer.name, outcome="passed", text=text, evidence=evidence)
        text = f"has {metric} '{shown}'{was}"
        return Judged(layer=layer.name, outcome="failed", text=text, evidence=evidence)
    return Judged(layer=layer.name, outcome="passed", text=f"has {metric} '{shown}'", evidence=evidence)


def judge_diagnosis(rule: Rule, row: LayerComparison) -> Judged:
    """Return what comes of one pair under a rule about its diagnosis."""
    name = row.candidate
    if row.diagnosis is None:
        return unseen(name, f"was not compared: {display_name(row.reason, longest=200)}", "diagnosis")
    kind = row.diagnosis.kind
    size = None if row.change is None else row.change.relative_frobenius
    evidence = CheckEvidence(layer=name, metric="diagnosis", value=kind)
    allowed = rule.diagnosis is None or _is_allowed(kind, rule.diagnosis)
    return Judged(
        layer=name,
        outcome="passed" if allowed else "failed",
        text=display_name(row.diagnosis.sentence, longest=400),
        evidence=evidence,
        excess=size or 0.0,
    )


def judge_relation(rule: Rule, candidate: Candidate) -> list[Judged]:
    """Return what comes of the relation of two models, and the layers that show it."""
    comparison = candidate.comparison
    if comparison is None or comparison.relation is None:
        return [unseen(None, "was not compared with the weights of a baseline", "relation")]
    word, sentence = str(comparison.relation["word"]), str(comparison.relation["sentence"])
    choice = rule.relation or Choice()
    evidence = CheckEvidence(layer=None, metric="relation", value=word)
    listed = word in (choice.allowed or ()) or word in (choice.forbidden or ())
    if word == UNTESTABLE and not listed:
        why = sentence.removeprefix(f"{UNTESTABLE}: ")
        text = f"has no known relation to the baseline: {display_name(why, longest=300)}"
        return [Judged(layer=None, outcome="inconclusive", text=text, evidence=evidence)]
    text = f"is {display_name(sentence, longest=300)} to the baseline"
    if word in ("identical", "derived", "independent"):
        preposition = {"identical": "to", "derived": "from", "independent": "of"}[word]
        rest = sentence.removeprefix(word)
        text = f"is {word} {preposition} the baseline{display_name(rest, longest=300)}"
    if _is_allowed(word, choice):
        return [Judged(layer=None, outcome="passed", text=text, evidence=evidence)]
    whole = Judged(layer=None, outcome="failed", text=text, evidence=evidence, excess=float("inf"))
    apart = [
        Judged(
            layer=row.candidate,
            outcome="failed",
            text=display_name(row.diagnosis.sentence, longest=400),
            evidence=CheckEvidence(layer=row.candidate, metric="diagnosis", value=row.diagnosis.kind),
            excess=0.0 if row.change is None else row.change.relative_frobenius,
        )
        for row in comparison.layers
        if row.diagnosis is not None and _shows_nothing(row)
    ]
    return [whole, *apart]


def judge_digest(candidate: Candidate) -> Judged:
    """Return whether a model has the digest of the baseline."""
    if candidate.baseline is None:
        return unseen(None, "has no baseline to compare with", "digest")
    ours, theirs = candidate.report.subject["digest"], candidate.baseline.subject["digest"]
    if ours is None or theirs is None:
        return unseen(None, "has no digest, or the baseline has none", "digest")
    evidence = CheckEvidence(layer=None, metric="digest", value=ours, baseline=theirs)
    if ours == theirs:
        text = "has the names, shapes, dtypes and values of the baseline"
        return Judged(layer=None, outcome="passed", text=text, evidence=evidence)
    text = "differs from the baseline in names, shapes, dtypes or values"
    return Judged(layer=None, outcome="failed", text=text, evidence=evidence)


def is_word(rule: Rule) -> bool:
    """Whether a rule about a metric is about words."""
    if rule.metric in LAYER_WORDS:
        return True
    return rule.choice is not None or bool(rule.same_as_baseline)


def _word(metric: str, layer: LayerResult) -> tuple[str | None, str]:
    """Return the word of a layer, or ``None`` and why it has none."""
    if metric == "signal":
        return layer.signal.word, ""
    if metric == "integrity":
        return layer.integrity.word, ""
    if metric == "dtype":
        return layer.dtype, ""
    if layer.status != "ok":
        return None, f"was not analysed: {display_name(layer.reason, longest=200)}"
    result = layer.metrics.get(metric)
    if result is None:
        return None, f"has no metric {display_name(metric)} in this report"
    if result.value is None:
        return None, f"has no {metric}: {display_name(result.reason, longest=200)}"
    if isinstance(result.value, bool):
        return ("true" if result.value else "false"), ""
    return str(result.value), ""


def _is_allowed(word: str, choice: Choice) -> bool:
    if choice.allowed is not None:
        return word in choice.allowed
    return word not in (choice.forbidden or ())


def _shows_nothing(row: LayerComparison) -> bool:
    diagnosis = row.diagnosis
    assert diagnosis is not None
    return diagnosis.kind == "replaced" or bool(diagnosis.numbers.get("apart"))
