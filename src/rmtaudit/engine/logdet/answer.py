"""The two values of a computation: what a method computed, and the answer that is written.

A method gives an :class:`Outcome`. With the question, the plan and the settings it becomes a
:class:`LogDeterminant`, from which the document of ``rmtaudit logdet --format json`` is derived.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from rmtaudit.version import installed_version

if TYPE_CHECKING:
    import torch

    from rmtaudit.engine.logdet.plan import Plan
    from rmtaudit.engine.logdet.settings import LogdetSettings, Method, Place

SCHEMA_NAME = "rmtaudit.logdet"
SCHEMA_VERSION = "1.0"


class MarginKind(StrEnum):
    """What a margin claims."""

    ROUNDING_BOUND = "rounding bound"
    """The truth lies within, to first order in the round-off."""
    ROUNDING_ESTIMATE = "rounding estimate"
    """No bound holds: the size of errors that are independent of each other."""
    CONFIDENCE = "confidence interval"
    """Covers in ``level`` of runs with other random vectors."""
    PREDICTION = "prediction interval"
    """Covers in ``level`` of cases, if the law of the increments goes on."""
    UNKNOWN = "not known"
    """How far the entries are off is not known, so that nothing is claimed."""


class Refusal(StrEnum):
    """Why there is no number."""

    SINGULAR = "singular"
    NOT_DEFINITE = "not_definite"
    NO_METHOD = "no_method"
    ONE_SIDED = "one_sided"
    """Only a bound from one side is known."""
    UNCLEAR_RANK = "unclear_rank"
    """Which eigenvalues are 0 is not clear."""
    NOT_EXTRAPOLATED = "not_extrapolated"
    ORDERED_POINTS = "ordered_points"
    """The points do not come in random order, which an extrapolation needs."""
    OUT_OF_MEMORY = "out_of_memory"


class Assumption(StrEnum):
    """What an answer rests on that was not tested."""

    RANDOM_ORDER = "the points come in random order"


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """How far off a log-determinant can be.

    Attributes
    ----------
    kind
        What it claims.
    low, high
        Its ends, in nats; infinite where it is not known.
    level
        Coverage of an interval; ``None`` for rounding.
    basis
        What it rests on, in words.
    """

    kind: MarginKind
    low: float
    high: float
    level: float | None = None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a method computed of the matrix that it was given.

    Attributes
    ----------
    method, place
        What was done in the end; ``None`` where nothing was.
    logdet, sign
        In nats, and of the determinant; ``logdet`` is ``None`` with a ``reason``.
    margin
        How far off it can be.
    refusal, reason
        Why there is no number, as a value and in words.
    rank
        Eigenvalues that count, where the method decides it.
    carries_entries
        Whether the margin covers the known rounding of the entries, however large that is.
    evidence
        What a reader needs to check it: JSON values.
    cautions
        What weakens it.
    work
        What it cost, in counts that do not depend on the machine: JSON values.
    minors
        Log-determinants of the leading minors that were factored, float64, where the method has them.
    assumption
        What the number rests on, where that was not tested.
    """

    method: Method | None = None
    place: Place | None = None
    logdet: float | None = None
    sign: int | None = None
    margin: Margin | None = None
    refusal: Refusal | None = None
    reason: str = ""
    rank: int | None = None
    carries_entries: bool = False
    evidence: Mapping[str, Any] = field(default_factory=dict)
    cautions: tuple[Caution, ...] = ()
    work: Mapping[str, Any] = field(default_factory=dict)
    minors: torch.Tensor | None = None
    assumption: Assumption | None = None

    def refused(self, refusal: Refusal, reason: str, sign: int | None = None) -> Outcome:
        """Return it without a number; ``sign`` is 0 where the determinant is known to be 0."""
        return replace(self, logdet=None, sign=sign, margin=None, refusal=refusal, reason=reason)

    def cautioned(self, code: str, clause: str) -> Outcome:
        """Return it with one more caution, a sentence made of a clause."""
        caution = Caution(code, f"{clause[0].upper()}{clause[1:]}")
        return replace(self, cautions=(*self.cautions, caution))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogDeterminant:
    """The answer about a log-determinant.

    Attributes
    ----------
    refusal, reason, advice
        Why there is no number, as a value and in words, and what can be done.
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
        What was done; empty where nothing was.
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

    refusal: Refusal | None
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

    @classmethod
    def of(cls, outcome: Outcome, **context: Any) -> LogDeterminant:
        """Return the answer that an outcome gives; ``context`` has the other fields, by name."""
        same = (
            "refusal", "reason", "logdet", "sign", "margin", "evidence", "cautions", "work", "minors",
            "assumption",
        )  # fmt: skip
        method, place = str(outcome.method or ""), str(outcome.place or "")
        values = {name: getattr(outcome, name) for name in same}
        return cls(method=method, place=place, **values, **context)

    @property
    def status(self) -> Literal["ok", "refused"]:
        """Whether there is a number."""
        return "refused" if self.logdet is None else "ok"

    @property
    def complete(self) -> bool:
        """Whether there is a number, with no assumption that the caller did not make."""
        granted = self.assumption is None or self.settings.assume_random_order
        return self.logdet is not None and granted

    @property
    def per_dimension(self) -> float | None:
        """Nats per dimension; a rescaled matrix moves it by a constant."""
        return None if self.logdet is None else self.logdet / self.dimension

    @property
    def tolerance_met(self) -> bool | None:
        """Whether the margin is within the tolerance that was asked for; ``None`` where none was."""
        tolerance = self.settings.tolerance
        if tolerance is None:
            return None
        return self.margin is not None and self.margin.half_width <= tolerance * self.dimension

    def to_dict(self) -> dict[str, Any]:
        """Return the document: plain values, finite numbers, keys in the published order."""
        same = (
            "status", "refusal", "reason", "advice", "quantity", "logdet", "sign", "dimension",
            "per_dimension",
        )  # fmt: skip
        document = {
            **document_head(self.settings),
            "subject": self.subject,
            "plan": self.plan.to_dict(),
            "result": {
                **{name: getattr(self, name) for name in same},
                "margin": self._margin(),
                "method": self.method,
                "place": self.place,
                "why": self.plan.reason_for(self.method),
                "tolerance_met": self.tolerance_met,
                "assumption": self.assumption,
                "granted": self.complete,
            },
            "evidence": self.evidence,
            "warnings": [asdict(each) for each in self.cautions],
            "work": self.work,
            "run": self.run,
        }
        return {key: plain(value) for key, value in document.items()}

    def _margin(self) -> dict[str, Any] | None:
        if self.margin is None:
            return None
        half = self.margin.half_width
        return {
            "kind": self.margin.kind,
            "level": self.margin.level,
            "low": self.margin.low,
            "high": self.margin.high,
            "half_width": half,
            "half_width_per_dimension": half / self.dimension,
            "half_width_percent": 100 * half / abs(self.logdet) if self.logdet else None,
            "basis": self.margin.basis,
        }


def document_head(settings: LogdetSettings) -> dict[str, Any]:
    """Return what every document of this schema begins with."""
    options = {
        name: getattr(settings, name)
        for name in (
            "method", "pseudo", "size", "outputs", "up_to", "tolerance", "smallest", "probes", "steps",
            "confidence", "unshift", "minors", "assume_random_order",
        )
    }  # fmt: skip
    return {
        "schema": {"name": SCHEMA_NAME, "version": SCHEMA_VERSION},
        "tool": {"version": installed_version(), "options": options, "seed": settings.seed},
    }


def plain(value: Any) -> Any:
    """Return ``value`` as JSON takes it: texts of enums, and ``None`` for a number that is not finite."""
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
