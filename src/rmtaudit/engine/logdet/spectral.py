"""The pseudo-determinant in core: the product of the eigenvalues that are not zero, and how clear that is."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from rmtaudit.engine.logdet import reasons
from rmtaudit.engine.logdet.answer import Outcome, Refusal
from rmtaudit.engine.logdet.margins import Rounding, with_rounding
from rmtaudit.engine.logdet.pivoted import finite_dense
from rmtaudit.engine.logdet.settings import Method, Place
from rmtaudit.engine.logdet.target import Facts
from rmtaudit.engine.logdet.tiling import gram_bytes, spectral_bytes
from rmtaudit.engine.resources.devices import CPU
from rmtaudit.errors import UsageError
from rmtaudit.kernels.spectra.eigenvalues import EPSILON, symmetric_eigenvalues

_CLEAR = 10.0
"""The gap from which on an eigenvalue is clearly not 0: a cut ten times higher gives the same (a choice)."""
_FLOOR = 32.0
"""Units of ``eps max |λ|`` below which nothing can be told from 0; for large matrices ``4 √n``. A choice:
LAPACK's Users' Guide bounds the errors of its solvers by ``p(n) eps ‖A‖`` with ``p`` growing modestly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The eigenvalues above and below a floor.

    Attributes
    ----------
    rank
        Eigenvalues above the floor.
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
    error
        Bound of ``logdet``, each eigenvalue off by at most the floor; infinite where one is at it.
    alternatives
        ``(cut, rank, logdet)`` for cuts a tenth of and ten times the floor.
    """

    rank: int
    logdet: float
    sign: int
    floor: float
    kept: float | None
    dropped: float | None
    gap: float
    error: float
    alternatives: tuple[tuple[float, int, float], ...]

    @property
    def clear(self) -> bool:
        """Whether it is clear which eigenvalues are 0: a cut ten times higher gives the same."""
        return self.gap >= _CLEAR

    def squared(self) -> Split:
        """Return it for the squares of the values: of ``WᵀW`` from ``W``."""
        return replace(
            self,
            logdet=2 * self.logdet,
            error=2 * self.error,
            floor=_square(self.floor),
            kept=None if self.kept is None else _square(self.kept),
            dropped=None if self.dropped is None else _square(self.dropped),
            alternatives=tuple((_square(cut), rank, 2 * logdet) for cut, rank, logdet in self.alternatives),
        )


def by_eigenvalues(facts: Facts, *, memory: int, device: torch.device = CPU) -> Outcome:
    """Return the outcome of all eigenvalues; refused where it is not clear which of them are 0.

    Those of a Gram matrix are the squares of the singular values of ``W``, of which smaller ones can be told
    from 0.

    Parameters
    ----------
    facts
        Of a symmetric matrix that offers blocks.
    memory, device
        Bytes that may be allocated, the matrix in float64 and a little; and where eigenvalues are computed.

    Raises
    ------
    UsageError
        RA-MS-004: not symmetric. RA-LD-005: it does not fit the memory.
    InputError
        RA-MS-005: an entry is not finite.
    """
    source, gram = facts.source, facts.gram
    if gram is not None:
        needed = gram_bytes(*gram.factor.shape)
        split = split_eigenvalues(
            torch.linalg.svdvals(gram.factor.dense().to(device)).cpu().numpy()
        ).squared()
    else:
        if not source.symmetric:
            raise UsageError("RA-MS-004", f"{source.name} is not symmetric: {source.symmetry}.")
        needed = spectral_bytes(facts.order)
        if needed > memory:
            raise UsageError(
                "RA-LD-005",
                f"All eigenvalues of {source.name} take {needed:,} bytes of memory, and "
                f"{memory:,} are available.",
                hint="Give more --memory, or a shift.",
            )
        split = split_eigenvalues(_eigenvalues(finite_dense(source), device))
    outcome = Outcome(
        method=Method.EIGENVALUES,
        place=Place.IN_MEMORY,
        logdet=split.logdet,
        sign=split.sign,
        rank=split.rank,
        carries_entries=gram is not None,
        evidence={
            "rank": split.rank,
            "floor": split.floor,
            "smallest_kept": split.kept,
            "largest_dropped": split.dropped,
            "gap": split.gap if math.isfinite(split.gap) else None,
            "other_cuts": [
                {"cut": cut, "rank": rank, "logdet": logdet} for cut, rank, logdet in split.alternatives
            ],
        },
        work={"planned_memory_bytes": needed},
    )
    if not split.rank:
        return outcome.refused(Refusal.UNCLEAR_RANK, reasons.NO_EIGENVALUE)
    if not split.clear:
        reason = reasons.unclear_rank(split.kept, split.gap, split.floor)
        return outcome.refused(Refusal.UNCLEAR_RANK, reason)
    values = "eigenvalue" if gram is None else "singular value of W"
    basis = f"error of at most the floor of the solver in every {values} (Weyl)"
    return with_rounding(outcome, Rounding(bound=split.error, likely=math.inf, basis=basis))


def _eigenvalues(matrix: torch.Tensor, device: torch.device) -> npt.NDArray[np.float64]:
    """Return the ascending eigenvalues; the matrix is destroyed."""
    if device.type == "cpu":
        return symmetric_eigenvalues(matrix)
    values: npt.NDArray[np.float64] = torch.linalg.eigvalsh(matrix.to(device)).cpu().numpy()
    return values


def split_eigenvalues(values: npt.NDArray[np.float64]) -> Split:
    """Return which eigenvalues count, given all of them in any order, computed to within the floor."""
    sizes = np.abs(values)
    floor = max(_FLOOR, 4 * math.sqrt(values.size)) * EPSILON * float(sizes.max())
    above = sizes > floor
    kept, dropped = sizes[above], sizes[~above]
    smallest = float(kept.min()) if kept.size else None
    # the floor of subnormal eigenvalues is 0: nothing of them can be told from rounding
    gap = math.inf if smallest is None else smallest / floor if floor > 0 else 0.0
    return Split(
        rank=int(above.sum()),
        logdet=_sum_of_logs(kept),
        sign=-1 if int((values[above] < 0).sum()) % 2 else 1,
        floor=floor,
        kept=smallest,
        dropped=float(dropped.max()) if dropped.size else None,
        gap=gap,
        error=_error(kept, floor),
        alternatives=tuple(
            (cut, int((sizes > cut).sum()), _sum_of_logs(sizes[sizes > cut]))
            for cut in (floor / 10, floor * 10)
        ),
    )


def _square(value: float) -> float:
    """Return the square within the range of float64."""
    return min(max(value * value, 5e-324 if value else 0.0), sys.float_info.max)


def _sum_of_logs(values: npt.NDArray[np.float64]) -> float:
    return float(np.log(values).astype(np.longdouble).sum()) if values.size else 0.0


def _error(kept: npt.NDArray[np.float64], floor: float) -> float:
    """Return how far the sum of the logarithms can be off: by the eigenvalues, and by the logarithms."""
    if not kept.size:
        return 0.0
    if not floor > 0:
        return math.inf
    return float(np.abs(np.log(kept)).sum() * EPSILON - np.log1p(-floor / kept).sum())
