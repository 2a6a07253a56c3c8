"""A finding in a few words, for a row of a table: what is wrong with this layer, and how much."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rmtaudit.names import display_name
from rmtaudit.report.catalogue import FINDINGS
from rmtaudit.report.model import Finding
from rmtaudit.report.numbers import format_value

_LONGEST = 60

Evidence = Mapping[str, Any]


def phrase(finding: Finding, label: Callable[[str], str] = str) -> str:
    """Return the finding in a few printable words: ``rank 16 of 128``; else the title of its kind.

    ``label`` returns what a table shows for the name of a layer. The message of the finding is used for codes
    that are not in the catalogue, those of plugins. Nothing is taken for granted of the evidence, which may
    be that of another version.
    """
    words = _WORDS.get(finding.code)
    text = ""
    if words is not None:
        try:
            text = (
                words({**finding.evidence, "label": label})
                if callable(words)
                else words.format_map(finding.evidence)
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            text = ""
    if not text:
        kind = FINDINGS.get(finding.code)
        text = kind.title if kind is not None else finding.message
    return display_name(text, longest=_LONGEST)


def _nonfinite(seen: Evidence) -> str:
    parts = [f"{seen[key]} {word}" for key, word in (("nan", "NaN"), ("infinite", "infinite")) if seen[key]]
    return ", ".join(parts)


def _copy(seen: Evidence) -> str:
    return f"copy of {seen['label'](str(seen['copy_of']))}"


def _dead(seen: Evidence) -> str:
    counts = ((seen["dead_rows"], "rows"), (seen["dead_columns"], "columns"))
    return ", ".join(f"{count} dead {name}" for count, name in counts if count)


def _share(key: str, words: str) -> Callable[[Evidence], str]:
    return lambda seen: f"{100 * float(seen[key]):.0f} % {words}"


def _number(key: str, words: str) -> Callable[[Evidence], str]:
    return lambda seen: words.format(format_value(float(seen[key])))


def _loud(seen: Evidence) -> str:
    return f"{100 * float(seen['share']):.0f} % of the squared norm in one weight"


def _scale(seen: Evidence) -> str:
    factor = 10 ** abs(float(seen["log10_rms"]) - float(seen["median_of_peers"]))
    larger = float(seen["log10_rms"]) > float(seen["median_of_peers"])
    return f"{factor:.3g} times {'larger' if larger else 'smaller'} than its peers"


_WORDS: Mapping[str, str | Callable[[Evidence], str]] = {
    "RA-FO-001": "rank {rank} of {possible}",
    "RA-FO-002": "{bits}-bit grid",
    "RA-FO-003": "rounded to {rounded_to}",
    "RA-FO-004": _share("zero_share", "zeros"),
    "RA-FO-005": _dead,
    "RA-FO-007": "{copies} copied {of}",
    "RA-FO-008": _number("value", "all weights {}"),
    "RA-FO-009": "{overflowing} beyond float16",
    "RA-FO-014": _loud,
    "RA-FO-021": "{bits}-bit code book",
    "RA-FO-022": "{clipped} clipped",
    "RA-FO-023": "{count} flipped exponents",
    "RA-FO-024": _number("ratio", "rows or columns {} times larger"),
    "RA-FO-025": _number("ratio", "a weight {} times the next largest"),
    "RA-FO-027": _number("ratio", "offset of {} sd"),
    "RA-FO-028": "{half} half reinitialised",
    "RA-FO-029": "shuffled within {of}",
    "RA-FO-030": "{bytes} bytes overwritten",
    "RA-MO-001": _copy,
    "RA-MO-002": _scale,
    "RA-MO-003": "holds a constant: {constant}",
    "RA-SC-001": _nonfinite,
}
"""Words by code: a template over the evidence, or a function of it. Other codes have their title."""
