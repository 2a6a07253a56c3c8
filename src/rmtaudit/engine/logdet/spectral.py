"""Of a singular matrix, in core: the product of the eigenvalues that are not zero, and how clear that is."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from rmtaudit.engine.logdet.pivoted import finite_dense
from rmtaudit.engine.logdet.result import PseudoDeterminant
from rmtaudit.engine.resources.threads import threads as using_threads
from rmtaudit.errors import UsageError
from rmtaudit.kernels.spectra.eigenvalues import EPSILON, symmetric_eigenvalues

if TYPE_CHECKING:
    import numpy.typing as npt

    from rmtaudit.matrices.sources import MatrixSource

CLEAR = 10.0
_COLUMNS = 130


def pseudo_logdet(source: MatrixSource, *, memory: int, threads: int = 1) -> PseudoDeterminant:
    """Return the log-pseudo-determinant of a symmetric matrix, from all of its eigenvalues.

    Parameters
    ----------
    source
        Symmetric; offers blocks.
    memory
        Bytes that may be allocated: the matrix in float64 and a little.

    Raises
    ------
    UsageError
        RA-MS-004: not symmetric. RA-LD-005: it does not fit the memory.
    InputError
        RA-MS-005: an entry is not finite.
    """
    if not source.symmetric:
        raise UsageError("RA-MS-004", f"{source.name} is not symmetric: {source.symmetry}.")
    n = source.shape[0]
    needed = spectral_bytes(n)
    if needed > memory:
        raise UsageError(
            "RA-LD-005",
            f"all eigenvalues of {source.name} take {needed:,} bytes in core, and the memory is {memory:,}.",
            hint="Give more --memory, or a shift.",
        )
    with using_threads(threads):
        values = symmetric_eigenvalues(finite_dense(source))
    return pseudo_determinant(values, needed)


def gram_pseudo_logdet(factor: MatrixSource, *, threads: int = 1) -> PseudoDeterminant:
    """Return the log-pseudo-determinant of ``WᵀW`` from the singular values of ``W``.

    Floor, kept and dropped are squared, as the eigenvalues of ``WᵀW`` are; what is 0 is judged before that.
    """
    with using_threads(threads):
        W = factor.dense()
        values = torch.linalg.svdvals(W).numpy()
    found = pseudo_determinant(values, gram_bytes(*factor.shape))
    return replace(
        found,
        n=factor.shape[1],
        logdet=2 * found.logdet,
        error=2 * found.error,
        floor=_squared(found.floor),
        kept=None if found.kept is None else _squared(found.kept),
        dropped=None if found.dropped is None else _squared(found.dropped),
        alternatives=tuple((_squared(cut), rank, 2 * value) for cut, rank, value in found.alternatives),
    )


def _squared(value: float) -> float:
    """Return the square within the range of float64."""
    return min(max(value * value, 5e-324 if value else 0.0), sys.float_info.max)


def gram_bytes(rows: int, cols: int) -> int:
    """Return what the singular values of a matrix take."""
    return 8 * (3 * rows * cols + _COLUMNS * max(rows, cols))


def spectral_bytes(n: int) -> int:
    """Return what the eigenvalues of a matrix of order ``n`` take."""
    return 8 * n * (n + _COLUMNS)


def pseudo_determinant(values: npt.NDArray[np.float64], planned: int = 0) -> PseudoDeterminant:
    """Return it from eigenvalues in any order, computed to within the floor."""
    n = values.size
    sizes = np.abs(values)
    floor = max(32.0, 4 * math.sqrt(n)) * EPSILON * float(sizes.max())
    above = sizes > floor
    kept, dropped = sizes[above], sizes[~above]
    smallest = float(kept.min()) if kept.size else None
    # the floor of subnormal eigenvalues is 0: nothing of them is told from rounding
    gap = math.inf if smallest is None else smallest / floor if floor > 0 else 0.0
    alternatives = tuple(
        (cut, int((sizes > cut).sum()), _sum_of_logs(sizes[sizes > cut])) for cut in (floor / 10, floor * 10)
    )
    return PseudoDeterminant(
        n=n,
        rank=int(above.sum()),
        logdet=_sum_of_logs(kept),
        sign=-1 if int((values[above] < 0).sum()) % 2 else 1,
        floor=floor,
        kept=smallest,
        dropped=float(dropped.max()) if dropped.size else None,
        gap=gap,
        clear=gap >= CLEAR,
        error=_error(kept, floor),
        alternatives=alternatives,
        planned_bytes=planned,
    )


def _sum_of_logs(values: npt.NDArray[np.float64]) -> float:
    return float(np.log(values).astype(np.longdouble).sum()) if values.size else 0.0


def _error(kept: npt.NDArray[np.float64], floor: float) -> float:
    """Return how far the sum of the logarithms can be off: by the eigenvalues, and by the logarithms."""
    if not kept.size:
        return 0.0
    if not floor > 0:
        return math.inf
    return float(np.abs(np.log(kept)).sum() * EPSILON - np.log1p(-floor / kept).sum())
