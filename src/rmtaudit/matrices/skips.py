"""Why a tensor or a layer has no spectrum: a value, and the one place that makes a sentence of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class SkipReason(StrEnum):
    """The reason. Its value is the name in reports.

    Attributes
    ----------
    SCALAR, ONE_DIMENSIONAL, HEAD_BIAS
        A single number; a bias, norm or statistic; a bias that is stored by heads.
    NO_WEIGHT
        The container says that it is no weight.
    VECTOR, VECTOR_VIEW
        A weight with at most one side longer than 1; a weight whose matrix has a side of 1.
    EMPTY
        A side of length 0.
    BOOLEAN, INTEGER, COMPLEX
        The dtype holds no real weights.
    BUFFER
        A mask or table of the architecture, by its name.
    UNCLEAR_LAYOUT
        The sides of the weight fit more than one order, or none.
    QUANTISED, QUANTISATION_PARAMETER
        Codes of a quantisation scheme; a scale, zero point or table of one.
    NO_VALUES
        The container has no plain values for the tensor: sparse, nested, of an unknown dtype.
    TIED, COPY
        The same storage as another tensor; the same values as another weight.
    CONSTANT
        A constant of the architecture, by its values.
    BEYOND_MEMORY
        Its spectrum takes more memory than the budget.
    NOT_REACHED
        The scan was stopped before.
    UNREADABLE
        Its bytes could not be read.
    NONFINITE
        It holds NaN or infinite values.
    NO_SPECTRUM
        The eigenvalue solver failed.
    INTERNAL_ERROR
        A fault of rmtaudit.
    """

    SCALAR = "scalar"
    ONE_DIMENSIONAL = "one_dimensional"
    HEAD_BIAS = "head_bias"
    NO_WEIGHT = "no_weight"
    VECTOR = "vector"
    VECTOR_VIEW = "vector_view"
    EMPTY = "empty"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    COMPLEX = "complex"
    BUFFER = "buffer"
    UNCLEAR_LAYOUT = "unclear_layout"
    QUANTISED = "quantised"
    QUANTISATION_PARAMETER = "quantisation_parameter"
    NO_VALUES = "no_values"
    TIED = "tied"
    COPY = "copy"
    CONSTANT = "constant"
    BEYOND_MEMORY = "beyond_memory"
    NOT_REACHED = "not_reached"
    UNREADABLE = "unreadable"
    NONFINITE = "nonfinite"
    NO_SPECTRUM = "no_spectrum"
    INTERNAL_ERROR = "internal_error"


_SENTENCES: dict[str, str] = {
    SkipReason.SCALAR: "scalar",
    SkipReason.ONE_DIMENSIONAL: "vector (bias, norm, statistic)",
    SkipReason.HEAD_BIAS: "vector (bias of several heads)",
    SkipReason.NO_WEIGHT: "{role}",
    SkipReason.VECTOR: "vector: {sides}, at most one side is longer than 1",
    SkipReason.VECTOR_VIEW: "vector: {sides} is the matrix {rows} x {cols} ({view})",
    SkipReason.EMPTY: "empty: a side of length 0",
    SkipReason.BOOLEAN: "boolean values, not weights",
    SkipReason.INTEGER: "integer values ({dtype}), not real weights",
    SkipReason.COMPLEX: "complex values ({dtype}), not real weights",
    SkipReason.BUFFER: "buffer of the architecture (mask, table), not a weight",
    SkipReason.UNCLEAR_LAYOUT: "layout: {sides} {layout}",
    SkipReason.QUANTISED: "{problem}",
    SkipReason.QUANTISATION_PARAMETER: "{role}",
    SkipReason.NO_VALUES: "{problem}",
    SkipReason.TIED: "tied: the same {what} as '{original}', counted once",
    SkipReason.COPY: "copy: the same values as '{original}', counted once",
    SkipReason.CONSTANT: "constant of the architecture: {constant}",
    SkipReason.BEYOND_MEMORY: "memory: needs about {needed}, more than the budget of {budget} (--memory)",
    SkipReason.NOT_REACHED: "not reached: the scan was stopped",
    SkipReason.UNREADABLE: "unreadable: {problem}",
    SkipReason.NONFINITE: "nonfinite: {problem}",
    SkipReason.NO_SPECTRUM: "the spectrum could not be computed: {problem}",
    SkipReason.INTERNAL_ERROR: "internal error: {problem}",
}
"""The sentence of each reason, in which the details stand."""

_LABELS: dict[str, str] = {
    SkipReason.VECTOR: "vector",
    SkipReason.VECTOR_VIEW: "vector",
    SkipReason.EMPTY: "empty",
    SkipReason.UNCLEAR_LAYOUT: "layout",
    SkipReason.QUANTISED: "quantised",
    SkipReason.TIED: "tied",
    SkipReason.COPY: "copy",
    SkipReason.CONSTANT: "constant of the architecture",
    SkipReason.BEYOND_MEMORY: "memory",
    SkipReason.NOT_REACHED: "not reached",
    SkipReason.UNREADABLE: "unreadable",
    SkipReason.NONFINITE: "nonfinite",
    SkipReason.NO_SPECTRUM: "the spectrum could not be computed",
    SkipReason.INTERNAL_ERROR: "internal error",
}
"""The words under which tensors are counted whose sentences differ; the others are counted by sentence."""


@dataclass(frozen=True, slots=True)
class Skip:
    """A reason with the numbers and names that specify it.

    ``details`` are the words that the sentence of the reason takes.
    """

    reason: SkipReason
    details: Mapping[str, object] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, reason: SkipReason, **details: object) -> Skip:
        """Return ``Skip(reason, details)``.

        >>> Skip.of(SkipReason.INTEGER, dtype="int64").sentence
        'integer values (int64), not real weights'
        """
        return cls(reason, details)

    @property
    def sentence(self) -> str:
        """The reason in words, with its details."""
        return _SENTENCES[self.reason].format(**self.details)


def label_of(reason: str | None, sentence: str) -> str:
    """Return the words under which tensors that are skipped for one reason are counted.

    Parameters
    ----------
    reason
        The value of a :class:`SkipReason`; ``None`` or that of another version where a document has it so.
    sentence
        What the document says, which is its own label where its reason has none.
    """
    return _LABELS.get(reason or "", sentence)


def reason_of(sentence: str) -> SkipReason | None:
    """Return the reason of a sentence from a report of schema 1.0, which has no other form of it."""
    start = sentence.partition(":")[0]
    return next((reason for reason in SkipReason if _LABELS.get(reason, "") == start), None)
