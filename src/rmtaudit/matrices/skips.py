"""Why a tensor or a layer has no spectrum: a value, and the one place that makes a sentence of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class SkipReason(StrEnum):
    """The reason: its name in reports, its sentence, in which details stand, and its label.

    The label is the words under which tensors are counted whose sentences differ; reasons without one are
    counted by their sentence.

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
    ADAPTER
        The factors of an update make none that can be analysed.
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
    EXCLUDED
        The caller left it out.
    NOT_MERGED, NO_UPDATE
        An update that does not fit the weight of the base; a weight of the base that no update is for.
    NOT_READ
        A file of the model that no reader knows.
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

    SCALAR = "scalar", "scalar"
    ONE_DIMENSIONAL = "one_dimensional", "vector (bias, norm, statistic)"
    HEAD_BIAS = "head_bias", "vector (bias of several heads)"
    NO_WEIGHT = "no_weight", "{role}"
    VECTOR = (
        "vector",
        "vector-shaped weight: {sides}, at most one dimension is larger than 1",
        "vector-shaped weight",
    )
    VECTOR_VIEW = (
        "vector_view",
        "vector-shaped weight: {sides} is the matrix {rows} x {cols} ({view})",
        "vector-shaped weight",
    )
    EMPTY = "empty", "empty: a dimension of size 0", "empty"
    BOOLEAN = "boolean", "boolean values, not weights"
    INTEGER = "integer", "integer values ({dtype}), not real weights"
    COMPLEX = "complex", "complex values ({dtype}), not real weights"
    BUFFER = "buffer", "buffer of the architecture (mask, table), not a weight"
    ADAPTER = "adapter", "adapter: {problem}", "adapter"
    UNCLEAR_LAYOUT = "unclear_layout", "layout: {sides} {layout}", "layout"
    QUANTISED = "quantised", "{problem}", "quantised"
    QUANTISATION_PARAMETER = "quantisation_parameter", "{role}"
    NO_VALUES = "no_values", "{problem}"
    TIED = "tied", "tied: the same {what} as '{original}', counted once", "tied"
    COPY = "copy", "copy: the same values as '{original}', counted once", "copy"
    CONSTANT = "constant", "constant of the architecture: {constant}", "constant of the architecture"
    EXCLUDED = "excluded", "excluded: {why}", "excluded"
    NOT_MERGED = "not_merged", "not merged: {problem}", "not merged"
    NO_UPDATE = "no_update", "no update: {how}", "no update"
    NOT_READ = "not_read", "not read: {problem}", "not read"
    BEYOND_MEMORY = (
        "beyond_memory",
        "memory: needs about {needed}, more than the budget of {budget} (--memory)",
        "memory",
    )
    NOT_REACHED = "not_reached", "not reached: the scan was stopped", "not reached"
    UNREADABLE = "unreadable", "unreadable: {problem}", "unreadable"
    NONFINITE = "nonfinite", "nonfinite: {problem}", "nonfinite"
    NO_SPECTRUM = (
        "no_spectrum",
        "the spectrum could not be computed: {problem}",
        "the spectrum could not be computed",
    )
    INTERNAL_ERROR = "internal_error", "internal error: {problem}", "internal error"

    sentence: str
    label: str

    def __new__(cls, name: str, sentence: str, label: str = "") -> SkipReason:
        """Return the member."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.sentence = sentence
        member.label = label
        return member


_LABELS: dict[str, str] = {reason: reason.label for reason in SkipReason}


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
        return self.reason.sentence.format(**self.details)


def label_of(reason: str | None, sentence: str) -> str:
    """Return the words under which tensors that are skipped for one reason are counted.

    Parameters
    ----------
    reason
        The value of a :class:`SkipReason`; ``None`` or that of another version where a document has it so.
    sentence
        What the document says, which is its own label where its reason has none.
    """
    return _LABELS.get(reason or "", "") or sentence


def reason_of(sentence: str) -> SkipReason | None:
    """Return the reason of a sentence from a report of schema 1.0, which has no other form of it."""
    start = sentence.partition(":")[0]
    return next(
        (reason for reason in SkipReason if reason.label and start in (reason.label, reason.value)), None
    )
