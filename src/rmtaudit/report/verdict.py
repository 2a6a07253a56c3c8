"""What a layer or a model is judged to be: a word, and what specifies it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from rmtaudit.kernels.signal import Signal, SignalWord

DAMAGED = "damaged"
"""The word of a layer with an error, and of its model."""


class Verdict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A verdict. Its text is the key ``verdict`` of a layer or a report."""

    word: Annotated[str, Meta(description="`damaged`, or the signal. Later versions may add words.")]
    codes: Annotated[tuple[str, ...], Meta(description="The errors, where the word is `damaged`.")]
    why: Annotated[
        str,
        Meta(description="What specifies the signal: the name of a start, a size, a reason. May be empty."),
    ]

    @property
    def text(self) -> str:
        """The word, with what specifies it in brackets."""
        detail = ", ".join(self.codes) or self.why
        return f"{self.word} ({detail})" if detail else self.word


def damaged(codes: tuple[str, ...]) -> Verdict:
    """Return the verdict of what has errors of these codes."""
    return Verdict(word=DAMAGED, codes=codes, why="")


def of_signal(signal: Signal) -> Verdict:
    """Return the verdict of what has no errors."""
    return Verdict(word=str(signal.word), codes=(), why=str(signal.detail))


UNJUDGED = of_signal(Signal(SignalWord.UNJUDGED))
"""The verdict of what was not tested."""


def verdict_of(text: str) -> Verdict:
    """Return the verdict of a text from a report of schema 1.0, which has no other form of it.

    >>> verdict_of("damaged (RA-FO-001, RA-SC-002)").codes
    ('RA-FO-001', 'RA-SC-002')
    """
    word, bracket, rest = text.partition(" (")
    if text == SignalWord.SCALES or not bracket:
        return Verdict(word=text, codes=(), why="")
    detail = rest.removesuffix(")")
    return damaged(tuple(detail.split(", "))) if word == DAMAGED else Verdict(word=word, codes=(), why=detail)
