"""The answer about a log-determinant: a number with its error, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

    from rmtaudit.engine.logdet.plan import Plan
    from rmtaudit.engine.logdet.settings import LogdetSettings

MarginKind = Literal["rounding bound", "rounding estimate", "confidence interval", "prediction interval"]


class Refusal(StrEnum):
    """Why there is no number."""

    SINGULAR = "singular"
    NOT_DEFINITE = "not positive definite"
    NO_METHOD = "no method"
    ONE_SIDED = "bounded on one side only"
    UNCLEAR_RANK = "which eigenvalues are 0 is not clear"
    EXTRAPOLATION = "not extrapolated"


class Assumption(StrEnum):
    """What an answer rests on that was not tested."""

    RANDOM_ORDER = "the points come in random order"


@dataclass(frozen=True, slots=True)
class Margin:
    """How far off a log-determinant can be.

    Attributes
    ----------
    kind
        ``rounding bound``: the truth lies within, to first order in the round-off. ``rounding estimate``: no
        bound holds; the size of errors that are independent of each other. ``confidence interval``: covers in
        ``level`` of runs with other random vectors. ``prediction interval``: covers in ``level`` of cases, if
        the law of the increments goes on.
    low, high
        Its ends, in nats.
    level
        ``None`` for rounding.
    basis
        What it rests on, in words.
    """

    kind: MarginKind
    low: float
    high: float
    level: float | None
    basis: str

    @property
    def half_width(self) -> float:
        """Half of the interval, in nats."""
        return (self.high - self.low) / 2


@dataclass(frozen=True, slots=True)
class Caution:
    """Something that weakens an answer: a stable code, and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a method found out about the matrix that it was given.

    Attributes
    ----------
    logdet, sign, margin
        ``None`` with a ``reason``.
    reason, refusal
        Why there is no number, in words and as a value; or empty and ``None``.
    method, place
        What was done in the end.
    evidence
        What a reader needs to check it: JSON values.
    cautions
        What weakens it.
    work
        What it cost, in counts that do not depend on the machine: JSON values.
    minors
        Log-determinants of the leading minors, float64, where the method has them.
    assumption
        What the number rests on, where that was not tested.
    """

    method: str
    place: str
    logdet: float | None = None
    sign: int | None = None
    margin: Margin | None = None
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    cautions: tuple[Caution, ...] = ()
    work: Mapping[str, Any] = field(default_factory=dict)
    minors: torch.Tensor | None = None
    refusal: Refusal | None = None
    assumption: Assumption | None = None


@dataclass(frozen=True, slots=True)
class LogDeterminant:
    """The answer about a log-determinant.

    Attributes
    ----------
    status
        ``ok``, or ``refused``: then ``logdet`` is ``None`` and ``reason`` says why.
    reason, advice
        Why there is no number, and what can be done.
    quantity
        ``log-determinant`` or ``log-pseudo-determinant``.
    logdet
        In nats.
    sign
        Of the determinant: 1, -1, or 0 where it is known to be 0.
    dimension
        Rows of the matrix that the answer is about, or its rank.
    margin
        How far off it can be.
    method, place
        What was done.
    plan
        What was planned, and why.
    evidence, cautions, work, minors, assumption
        As of :class:`Outcome`.
    subject
        What the matrix is: JSON values.
    settings
        What was asked for.
    run
        What depends on the machine: budget, threads, seconds.
    """

    status: Literal["ok", "refused"]
    reason: str
    advice: str
    quantity: str
    logdet: float | None
    sign: int | None
    dimension: int
    margin: Margin | None
    method: str
    place: str
    plan: Plan
    evidence: Mapping[str, Any]
    cautions: tuple[Caution, ...]
    work: Mapping[str, Any]
    subject: Mapping[str, Any]
    settings: LogdetSettings
    run: Mapping[str, Any]
    minors: torch.Tensor | None = None
    assumption: Assumption | None = None

    @property
    def complete(self) -> bool:
        """Whether there is a number, with no assumption that the caller did not make."""
        return self.status == "ok" and (self.assumption is None or self.settings.assume_random_order)

    @property
    def per_dimension(self) -> float | None:
        """Nats per dimension; a rescaled matrix moves it by a constant."""
        return None if self.logdet is None else self.logdet / self.dimension

    def to_dict(self) -> dict[str, Any]:
        """Return the document of ``rmtaudit logdet --format json``."""
        from rmtaudit.engine.logdet.document import document_of

        return document_of(self)
