"""Exact log-determinants: one door to Cholesky (by tiles or in core), LDLᵀ and LU.

Whatever prevents a log-determinant is said: the minor and the pivot at which Cholesky failed, the bytes that
another method would have needed, and how far rounding can have moved the value that there is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rmtaudit.engine.logdet.cholesky import Factorisation, StoppedError, TileCholesky
from rmtaudit.engine.logdet.mixed import mixed_bytes as mixed_bytes
from rmtaudit.engine.logdet.mixed import mixed_logdet as mixed_logdet
from rmtaudit.engine.logdet.pivoted import dense_bytes as dense_bytes
from rmtaudit.engine.logdet.pivoted import pivoted
from rmtaudit.engine.logdet.result import ExactLogdet, Method, Status
from rmtaudit.engine.logdet.rounding import cholesky_rounding
from rmtaudit.engine.logdet.scratch import Scratch, kept_tiling
from rmtaudit.engine.logdet.shift import corrected
from rmtaudit.engine.logdet.spectral import pseudo_logdet as pseudo_logdet
from rmtaudit.engine.logdet.spectral import spectral_bytes as spectral_bytes
from rmtaudit.engine.logdet.tiling import Tiling, least_memory, tiling_for
from rmtaudit.engine.resources.threads import threads as using_threads
from rmtaudit.engine.resources.threads import workers
from rmtaudit.errors import InputError, UsageError
from rmtaudit.kernels.determinants.tile_algebra import Workers
from rmtaudit.matrices.sources import AsymmetricError, Shifted

if TYPE_CHECKING:
    from rmtaudit.matrices.sources import MatrixSource


def exact_logdet(
    source: MatrixSource,
    *,
    memory: int,
    scratch: Path | None = None,
    resume: bool = False,
    threads: int = 1,
    device: str = "cpu",
    method: Method = Method.AUTO,
    shift: float = 0.0,
    stop: Callable[[], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
    enough: Callable[[torch.Tensor], bool] | None = None,
    asymmetry: float = 0.0,
) -> ExactLogdet:
    """Return the log-determinant of a square matrix; see :class:`ExactLogdet`.

    Parameters
    ----------
    source
        Offers blocks. LU is chosen where it is not symmetric.
    memory
        Bytes that the method may allocate. What Python and the libraries take is beside that.
    scratch
        Folder for the factor: made, and removed in the end unless the computation was stopped or an error
        ended it. Only needed where the matrix does not fit the memory.
    resume
        Go on with what lies in the folder.
    threads, device
        What works on the tiles; the memory of a device is bounded in the same way.
    method
        ``AUTO`` or one of the others, which is then the only one.
    shift
        ``t >= 0``: factor ``A + t I`` and correct for it.
    stop
        Asked at every strip, from the computing thread.
    progress
        Told finished tiles and all tiles.
    enough
        Shown the log-determinants of all leading minors so far after every tile row; ``True`` ends it there.
    asymmetry
        What Cholesky lets stand of a presumed symmetry: the largest ``|a_ij - a_ji| / √(a_ii a_jj)``. It
        is in the bound of the rounding.

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
    """
    method = _chosen(source, method, shift)
    if method in (Method.LDL, Method.LU):
        with using_threads(threads):
            return pivoted(source, method, memory)
    with workers(threads, device) as pool:
        work = _Cholesky(source, memory, scratch, resume, threads, device, shift, pool, asymmetry)
        found = work.run(stop, progress, enough)
    if found.status is not Status.NOT_DEFINITE or method is Method.CHOLESKY or shift:
        return found
    with using_threads(threads):
        return _next_rung(source, found, memory)


def exact_bytes(n: int, memory: int, threads: int = 1) -> tuple[int, int, int]:
    """Return what Cholesky takes of a matrix of order ``n``: bytes of memory, of scratch, and read from it.

    Raises
    ------
    UsageError
        RA-LD-001: too little memory for a tile.
    """
    tiling = _tiling(n, memory, threads)
    return tiling.working_bytes(threads), tiling.scratch_bytes, tiling.read_bytes()


def _chosen(source: MatrixSource, method: Method, shift: float) -> Method:
    if not source.square:
        raise UsageError(
            "RA-MS-004",
            f"{source.name} is {source.shape[0]} x {source.shape[1]}: only square ones have determinants.",
            hint="--as wtw takes the Gram matrix.",
        )
    if not source.symmetric:
        if method in (Method.CHOLESKY, Method.LDL):
            raise UsageError(
                "RA-MS-004",
                f"{source.name} is not symmetric ({source.symmetry}): it has no {method} factorisation.",
                hint="LU takes any square matrix.",
            )
        method = Method.LU
    if shift and (not shift > 0 or method in (Method.LDL, Method.LU)):
        raise UsageError(
            "RA-LD-004",
            f"a shift is positive and goes with Cholesky, not {shift:g} with {method}.",
            hint="To shift any matrix without a correction, shift the source.",
        )
    return method


@dataclass(frozen=True, slots=True)
class _Cholesky:
    source: MatrixSource
    memory: int
    folder: Path | None
    resume: bool
    threads: int
    device: str
    shift: float
    workers: Workers | None
    asymmetry: float

    def run(
        self,
        stop: Callable[[], bool] | None,
        progress: Callable[[int, int], None] | None,
        enough: Callable[[torch.Tensor], bool] | None,
    ) -> ExactLogdet:
        source = Shifted(self.source, self.shift) if self.shift else self.source
        tiling = self._tiling()
        scratch = self._scratch(source, tiling)
        work = TileCholesky(
            source,
            tiling,
            scratch,
            torch.device(self.device),
            stop or (lambda: False),
            (lambda done: progress(done, tiling.tiles)) if progress else (lambda _: None),
            scaled=not self.shift,
            workers=self.workers,
            asymmetry=self.asymmetry,
        )
        try:
            status = _ended(work, enough)
        except AsymmetricError:
            if scratch is not None:
                scratch.remove()  # the factor of another matrix
            raise
        except BaseException:
            if scratch is not None:
                scratch.close()
            raise
        if scratch is not None:
            if status is Status.STOPPED:
                scratch.flush()
                scratch.close()
            else:
                scratch.remove()
        found = _summary(work, status, self.source.name, tiling.working_bytes(self.threads))
        if self.shift and status is Status.COMPLETE:
            return corrected(found, work, self.shift)
        return found

    def _tiling(self) -> Tiling:
        kept = kept_tiling(self.folder) if self.resume and self.folder is not None else None
        fits = kept is not None and kept.n == self.source.shape[0] and not kept.in_core
        if kept is not None and fits and kept.working_bytes(self.threads) <= self.memory:
            return kept  # made for less memory, or fewer threads
        return _tiling(self.source.shape[0], self.memory, self.threads)

    def _scratch(self, source: MatrixSource, tiling: Tiling) -> Scratch | None:
        if tiling.in_core:
            return None
        if self.folder is None:
            raise UsageError(
                "RA-LD-002",
                f"{source.name} takes {source.entries_bytes:,} bytes, more than the {self.memory:,} of "
                "memory, and there is no scratch folder for its factor.",
                hint=f"Give a folder with {tiling.scratch_bytes:,} bytes free with --scratch.",
            )
        return Scratch(self.folder, tiling, source.fingerprint(), resume=self.resume)


def _tiling(n: int, memory: int, threads: int) -> Tiling:
    try:
        return tiling_for(n, memory, threads)
    except ValueError as error:
        raise UsageError(
            "RA-LD-001",
            f"{memory:,} bytes of memory hold no tile of a matrix of order {n:,}.",
            hint=f"Give --memory {least_memory(n, threads)} or more.",
        ) from error


def _ended(work: TileCholesky, enough: Callable[[torch.Tensor], bool] | None) -> Status:
    try:
        for done in work.rows():
            if done < work.tiling.n and enough is not None and enough(work.result.minors):
                return Status.ENOUGH
    except StoppedError:
        return Status.STOPPED
    return Status.COMPLETE if work.result.failed is None else Status.NOT_DEFINITE


def _summary(work: TileCholesky, status: Status, name: str, planned: int) -> ExactLogdet:
    found, tiling, scratch = work.result, work.tiling, work.scratch
    if found.pivot is not None and not math.isfinite(found.pivot):
        raise InputError(
            "RA-MS-005",
            f"the leading minor of order {found.failed} is the first whose pivot is not finite: entries are "
            "NaN or infinite, or beyond the range of float64.",
            where=name,
        )
    minors = found.minors if found.done else None
    pivots = found.diagonal[: found.done].square()
    complete = status is Status.COMPLETE
    return ExactLogdet(
        status=status,
        reason=_reason(status, found, tiling),
        method=Method.CHOLESKY,
        in_core=tiling.in_core,
        n=tiling.n,
        logdet=float(minors[-1]) if complete and minors is not None else None,
        sign=1 if complete else None,
        order=found.done,
        minors=minors,
        smallest_pivot=float(pivots.min()) if found.done else None,
        largest_pivot=float(pivots.max()) if found.done else None,
        negative=0 if complete else None,
        failed_minor=found.failed,
        failed_pivot=found.pivot,
        rounding=cholesky_rounding(found, tiling, scaled=work.scaled) if found.done else None,
        shift=None,
        bytes_read=scratch.bytes_read if scratch else 0,
        bytes_written=scratch.bytes_written if scratch else 0,
        tiles=tiling.tiles,
        resumed=found.resumed,
        damaged=found.damaged,
        planned_bytes=planned,
        asymmetry=found.compared.relative if found.compared is not None else 0.0,
    )


def _reason(status: Status, found: Factorisation, tiling: Tiling) -> str:
    if status is Status.STOPPED:
        kept = "nothing is kept of a computation in core" if tiling.in_core else "finished tiles are kept"
        return f"stopped at leading minor {found.done:,} of {tiling.n:,}; {kept}"
    if status is Status.ENOUGH:
        return f"leading minor {found.done:,} of {tiling.n:,} was enough"
    if status is Status.NOT_DEFINITE:
        return f"not positive definite: the pivot of leading minor {found.failed:,} is {found.pivot:.6g}"
    return ""


def _next_rung(source: MatrixSource, failed: ExactLogdet, memory: int) -> ExactLogdet:
    """Go on with LDLᵀ where that means something and fits; otherwise say why not."""
    if source.semidefinite:
        return replace(
            failed,
            reason=f"{failed.reason}, and the matrix is positive semidefinite by construction: it is "
            "singular to working precision; its pseudo-determinant, or a shift, has a meaning",
        )
    needed = dense_bytes(source.shape[0])
    if needed > memory:
        return replace(
            failed,
            reason=f"{failed.reason}; LDLᵀ of an indefinite matrix is done in core, which takes {needed:,} "
            "bytes of memory: by tiles, the row to exchange a pivot with would lie beyond the tile",
        )
    found = pivoted(source, Method.LDL, memory)
    return replace(
        found,
        reason=f"{failed.reason}: LDLᵀ went on",
        failed_minor=failed.failed_minor,
        failed_pivot=failed.failed_pivot,
    )
