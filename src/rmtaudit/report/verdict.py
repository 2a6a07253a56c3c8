"""What a layer or a model is judged to be: two words, and what specifies each.

*Integrity* is about the bytes: whether something was damaged. *Signal* is about learning: whether the weights
differ from noise and from a known start. The two are independent: a damaged layer may well be structured.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from rmtaudit.kernels.signal import Signal, SignalWord

if TYPE_CHECKING:
    from rmtaudit.report.model import Finding


class Integrity(StrEnum):
    """Whether a layer or a model shows traces of damage.

    Attributes
    ----------
    OK
        No finding is a warning or an error.
    WARNING
        A finding is a warning: it has an innocent explanation, or a few false alarms.
    DAMAGED
        A finding is an error: it has no innocent explanation.
    UNJUDGED
        The values were not examined.
    """

    OK = "ok"
    WARNING = "warning"
    DAMAGED = "damaged"
    UNJUDGED = "unjudged"


class Verdict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One answer: a word, and what specifies it."""

    word: Annotated[str, Meta(description="Later versions may add words.")]
    codes: Annotated[
        tuple[str, ...],
        Meta(description="The errors, where the word is `damaged`; the warnings, where it is `warning`."),
    ]
    why: Annotated[
        str,
        Meta(
            description=("Detail of the word: the name of an initialisation, a size, a reason. May be empty.")
        ),
    ]

    @property
    def text(self) -> str:
        """The word, with what specifies it in brackets."""
        detail = ", ".join(self.codes) or self.why
        return f"{self.word} ({detail})" if detail else self.word


def damaged(codes: tuple[str, ...]) -> Verdict:
    """Return the integrity of what has errors of these codes."""
    return Verdict(word=str(Integrity.DAMAGED), codes=codes, why="")


def integrity_of(findings: Iterable[Finding], *, unread: str = "", remark: str = "") -> Verdict:
    """Return the integrity of a layer or a model with these findings.

    ``unread`` is why the values were not examined, empty if they were. ``remark`` specifies ``ok``: which
    checks did not run.
    """
    findings = list(findings)
    for severity, word in (("error", Integrity.DAMAGED), ("warning", Integrity.WARNING)):
        codes = sorted({finding.code for finding in findings if finding.severity == severity})
        if codes:
            return Verdict(word=str(word), codes=tuple(codes), why="")
    if unread:
        return Verdict(word=str(Integrity.UNJUDGED), codes=(), why=unread)
    return Verdict(word=str(Integrity.OK), codes=(), why=remark)


def of_signal(signal: Signal) -> Verdict:
    """Return a signal as an answer."""
    return Verdict(word=str(signal.word), codes=(), why=str(signal.detail))


def joint_verdict(integrity: Verdict, signal: Verdict) -> Verdict:
    """Return both answers in one, as the key ``judgement`` has it: damage hides the signal."""
    return integrity if integrity.word == Integrity.DAMAGED else signal


UNJUDGED = of_signal(Signal(SignalWord.UNJUDGED))
"""The signal of what was not tested."""

UNREAD = Verdict(word=str(Integrity.UNJUDGED), codes=(), why="")
"""The integrity of what was not examined."""

NOT_RECORDED = of_signal(Signal(SignalWord.UNJUDGED, "not recorded"))
"""The signal of a damaged layer in a document that has the joint verdict alone."""


def verdict_of(text: str) -> Verdict:
    """Return the joint verdict of a text from a report of schema 1.0, which has no other form of it.

    >>> verdict_of("damaged (RA-FO-001, RA-SC-002)").codes
    ('RA-FO-001', 'RA-SC-002')
    """
    word, bracket, rest = text.partition(" (")
    if text == SignalWord.SCALES or not bracket:
        return Verdict(word=text, codes=(), why="")
    detail = rest.removesuffix(")")
    if word == Integrity.DAMAGED:
        return damaged(tuple(detail.split(", ")))
    return Verdict(word=word, codes=(), why=detail)
