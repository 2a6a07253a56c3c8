"""What is known of a kind of finding, before any model is scanned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["info", "warning", "error"]

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")
"""From the mildest to the most severe."""

CALIBRATED: tuple[tuple[Severity, float], ...] = (("error", 0.01), ("warning", 0.05))
"""Family-wise false-alarm rates, over the layers of a model, of findings that rest on a p-value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingKind:
    """One code of the catalogue.

    Attributes
    ----------
    code
        ``RA-<family>-<number>``, of a plugin with a prefix of its own; never reused.
    title
        A few words.
    fact
        Severity of a finding without a p-value: a fact about the bytes or the spectrum. ``None`` if there
        is always a p-value.
    milder
        When such a fact is less severe than ``fact``, as a sentence; empty if it never is.
    levels
        Severities of a finding with one, most severe first: the p-value, corrected for the number of
        layers, is at most the rate. Empty if a p-value changes nothing.
    meaning
        What it means for the model, to a practitioner.
    test
        How it is found: the null hypothesis, or the rule.
    calibration
        What was measured of its false alarms and its power. A kind without a calibration is never an
        ``error``: its findings are warnings at most.
    limits
        What it cannot see, and what else looks like it.
    action
        What to do.
    """

    code: str
    title: str
    fact: Severity | None
    levels: tuple[tuple[Severity, float], ...] = ()
    meaning: str
    test: str
    calibration: str = ""
    limits: str
    action: str
    milder: str = ""

    @property
    def calibrated(self) -> bool:
        """Whether it is known how often a finding of this kind is wrong."""
        return bool(self.calibration.strip())

    def severity(
        self, adjusted_p_value: float | None = None, observed: Severity | None = None
    ) -> Severity | None:
        """Return how severe a finding of this kind is; ``None``: none at all.

        Parameters
        ----------
        adjusted_p_value
            The p-value corrected for the number of layers tested; ``None`` for a fact.
        observed
            What the observer of a fact thinks of it; it counts only if it is milder than the catalogue.
        """
        if adjusted_p_value is not None and self.levels:
            result = next((severity for severity, rate in self.levels if adjusted_p_value <= rate), None)
        else:
            result = self.fact
        most: Severity = "error" if self.calibrated else "warning"
        if result is None:
            return None
        return min(result, observed or result, most, key=SEVERITIES.index)

    def sections(self) -> tuple[tuple[str, str], ...]:
        """Return everything there is to read, as headings and texts, severity first."""
        return (
            ("Severity", self._severities()),
            ("Meaning", self.meaning),
            ("Test", self.test),
            (
                "Calibration",
                self.calibration or "Not calibrated: findings of this kind are warnings at most.",
            ),
            ("Limits", self.limits),
            ("What to do", self.action),
        )

    def _severities(self) -> str:
        rates = ", ".join(
            f"{severity} at a family-wise rate of {rate:.0%}" if rate < 1 else f"{severity} otherwise"
            for severity, rate in self.levels
        )
        stated = "; ".join(part for part in (self.fact, rates) if part) + "."
        return f"{stated} {self.milder}".rstrip()
