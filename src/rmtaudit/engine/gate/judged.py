"""What came of one layer, before those of a target become a check."""

from __future__ import annotations

from dataclasses import dataclass

from rmtaudit.engine.gate.estimates import Outcome
from rmtaudit.names import display_name
from rmtaudit.report.gate import CheckEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One layer, or the whole model, under one rule.

    Attributes
    ----------
    layer
        ``None`` for the whole model.
    outcome
        What came of it.
    text
        What is the case, to be read after the name of the layer: ``has alpha 9.3 (8.7 to 9.9), above 8``.
    evidence
        The numbers.
    finding
        Code, where the rule is about findings.
    excess
        How bad it is; the worst is named first.
    whole
        What the text is about, where it is about no layer.
    """

    layer: str | None
    outcome: Outcome
    text: str
    evidence: CheckEvidence
    finding: str | None = None
    excess: float = 0.0
    whole: str = "The model"

    @property
    def sentence(self) -> str:
        """The whole sentence, without a full stop."""
        name = self.whole if self.layer is None else f"'{display_name(self.layer, longest=120)}'"
        return f"{name} {self.text}"


def unseen(layer: str | None, text: str, metric: str | None = None) -> Judged:
    """Return what could not be evaluated, and why."""
    return Judged(
        layer=layer,
        outcome="inconclusive",
        text=text,
        evidence=CheckEvidence(layer=layer, metric=metric),
    )
