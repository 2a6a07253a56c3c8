"""A Cholesky factor in float32, and what it lacks estimated: ``log det A = log det L Lᵀ + tr log L⁻¹ A L⁻ᵀ``.

The eigenvalues of ``L⁻¹ A L⁻ᵀ`` are near 1 but for those of ``A`` that float32 cannot tell from zero: a few
Lanczos steps and 16 probes find the trace, with its error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmtaudit.engine.logdet.pivoted import finite_dense
from rmtaudit.engine.logdet.result import MixedLogdet
from rmtaudit.engine.resources.threads import threads as using_threads
from rmtaudit.errors import UsageError

if TYPE_CHECKING:
    from rmtaudit.matrices.sources import MatrixSource

_BYTES = 24
"""An entry in float64; rounded, in float32; its factor; and that in float64 again."""


def mixed_logdet(
    source: MatrixSource,
    *,
    memory: int,
    threads: int = 1,
    probes: int = 16,
    steps: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> MixedLogdet:
    """Return the log-determinant of a positive definite matrix by a float32 factor and probes, in core.

    Parameters
    ----------
    source
        Symmetric; offers blocks.
    memory
        Bytes that may be allocated.
    probes, steps, level, seed
        Of the correction: see :class:`rmtaudit.kernels.slq.Effort`; the numbers do not depend on ``threads``.

    Raises
    ------
    UsageError
        RA-MS-004: not symmetric. RA-LD-005: it does not fit the memory.
    InputError
        RA-MS-005: an entry is not finite.
    ArithmeticError
        If it is not positive definite, or singular to working precision.
    """
    from rmtaudit.kernels import slq
    from rmtaudit.kernels.slq.precondition import low_precision_cholesky, preconditioned_log_determinant

    if not source.symmetric:
        raise UsageError("RA-MS-004", f"{source.name} is not symmetric: {source.symmetry}.")
    n = source.shape[0]
    needed = mixed_bytes(n, probes, steps)
    if needed > memory:
        raise UsageError(
            "RA-LD-005",
            f"a float32 factor of {source.name} with its correction takes {needed:,} bytes, and the memory "
            f"is {memory:,}.",
            hint="Give more --memory, or factor it exactly by tiles.",
        )
    with using_threads(threads):
        matrix = finite_dense(source)
        factor = low_precision_cholesky(matrix)
        effort = slq.Effort(probes=probes, steps=steps, level=level)
        found = preconditioned_log_determinant(slq.dense(matrix), factor, slq.Sampler(seed), effort)
    return MixedLogdet(
        n=n,
        logdet=found.value,
        standard_error=found.standard_error,
        interval=found.interval,
        level=found.level,
        factor_logdet=factor.log_determinant,
        shift=factor.raised,
        probes=found.probes,
        steps=found.steps,
        reason=found.reason,
        planned_bytes=needed,
    )


def mixed_bytes(n: int, probes: int = 16, steps: int = 200) -> int:
    """Return what a matrix of order ``n`` takes: at most ``24 n²`` and the Lanczos vectors of the probes."""
    return _BYTES * n * n + 8 * n * probes * (min(steps, n) + 8)
