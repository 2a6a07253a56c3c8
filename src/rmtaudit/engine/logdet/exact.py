"""Exact log-determinants from entries: Cholesky, in core or by tiles, LDLᵀ and LU.

Whatever prevents a log-determinant is in the outcome: the minor and the pivot at which Cholesky failed, and
how far rounding can have moved the value that there is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rmtaudit.engine.logdet import reasons
from rmtaudit.engine.logdet.answer import Outcome, Refusal
from rmtaudit.engine.logdet.cholesky import StoppedError, TileCholesky
from rmtaudit.engine.logdet.margins import ADDITIONS, cholesky_rounding, widened, with_rounding
from rmtaudit.engine.logdet.pivoted import pivoted
from rmtaudit.engine.logdet.scratch import Scratch, kept_tiling
from rmtaudit.engine.logdet.settings import Method, Place
from rmtaudit.engine.logdet.shift import without_shift
from rmtaudit.engine.logdet.tiling import Tiling, least_memory, tiling_for
from rmtaudit.engine.resources.threads import threads as using_threads
from rmtaudit.engine.resources.threads import workers
from rmtaudit.errors import InputError, StoppedWorkError, UsageError
from rmtaudit.matrices.sources import AsymmetricError, MatrixSource, Shifted


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a computation may use, and how it is watched.

    Attributes
    ----------
    memory
        Bytes that the method may allocate, in addition to what Python and the libraries take.
    scratch
        Folder for the factor: made, and removed in the end unless the computation was stopped or an error
        ended it. Only needed where the matrix does not fit the memory.
    resume
        Continue with what lies in the folder.
    threads, device
        What works on the tiles; the memory of a device is bounded in the same way.
    stop
        Asked at every strip, from the computing thread; ``True`` ends the work.
    progress
        Called with the number of finished tiles and of all tiles.
    """

    memory: int
    scratch: Path | None = None
    resume: bool = False
    threads: int = 1
    device: str = "cpu"
    stop: Callable[[], bool] = lambda: False
    progress: Callable[[int, int], None] = lambda _done, _total: None


def exact_logdet(
    source: MatrixSource,
    resources: Resources,
    *,
    method: Method = Method.CHOLESKY,
    shift: float = 0.0,
    enough: Callable[[torch.Tensor], bool] | None = None,
    asymmetry: float = 0.0,
    entries: float = 0.0,
) -> Outcome:
    """Return the log-determinant of a square matrix by Cholesky, LDLᵀ or LU.

    Parameters
    ----------
    source
        Offers blocks.
    resources
        What may be used.
    method
        One of the three.
    shift
        ``t >= 0``: the outcome is about ``A + t I``, and its evidence ``without_shift`` about ``A``.
    enough
        Called with the log-determinants of all leading minors so far after every tile row; ``True`` ends the
        work there: the outcome has ``minors`` and no number.
    asymmetry
        The largest ``|a_ij - a_ji| / √(a_ii a_jj)`` of a presumed symmetry that Cholesky accepts. What is met
        is in the bound of the rounding.
    entries
        Rounding of the entries, as of :class:`~rmtaudit.matrices.sources.Known`. That of Cholesky has the
        same form (Demmel 1989), so that the bound grows by a factor.

    Raises
    ------
    UsageError
        RA-MS-004: not square, or Cholesky or LDLᵀ of a matrix that is not symmetric. RA-LD-001: too little
        memory for a tile. RA-LD-002: it does not fit, and there is no scratch folder. RA-LD-003: LDLᵀ or LU
        of a matrix that does not fit. RA-LD-004: a shift that is negative, or with another method than
        Cholesky. RA-LD-010 to 012: the folder (see :class:`~rmtaudit.engine.logdet.scratch.Scratch`).
    OutputError
        RA-LD-013: the disk is full, or cannot be written; finished tiles are kept.
    InputError
        RA-MS-005: an entry is not finite.
    AsymmetricError
        RA-MS-006: the matrix was presumed to be symmetric, and is not.
    StoppedWorkError
        If ``stop`` ended the work.
    """
    _check(source, method, shift)
    if method is not Method.CHOLESKY:
        with using_threads(resources.threads):
            return pivoted(source, method, resources.memory)
    tiling = _tiling_of(source, resources)
    shifted = Shifted(source, shift) if shift else source
    scratch = _scratch(shifted, tiling, resources)
    with workers(resources.threads, resources.device) as pool:
        work = TileCholesky(
            source=shifted,
            tiling=tiling,
            scratch=scratch,
            device=torch.device(resources.device),
            stop=resources.stop,
            progress=lambda done: resources.progress(done, tiling.tiles),
            scaled=not shift,
            workers=pool,
            asymmetry=asymmetry,
        )
        _carry_out(work, enough)
        return _outcome(work, shift, entries, tiling.working_bytes(resources.threads))


def exact_bytes(n: int, memory: int, threads: int = 1) -> tuple[int, int, int]:
    """Return what Cholesky takes of a matrix of order ``n``: bytes of memory, of scratch, and read from it.

    Raises
    ------
    UsageError
        RA-LD-001: too little memory for a tile.
    """
    tiling = _tiling(n, memory, threads)
    return tiling.working_bytes(threads), tiling.scratch_bytes, tiling.read_bytes()


def _check(source: MatrixSource, method: Method, shift: float) -> None:
    if not source.square:
        raise UsageError(
            "RA-MS-004",
            f"{source.name} is {source.shape[0]} x {source.shape[1]}: only square matrices have "
            "determinants.",
            hint="Use --as wtw for the Gram matrix.",
        )
    if not source.symmetric and method is not Method.LU:
        raise UsageError(
            "RA-MS-004",
            f"{source.name} is not symmetric ({source.symmetry}): it has no {method} factorisation.",
            hint="Use LU, which works for any square matrix.",
        )
    if shift and (not shift > 0 or method is not Method.CHOLESKY):
        raise UsageError(
            "RA-LD-004",
            f"A shift must be positive and requires Cholesky, not {shift:g} with {method}.",
            hint="To shift any matrix without a correction, shift the source.",
        )


def _tiling_of(source: MatrixSource, resources: Resources) -> Tiling:
    """Return the tiling of an earlier run where that can be resumed, and else the best one."""
    n = source.shape[0]
    kept = kept_tiling(resources.scratch) if resources.resume and resources.scratch is not None else None
    fits = kept is not None and kept.working_bytes(resources.threads) <= resources.memory
    if kept is not None and fits and kept.n == n and not kept.in_core:
        return kept  # made for less memory, or fewer threads
    return _tiling(n, resources.memory, resources.threads)


def _tiling(n: int, memory: int, threads: int) -> Tiling:
    try:
        return tiling_for(n, memory, threads)
    except ValueError as error:
        raise UsageError(
            "RA-LD-001",
            f"A tile of a matrix of order {n:,} does not fit into {memory:,} bytes of memory.",
            hint=f"Give --memory {least_memory(n, threads)} or more.",
        ) from error


def _scratch(source: MatrixSource, tiling: Tiling, resources: Resources) -> Scratch | None:
    if tiling.in_core:
        return None
    if resources.scratch is None:
        raise UsageError(
            "RA-LD-002",
            f"{source.name} takes {source.entries_bytes:,} bytes, more than the {resources.memory:,} of "
            "memory, and there is no scratch folder for its factor.",
            hint=f"Give a folder with {tiling.scratch_bytes:,} bytes free with --scratch.",
        )
    return Scratch(resources.scratch, tiling, source.fingerprint(), resume=resources.resume)


def _carry_out(work: TileCholesky, enough: Callable[[torch.Tensor], bool] | None) -> None:
    """Carry a factorisation out as far as it is wanted; keep the scratch folder where it can be resumed."""
    try:
        for done in work.rows():
            if done < work.tiling.n and enough is not None and enough(work.result.minors):
                break
    except StoppedError:
        kept = "a computation in memory keeps nothing"
        if work.scratch is not None:
            kept = "finished tiles are kept"
            work.scratch.flush()
            work.scratch.close()
        reason = f"The run was stopped at leading minor {work.result.done:,} of {work.tiling.n:,}; {kept}"
        raise StoppedWorkError(reason, kept=work.scratch is not None) from None
    except AsymmetricError:
        if work.scratch is not None:
            work.scratch.remove()  # the factor of another matrix
        raise
    except BaseException:
        if work.scratch is not None:
            work.scratch.close()
        raise
    if work.scratch is not None:
        work.scratch.remove()


def _outcome(work: TileCholesky, shift: float, entries: float, planned: int) -> Outcome:
    factor, tiling, scratch = work.result, work.tiling, work.scratch
    if factor.pivot is not None and not math.isfinite(factor.pivot):
        raise InputError(
            "RA-MS-005",
            f"The leading minor of order {factor.failed} is the first whose pivot is not finite: "
            "entries are NaN or infinite, or exceed the range of float64.",
            where=work.source.name,
        )
    complete = factor.done == tiling.n
    minors = factor.minors if factor.done else None
    pivots = factor.diagonal[: factor.done].square()
    logdet = float(minors[-1]) if complete and minors is not None else None
    rounding = cholesky_rounding(factor, tiling, scaled=work.scaled) if logdet is not None else None
    evidence: dict[str, Any] = {
        "smallest_pivot": float(pivots.min()) if factor.done else None,
        "largest_pivot": float(pivots.max()) if factor.done else None,
        "negative_eigenvalues": 0 if complete else None,
        "failed_minor": factor.failed,
        "failed_pivot": factor.pivot,
        "asymmetry": factor.asymmetry,
        "rounding": None if rounding is None else rounding.to_dict(),
        "without_shift": without_shift(work, logdet, shift) if shift and logdet is not None else None,
    }
    outcome = Outcome(
        method=Method.CHOLESKY,
        place=Place.IN_MEMORY if tiling.in_core else Place.ON_DISK,
        logdet=logdet,
        sign=1 if complete else None,
        carries_entries=True,
        evidence=evidence,
        work={
            "tiles": tiling.tiles,
            "scratch_bytes_read": scratch.bytes_read if scratch else 0,
            "scratch_bytes_written": scratch.bytes_written if scratch else 0,
            "planned_memory_bytes": planned,
            "tiles_resumed": factor.resumed,
            "tiles_damaged": factor.damaged,
        },
        minors=minors,
    )
    if factor.failed is not None and factor.pivot is not None:
        return outcome.refused(Refusal.NOT_DEFINITE, reasons.negative_minor(factor.failed, factor.pivot))
    if rounding is None:
        return outcome  # enough of it
    return with_rounding(outcome, widened(rounding, 1 + entries / min(tiling.n + 1, ADDITIONS)))
