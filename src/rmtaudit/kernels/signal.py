"""The signal of a layer in a word: what its weights say about learning."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SignalWord(StrEnum):
    """What a layer's weights say about learning, apart from any damage.

    Attributes
    ----------
    STRUCTURED
        The signs of the entries are not independent: something was learned.
    SCALES
        The signs look random, but the sizes are not in random order: rows, columns or kernel positions were
        learned.
    NOISE_LIKE
        Neither is found.
    INITIAL
        The weights are those of a known initialisation.
    CONSTANT
        The tensor is no weight at all but a constant of the architecture: a mask, a table, a filter bank.
    TOO_SMALL
        Neither is found, but a layer of this size could hide it.
    UNJUDGED
        Not tested.
    """

    STRUCTURED = "structured"
    SCALES = "structured (scales)"
    NOISE_LIKE = "noise-like"
    INITIAL = "initial"
    CONSTANT = "constant"
    TOO_SMALL = "too small"
    UNJUDGED = "unjudged"


@dataclass(frozen=True, slots=True)
class Signal:
    """A word and what specifies it: the name of the start or the constant, a size, a reason."""

    word: SignalWord
    detail: str = ""

    @property
    def text(self) -> str:
        """The word with its detail in brackets."""
        return f"{self.word} ({self.detail})" if self.detail else str(self.word)
