"""The section of a model card that rmtaudit owns, and its place in the file.

The section stands between two comments of Markdown. Nothing else of the file is changed, byte for byte; the
file may be in any encoding that has ASCII in it, as UTF-8 and Latin-1 do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rmtaudit.errors import InputError
from rmtaudit.names import display_name
from rmtaudit.report import sentences
from rmtaudit.report.model import Report
from rmtaudit.report.writers.markdown import escape_markdown

BEGIN, END = "<!-- rmtaudit:begin -->", "<!-- rmtaudit:end -->"

_MARKER = re.compile(rb"<!--[ \t]*rmtaudit:(begin|end)[ \t]*-->")
_MOST_FINDINGS = 5
_LONGEST = 300
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def card_section(report: Report) -> str:
    """Return the section of a report, with the markers: both words, the coverage, the findings.

    It has no time and no path of this machine: equal reports give equal text. Lines end with line feeds.
    """
    judged = sentences.is_judged(report)
    rows = [
        ("Integrity", sentences.integrity_line(report) if judged else ""),
        ("Signal", sentences.signal_line(report) if judged else ""),
        ("Coverage", sentences.coverage_line(report)),
        ("Model", sentences.subject_facts(report)),
        ("Summary", sentences.summary_line(report)),
        ("Digest", report.subject["digest"] or ""),
        ("Run", f"rmtaudit {report.tool['version']}, {sentences.settings_line(report)}"),
    ]
    lines = [BEGIN, "## Weight audit", "", "| question | answer |", "|---|---|"]
    lines += [f"| {label} | {_text(text)} |" for label, text in rows if text]
    findings = sentences.findings(report)
    if findings:
        lines += ["", *(f"- {severity}: {_text(text)}" for severity, text in findings[:_MOST_FINDINGS])]
    if len(findings) > _MOST_FINDINGS:
        lines.append(f"- and {len(findings) - _MOST_FINDINGS} more")
    lines += ["", _text(sentences.not_claimed(report)), END]
    return "\n".join(lines)


def with_section(card: bytes, section: str, *, where: str = "") -> bytes:
    """Return a card with a section: in the place of the one that it has, else at its end.

    Parameters
    ----------
    card
        The file. A byte-order mark, front matter, line endings and everything outside the markers stay.
    section
        Of :func:`card_section`; it gets the line endings of the card.
    where
        Name of the file, for errors.

    Raises
    ------
    InputError
        RA-CA-001: the markers are not one pair in this order; RA-CA-002: the file is UTF-16.
    """
    if card.startswith(_UTF16):
        raise InputError("RA-CA-002", "The model card is UTF-16.", hint="Save it as UTF-8.", where=where)
    ending = "\r\n" if b"\r\n" in card else "\r" if b"\r" in card and b"\n" not in card else "\n"
    text = section.replace("\n", ending).encode()
    markers = list(_markers(card))
    if not markers:
        return card + _gap(card, ending.encode()) + text + ending.encode()
    if [kind for kind, _, _ in markers] != ["begin", "end"]:
        lines = ", ".join(f"{kind} in line {_line(card, start)}" for kind, start, _ in markers[:4])
        raise InputError(
            "RA-CA-001",
            f"The markers of rmtaudit are not one pair: {lines}.",
            hint=f"Keep one {BEGIN} followed by one {END}, or remove both.",
            where=where,
        )
    (_, start, _), (_, _, end) = markers
    return card[:start] + text + card[end:]


def _markers(card: bytes) -> Iterator[tuple[str, int, int]]:
    for match in _MARKER.finditer(card):
        yield match[1].decode(), match.start(), match.end()


def _line(card: bytes, place: int) -> int:
    return len(re.findall(rb"\r\n|\r|\n", card[:place])) + 1


def _gap(card: bytes, ending: bytes) -> bytes:
    """Return what separates a section from the text before it: one empty line."""
    bare = card.removeprefix(b"\xef\xbb\xbf")
    if not bare:
        return b""
    if bare.endswith(ending * 2):
        return b""
    return ending if bare.endswith(ending) else ending * 2


def _text(text: str) -> str:
    """Return hostile text as one line of Markdown without markup, HTML or table cells."""
    return escape_markdown(display_name(text, longest=_LONGEST))
