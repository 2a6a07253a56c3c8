"""The settings of one log-determinant, checked as far as they can be without the matrix."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypedDict

from rmtaudit.engine.resources.device_names import Device
from rmtaudit.errors import UsageError


class Method(StrEnum):
    """A method for a log-determinant; where the choice is left to the planner, ``None`` stands for it."""

    CHOLESKY = "cholesky"
    LDLT = "ldlt"
    LU = "lu"
    SPARSE = "sparse"
    QR = "qr"
    MIXED = "mixed"
    EIGENVALUES = "eigenvalues"
    SLQ = "slq"
    FLODANCE = "flodance"


class Place(StrEnum):
    """Where a method works, which decides what it takes."""

    IN_MEMORY = "in memory"
    ON_DISK = "on disk"
    BY_PRODUCTS = "by products"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogdetSettings:
    """How a log-determinant is computed.

    Attributes
    ----------
    method
        ``None``: the planner chooses.
    pseudo
        Ask for the log-pseudo-determinant: the sum of the logarithms of the eigenvalues that are not 0.
    size
        Points of the leading minor that is asked for; beyond the matrix it is extrapolated. ``None``: all.
    outputs
        Rows for each point.
    up_to
        Leading points that may be factored; ``None``: all. Of the others no more than 192 rows are sampled,
        to test that the points come in random order.
    tolerance
        Half-width, in nats per dimension, that is good enough.
    smallest
        A lower bound of the spectrum that the user knows.
    probes, steps
        Of stochastic methods: random vectors, and Lanczos steps of each at most.
    confidence
        Coverage of intervals.
    seed
        Of everything random.
    memory
        Budget in bytes; ``None``: half of what is free.
    threads
        Of BLAS; ``None``: the CPUs of this process.
    device
        Where tiles, products and eigenvalues are computed; see the page of devices for what stays on the CPU.
    scratch
        Folder of the factor on disk; ``None``: one of the user's cache.
    resume
        Continue with what an interrupted computation left there.
    unshift
        Also say what ``A + t I`` tells about ``A``.
    minors
        Whether every leading minor is wanted.
    assume_random_order
        Whether the caller takes the points for being in random order where that cannot be tested.
    """

    method: Method | None = None
    pseudo: bool = False
    size: int | None = None
    outputs: int = 1
    up_to: int | None = None
    tolerance: float | None = None
    smallest: float | None = None
    probes: int = 16
    steps: int = 200
    confidence: float = 0.95
    seed: int = 0
    memory: int | None = None
    threads: int | None = None
    device: Device = "cpu"
    scratch: Path | None = None
    resume: bool = False
    unshift: bool = False
    minors: bool = False
    assume_random_order: bool = False

    def __post_init__(self) -> None:
        for name, least in (("size", 1), ("outputs", 1), ("up_to", 1), ("probes", 2), ("steps", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError("RA-LD-030", f"The setting {name} must be at least {least}, not {value}.")
        if self.tolerance is not None and not 0 < self.tolerance < float("inf"):
            raise UsageError("RA-LD-030", f"A tolerance must be positive, not {self.tolerance:g}.")
        if self.smallest is not None and not 0 < self.smallest < float("inf"):
            raise UsageError(
                "RA-LD-030", f"A lower bound of the spectrum must be positive, not {self.smallest:g}."
            )
        if not 0 < self.confidence < 1:
            raise UsageError("RA-LD-030", f"A coverage must lie between 0 and 1, not {self.confidence:g}.")
        if self.pseudo and (self.size is not None or self.up_to is not None or self.minors):
            raise UsageError("RA-LD-031", "Pseudo-determinants of leading minors are not supported.")
        if self.up_to is not None and self.size is None:
            raise UsageError("RA-LD-031", "--up-to requires --size, the size to predict.")
        if self.minors and self.method not in (None, Method.CHOLESKY, Method.FLODANCE):
            raise UsageError(
                "RA-LD-031",
                f"{self.method} gives no leading minors.",
                hint="Use --method cholesky, or omit --minors.",
            )


class LogdetKeywords(TypedDict, total=False):
    """The fields of :class:`LogdetSettings` as keywords of a call; a method and a size may be texts."""

    method: Method | str | None
    pseudo: bool
    size: int | None
    outputs: int
    up_to: int | None
    tolerance: float | None
    smallest: float | None
    probes: int
    steps: int
    confidence: float
    seed: int
    memory: int | str | None
    threads: int | None
    device: Device
    scratch: Path | None
    resume: bool
    unshift: bool
    minors: bool
    assume_random_order: bool
