"""The grammar of policies: the classes that a policy file is read, checked and described by.

A rule has one subject (``metric``, ``finding``, ``diagnosis``, ``relation`` or ``claim``), what that must
fulfil, and where it is looked at (``on``). docs/policies.md explains every key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from rmtaudit.report.gate import CheckSeverity
from rmtaudit.report.layer import NonNegative, Part, Words
from rmtaudit.report.plain import Count, Number

Identifier = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=80)]
Confidence = Annotated[float, Meta(ge=0, lt=1)]
Texts = Annotated[str, Meta(min_length=1)] | tuple[Annotated[str, Meta(min_length=1)], ...]
Each = Literal["model", "layer", "role", "kind"]
Aggregate = Literal["every", "mean", "median", "lowest", "highest"]
Needs = Literal["baseline", "weights"]
Missing = Literal["inconclusive", "ignore"]
Date = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$", description="ISO 8601: 2027-01-31.")]

SUBJECTS = ("metric", "finding", "diagnosis", "relation", "claim")
"""The keys of which a rule has exactly one."""

LIMITS = (
    "threshold",
    "range",
    "min_absolute_change",
    "min_relative_change",
    "max_absolute_change",
    "max_relative_change",
    "allowed",
    "forbidden",
    "same_as_baseline",
)
"""What a metric must fulfil: at least one of these."""

CHANGES = (
    "min_absolute_change",
    "min_relative_change",
    "max_absolute_change",
    "max_relative_change",
    "same_as_baseline",
)
"""Those that compare with the baseline."""

MODEL_FACTS = ("coverage", "parameters", "digest", "unmatched")
"""Metrics of a whole model."""

LAYER_WORDS = ("signal", "integrity", "dtype")
"""Metrics of a layer that every report has, whatever analyzers ran."""

PAIR_METRICS = ("relative_change", "relative_spectral_change", "signal_left")
"""Metrics of a layer that are computed from its weights and those of the baseline."""

DIRECTIONS = {
    "coverage": True,
    "unmatched": False,
    "relative_change": False,
    "relative_spectral_change": False,
    "signal_left": True,
}
"""Whether greater is better, of the metrics above for which one is."""

RELATIONS = (
    "identical",
    "derived",
    "same initialisation",
    "permuted copy (uncalibrated)",
    "independent",
    "untestable",
)
"""What two models are to each other, in the words of ``rmtaudit lineage``."""


class Selector(Part, frozen=True, kw_only=True):
    """Where a rule looks, and what one check of it is about."""

    layers: Annotated[
        Texts, Meta(description=("Patterns of names: `*` matches any text, `?` one character."))
    ] = "*"
    kind: Annotated[Texts | None, Meta(description="Kinds: `dense`, `conv2d`, `embedding` …")] = None
    role: Annotated[
        Texts | None, Meta(description="Patterns of roles: names with `#` for the numbers of blocks.")
    ] = None
    each: Annotated[
        Each, Meta(description="A check for every layer, role or kind; `model`: one for all of them.")
    ] = "model"
    of: Annotated[
        Aggregate, Meta(description="What is compared: every layer's value, or one number made of them.")
    ] = "every"

    @property
    def everywhere(self) -> bool:
        """Whether no layer is left out."""
        return self.layers in ("*", ("*",)) and self.kind is None and self.role is None


class Choice(Part, frozen=True, kw_only=True):
    """Words that are allowed, or words that are forbidden."""

    allowed: tuple[str, ...] | None = None
    forbidden: tuple[str, ...] | None = None


class FalseAlarms(Part, frozen=True, kw_only=True):
    """How often a rule failed on models that are known to be healthy."""

    alarms: Count
    models: Annotated[int, Meta(ge=1)]


class Rule(Part, frozen=True, kw_only=True):
    """One rule: exactly one of `metric`, `finding`, `diagnosis`, `relation`, `claim`."""

    id: Identifier
    why: Annotated[Words, Meta(description="A sentence that justifies the rule.")]
    severity: CheckSeverity = "error"
    on: Selector = Selector()
    only_with: Annotated[
        Needs | None,
        Meta(
            description=(
                "The rule is skipped without a baseline, or without the weights of both "
                "models. If the key is absent, the rule is inconclusive without them."
            )
        ),
    ] = None
    metric: Annotated[
        Words | None, Meta(description=("A metric of a report, or one of the names in docs/policies.md."))
    ] = None
    finding: Annotated[
        Texts | None, Meta(description="`error`, `warning` (or worse), or codes: none may occur.")
    ] = None
    diagnosis: Annotated[Choice | None, Meta(description="Kinds of change of a layer.")] = None
    relation: Annotated[Choice | None, Meta(description="How the model may be related to the baseline.")] = (
        None
    )
    claim: Annotated[
        Words | None, Meta(description="`Q4_K_M of BASE`, `lora:ADAPTER`, `merge: .5 A + .5 B`.")
    ] = None
    threshold: Annotated[
        Number | None,
        Meta(description="The worst value allowed; greater_is_better states which side is worse."),
    ] = None
    range: Annotated[tuple[Number, Number] | None, Meta(description="Lowest and highest value.")] = None
    min_absolute_change: Annotated[
        Number | None,
        Meta(
            description=(
                "Smallest improvement over the baseline; a negative number allows the "
                "metric to get worse by that much."
            )
        ),
    ] = None
    min_relative_change: Annotated[
        Number | None, Meta(description="The same, relative to the baseline's value.")
    ] = None
    max_absolute_change: Annotated[
        NonNegative | None, Meta(description="Largest change in either direction.")
    ] = None
    max_relative_change: Annotated[
        NonNegative | None, Meta(description="The same, relative to the baseline's value.")
    ] = None
    greater_is_better: Annotated[
        bool | None,
        Meta(description=("Direction of the metric; required where the metric does not declare one.")),
    ] = None
    allowed: Annotated[
        tuple[str, ...] | None,
        Meta(description=("Values that a metric may have, for metrics that are words.")),
    ] = None
    forbidden: Annotated[tuple[str, ...] | None, Meta(description="Values that it must not have.")] = None
    same_as_baseline: Annotated[
        Literal[True] | None, Meta(description="Whether the value must equal that of the baseline.")
    ] = None
    new: Annotated[
        bool,
        Meta(description=("Whether only findings that the same layer of the baseline does not have fail.")),
    ] = False
    missing: Annotated[
        Missing,
        Meta(description=("`ignore`: layers without the metric are ignored, unless no layer has it.")),
    ] = "inconclusive"
    confidence: Annotated[
        Confidence | None,
        Meta(
            description=("Confidence of the intervals that are compared; 0 compares the values themselves.")
        ),
    ] = None
    false_alarms: Annotated[
        FalseAlarms | None, Meta(description="Measured on healthy models, by benchmarks/gate_rates.py.")
    ] = None

    @property
    def subject(self) -> str:
        """The name of the subject."""
        return next(name for name in SUBJECTS if getattr(self, name) is not None)

    @property
    def choice(self) -> Choice | None:
        """The words that are allowed or forbidden, whatever the subject."""
        own = self.diagnosis or self.relation
        if own is not None:
            return own
        if self.allowed is None and self.forbidden is None:
            return None
        return Choice(allowed=self.allowed, forbidden=self.forbidden)

    @property
    def needs(self) -> Needs | None:
        """What it cannot be evaluated without."""
        if self.subject in ("diagnosis", "relation", "claim") or self.metric in (*PAIR_METRICS, "unmatched"):
            return "weights"
        if self.new or any(getattr(self, name) is not None for name in CHANGES):
            return "baseline"
        return None


class SuppressionEntry(Part, frozen=True, kw_only=True):
    """An exception: what is not counted, why, and until when."""

    rule: Identifier
    layer: Annotated[Words | None, Meta(description="Pattern of layers.")] = None
    finding: Annotated[Words | None, Meta(description="Code.")] = None
    reason: Words
    expires: Date


class PolicyFile(Part, frozen=True, kw_only=True):
    """A policy file."""

    extends: Annotated[
        Texts | None, Meta(description="Presets, or files relative to this one; later ones override.")
    ] = None
    name: Words | None = None
    version: Words | None = None
    confidence: Annotated[
        Confidence | None, Meta(description="Confidence for all rules that do not set their own.")
    ] = None
    rules: Annotated[
        tuple[Rule, ...], Meta(description="A rule replaces the extended rule with the same `id`.")
    ] = ()
    without: Annotated[
        tuple[Identifier, ...], Meta(description="Rules of extended policies that are dropped.")
    ] = ()
    suppress: tuple[SuppressionEntry, ...] = ()


def listed(texts: Texts | None) -> tuple[str, ...]:
    """Return one text or several as several."""
    if texts is None:
        return ()
    return (texts,) if isinstance(texts, str) else texts


def policy_schema() -> dict[str, Any]:
    """Return the published JSON Schema (2020-12) of a policy file."""
    (reference,), parts = msgspec.json.schema_components([PolicyFile], ref_template="#/$defs/{name}")
    definitions = msgspec.json.decode(msgspec.json.encode(parts))
    definitions["Rule"]["oneOf"] = [{"required": [name]} for name in SUBJECTS]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:rmtaudit:policy:1.0",
        "title": "Policy of a gate of rmtaudit",
        **reference,
        "$defs": definitions,
    }
