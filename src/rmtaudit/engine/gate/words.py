"""A rule in words: what it checks, without having looked at a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rmtaudit.engine.gate.policy import Choice, Rule, Selector, listed
from rmtaudit.names import display_name
from rmtaudit.report.numbers import format_value

_NAMES = {
    "coverage": "the share of the parameters of weight matrices that was analysed",
    "parameters": "the number of parameters",
    "unmatched": "the number of tensors without a counterpart",
    "relative_change": "the norm of the change over that of the baseline",
    "relative_spectral_change": "the largest singular value of the change over that of the baseline",
    "signal_left": "the share of the baseline's signal that is preserved",
}


def title_of(rule: Rule) -> str:
    """Return what a rule checks, in one sentence."""
    text = _statement(rule)
    new = ", unless the baseline also has it" if rule.new else ""
    return f"{text[:1].upper()}{text[1:]}{new}."


def _statement(rule: Rule) -> str:
    where = place_of(rule.on)
    if rule.subject == "finding":
        return f"{where} has a finding {_findings(listed(rule.finding))}".replace("every ", "no ", 1)
    if rule.subject == "diagnosis":
        return f"the change of {where} {_choice(rule.diagnosis)}"
    if rule.subject == "relation":
        return f"the relation to the baseline {_choice(rule.relation)}"
    if rule.subject == "claim":
        return f"the model agrees with the claim '{display_name(rule.claim or '')}'"
    if rule.metric == "digest":
        return "names, shapes, dtypes and values are those of the baseline"
    subject = _NAMES.get(rule.metric or "", display_name(rule.metric or ""))
    if rule.metric not in ("coverage", "parameters", "unmatched"):
        how = "" if rule.on.of == "every" else f"the {rule.on.of} "
        of = where if rule.on.of == "every" else where.replace("every layer", "all layers", 1)
        subject = f"{how}{subject} of {of}"
    return f"{subject} {' and '.join(_limits(rule))}"


def place_of(selector: Selector) -> str:
    """Return where a rule looks: ``every layer``, ``every layer of kind dense whose name fits h.*``."""
    parts = ["every layer"]
    if selector.kind is not None:
        parts.append(f"of kind {_or(listed(selector.kind))}")
    if selector.role is not None:
        parts.append(f"of the role {_or(listed(selector.role))}")
    if selector.layers not in ("*", ("*",)):
        parts.append(f"whose name matches {_or(listed(selector.layers))}")
    return " ".join(parts)


def _limits(rule: Rule) -> Iterator[str]:
    better = rule.greater_is_better
    if better is None:
        better = rule.metric in ("coverage", "signal_left")
    if rule.threshold is not None:
        yield f"is at {'least' if better else 'most'} {format_value(rule.threshold)}"
    if rule.range is not None:
        yield f"lies from {format_value(rule.range[0])} to {format_value(rule.range[1])}"
    for least, share in ((rule.min_absolute_change, False), (rule.min_relative_change, True)):
        if least is not None:
            size = f"{100 * abs(least):.3g} %" if share else format_value(abs(least))
            verb = "rises" if better == (least >= 0) else "falls"
            bound = "at least" if least >= 0 else "at most"
            yield f"{verb} by {bound} {size} against the baseline"
    for most, share in ((rule.max_absolute_change, False), (rule.max_relative_change, True)):
        if most is not None:
            size = f"{100 * most:.3g} %" if share else format_value(most)
            yield f"differs by at most {size} from the baseline"
    if rule.choice is not None:
        yield _choice(rule.choice)
    if rule.same_as_baseline:
        yield "is that of the baseline"


def _choice(choice: Choice | None) -> str:
    if choice is None:
        return ""
    if choice.allowed is not None:
        return f"is {_or(choice.allowed)}"
    return f"is not {_or(choice.forbidden or ())}"


def _findings(texts: tuple[str, ...]) -> str:
    levels = {"error": "of severity error", "warning": "of severity warning or error"}
    parts = [levels.get(text.lower(), display_name(text.upper())) for text in texts]
    return _or(parts)


def _or(texts: Iterable[str]) -> str:
    texts = [display_name(text) for text in texts]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"
