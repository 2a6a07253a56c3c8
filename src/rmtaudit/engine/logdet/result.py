"""What an exact log-determinant comes with: how far it came, its errors, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Method(StrEnum):
    """How a log-determinant is computed exactly, but for rounding."""

    AUTO = "auto"
    """Cholesky, by tiles where the matrix does not fit; LDLᵀ where it fails in core; LU if not symmetric."""
    CHOLESKY = "cholesky"
    LDL = "ldl"
    LU = "lu"


class Status(StrEnum):
    """How a computation ended."""

    COMPLETE = "complete"
    """``logdet`` is that of the whole matrix."""
    ENOUGH = "enough"
    """The caller had enough of it: ``minors`` reach to ``order``."""
    STOPPED = "stopped"
    """It was asked to stop; finished tiles are in the scratch folder, ``resume`` goes on."""
    NOT_DEFINITE = "not definite"
    """A leading minor is not positive, and no other method was allowed or fitted the memory."""
    UNDETERMINED = "undetermined"
    """``A + t I`` was factored, and says too little of ``A``: see ``shift``."""
    SINGULAR = "singular"
    """A pivot is exactly zero: ``sign`` is 0."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """What rounding can have done to a log-determinant, in nats.

    Attributes
    ----------
    bound
        The computed factor is the exact one of a matrix nearby (Demmel 1989 for Cholesky); the bound is how
        far apart their log-determinants can be. Infinite where the nearby matrices include singular ones.
        It holds for every order of the sums, and is usually far from reached.
    likely
        The same with rounding errors that are independent of each other: the size to expect.
    basis
        What the bound rests on, in words.
    at_floor
        Pivots no larger than ``n eps`` times the entry of the diagonal that they are left of.
    warning
        A sentence where the bound is infinite or pivots are at the floor; else empty.
    distance
        ``f`` of Cholesky: a bound of ``‖H⁻¹ E‖_F``, from which the bound follows; ``None`` for other methods.
    sums
        What the logarithms and their sum add to the bound.
    """

    bound: float
    likely: float
    basis: str
    at_floor: int = 0
    warning: str = ""
    distance: float | None = None
    sums: float = 0.0


@dataclass(frozen=True, slots=True)
class ShiftCorrection:
    """From ``log det (A + t I)`` back to ``log det A``, to first order.

    Attributes
    ----------
    shift
        t.
    shifted
        ``log det (A + t I)``, computed.
    correction
        ``- t tr (A + t I)⁻¹``.
    standard_error
        Of the correction: 0 where the trace is exact (in core).
    remainder
        Bound of what higher orders can add: ``log det A`` lies at most this much below the corrected value.
        Infinite where ``A`` may be indefinite; then it has no corrected value.
    """

    shift: float
    shifted: float
    correction: float
    standard_error: float
    remainder: float


@dataclass(frozen=True, slots=True)
class ExactLogdet:
    """A log-determinant, with its sign.

    Attributes
    ----------
    status, reason
        How it ended, and why in words (empty where there is nothing to say).
    method, in_core
        What was done in the end.
    n
        Order of the matrix.
    logdet
        ``log |det A|`` in nats; ``None`` unless ``status`` says complete; ``-inf`` where singular.
    sign
        Of the determinant: 1, -1, or 0; ``None`` with ``logdet``.
    order
        Order of the largest leading minor that was factored.
    minors
        Log-determinants of the leading minors up to ``order``, float64; ``None`` for LDLᵀ and LU, which
        exchange rows.
    smallest_pivot, largest_pivot
        Extremes of the squared diagonal of the factor (Cholesky), of the absolute eigenvalues of the blocks
        of ``D`` (LDLᵀ), of the absolute diagonal of ``U`` (LU).
    negative
        Number of negative eigenvalues (LDLᵀ: Sylvester's law of inertia; 0 for Cholesky; ``None`` for LU).
    failed_minor, failed_pivot
        Order of the first leading minor that is not positive, and its pivot; also where LDLᵀ went on.
    rounding
        Of the log-determinant of minor ``order``, before a correction for a shift.
    shift
        ``None`` unless a shift was asked for; then minors and pivots are those of ``A + t I``.
    bytes_read, bytes_written
        Of the scratch file. Entries of the matrix are read once beside that.
    tiles, resumed, damaged
        Tiles in all; of those, taken over from an earlier run; and tiles of it that failed their checksum.
    planned_bytes
        Working memory that the method allocates.
    asymmetry
        Largest ``|a_ij - a_ji| / √(a_ii a_jj)`` that was met where symmetry was presumed; it is in
        ``rounding``.
    """

    status: Status
    reason: str
    method: Method
    in_core: bool
    n: int
    logdet: float | None
    sign: int | None
    order: int
    minors: torch.Tensor | None
    smallest_pivot: float | None
    largest_pivot: float | None
    negative: int | None
    failed_minor: int | None
    failed_pivot: float | None
    rounding: Rounding | None
    shift: ShiftCorrection | None
    bytes_read: int
    bytes_written: int
    tiles: int
    resumed: int
    damaged: int
    planned_bytes: int
    asymmetry: float = 0.0


@dataclass(frozen=True, slots=True)
class PseudoDeterminant:
    """Product of the eigenvalues that are not zero, and whether it is clear which ones those are.

    Attributes
    ----------
    n, rank
        Order, and eigenvalues above the floor.
    logdet
        ``Σ log |λ|`` over those, in nats.
    sign
        Of their product.
    floor
        What the solver can tell from zero: ``max(32, 4 sqrt n) eps max |λ|``.
    kept, dropped
        The smallest ``|λ|`` above the floor and the largest one not above; ``None`` where there is none.
    gap
        ``kept / floor``: how far the smallest eigenvalue that counts is from what rounding could have made.
    clear
        Whether the gap is at least 10: then a cut ten times higher gives the same.
    error
        Bound of ``logdet``, each eigenvalue off by at most the floor; infinite where one is at it.
    alternatives
        ``(cut, rank, logdet)`` for cuts a tenth of and ten times the floor.
    planned_bytes
        Working memory.
    """

    n: int
    rank: int
    logdet: float
    sign: int
    floor: float
    kept: float | None
    dropped: float | None
    gap: float
    clear: bool
    error: float
    alternatives: tuple[tuple[float, int, float], ...]
    planned_bytes: int


@dataclass(frozen=True, slots=True)
class MixedLogdet:
    """A float32 Cholesky factor, corrected by probes.

    Attributes
    ----------
    logdet
        ``log det (L Lᵀ) + tr log (L⁻¹ A L⁻ᵀ)`` in nats.
    standard_error
        Of the probes.
    interval, level
        Around ``logdet``, the quadrature's bracket included; infinite on a side that has none.
    factor_logdet
        ``log det (L Lᵀ)``, without the correction.
    shift
        What was added to the diagonal so that the factorisation in float32 went through.
    probes, steps
        Probes, and Lanczos steps of each.
    reason
        Why a side of the interval is missing, or empty.
    planned_bytes
        Working memory.
    """

    n: int
    logdet: float
    standard_error: float
    interval: tuple[float, float]
    level: float
    factor_logdet: float
    shift: float
    probes: int
    steps: int
    reason: str
    planned_bytes: int
