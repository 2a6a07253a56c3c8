"""Which findings make a scan fail, as ``--fail-on`` says."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from rmtaudit.errors import UsageError
from rmtaudit.finding_kind import SEVERITIES, FindingKind, Severity
from rmtaudit.matrices.skips import SkipReason
from rmtaudit.names import display_name, suggestion
from rmtaudit.report.catalogue import FINDINGS, finding_kind
from rmtaudit.report.model import Finding, LayerFinding, LayerResult, Report

NEVER = "never"
_LEVELS: tuple[Severity, ...] = ("error", "warning")
_NOT_JUDGED = frozenset({SkipReason.BEYOND_MEMORY, SkipReason.NOT_REACHED})
"""Reasons why a weight was skipped that say nothing about the weight."""

_FAMILIES = {"RA-FO": "forensics", "RA-NF": "noise", "RA-PL": "powerlaw"}
_OTHERS = {
    "RA-FO-011": "noise",
    "RA-FO-012": "noise",
    "RA-FO-030": "",  # every scan looks for overwritten pages
    "RA-NF-003": "traps",
    "RA-MO-002": "forensics",  # whose log10_rms is compared
    "RA-MO-003": "noise",  # which says that the other layers are trained
}


@dataclass(frozen=True, slots=True)
class FailOn:
    """The findings on which a scan fails: those at least as severe as a level, and those of some codes.

    Attributes
    ----------
    level
        ``error`` or ``warning``; ``None`` where only codes count.
    codes
        Codes that count whatever their severity.
    """

    level: Severity | None = None
    codes: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self.level is not None or bool(self.codes)

    def __str__(self) -> str:
        return ",".join([*([self.level] if self.level else []), *sorted(self.codes)]) or NEVER

    def applies_to(self, finding: Finding | LayerFinding) -> bool:
        """Whether a scan fails on this finding."""
        if finding.code in self.codes:
            return True
        return self.level is not None and SEVERITIES.index(finding.severity) >= SEVERITIES.index(self.level)


def parse_fail_on(text: str, kinds: Mapping[str, FindingKind] = FINDINGS) -> FailOn:
    """Return the condition that a text states: ``never``, or ``error``, ``warning`` and codes with commas.

    Parameters
    ----------
    text
        The value of ``--fail-on``; codes in upper or lower case.
    kinds
        The catalogue of findings, with those of plugins.

    Raises
    ------
    UsageError
        RA-US-110: no finding has such a code. RA-US-112: a word that is neither a severity nor a code, or
        ``never`` together with others.
    """
    words = [word.strip() for word in text.split(",")]
    lowered = [word.lower() for word in words]
    if lowered == [NEVER]:
        return FailOn()
    level: Severity | None = None
    codes = set()
    for word, lower in zip(words, lowered, strict=True):
        if lower in _LEVELS:
            level = "warning" if "warning" in (lower, level) else "error"
        elif "-" in word:
            codes.add(finding_kind(word, kinds).code)
        else:
            raise _wrong_word(word, alone=len(words) == 1)
    return FailOn(level, frozenset(codes))


def require_analyzers(condition: FailOn, analyzers: Collection[str]) -> None:
    """Raise ``UsageError`` (RA-US-113) for a code that a scan with these analyzers never raises.

    Without this a gate on such a code would pass every model.
    """
    for code in sorted(condition.codes):
        analyzer = analyzer_of(code)
        if analyzer and analyzer not in analyzers:
            raise UsageError(
                "RA-US-113",
                f"The scan never raises {code}: it does not run the analyzer {analyzer!r}.",
                hint=(
                    f"The scan runs {', '.join(map(display_name, analyzers))}; add {analyzer} to "
                    "--analyzers, or use the preset audit."
                ),
            )


def analyzer_of(code: str) -> str:
    """Return the built-in analyzer that raises a code; ``""`` if every scan does, or a plugin."""
    return _OTHERS.get(code, _FAMILIES.get(code.rpartition("-")[0], ""))


def failing_findings(report: Report, condition: FailOn) -> Iterator[tuple[LayerResult, Finding]]:
    """Yield the findings on which the scan fails, each with its layer, in stored order."""
    for layer in report.layers:
        for finding in layer.findings:
            if condition.applies_to(finding):
                yield layer, finding


def not_judged(report: Report) -> tuple[LayerResult, ...]:
    """Return the layers of which nothing can be said: failed without a finding, too large, not reached."""
    return tuple(
        layer
        for layer in report.layers
        if not layer.findings and (layer.status == "failed" or layer.skip in _NOT_JUDGED)
    )


def _wrong_word(word: str, *, alone: bool) -> UsageError:
    if word.lower() == NEVER and not alone:
        return UsageError("RA-US-112", "The word never must stand alone in --fail-on.")
    shown = display_name(word, longest=40)
    near = suggestion(word.lower(), (*_LEVELS, NEVER))
    return UsageError(
        "RA-US-112",
        f"{shown!r} is neither a severity nor the code of a finding.{near}",
        hint="--fail-on takes error, warning, never, or codes such as RA-FO-001,RA-SC-001.",
    )
