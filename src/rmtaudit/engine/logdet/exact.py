"""Exact log-determinants: one door to Cholesky by tiles or in core, LDLᵀ and LU, with what went wrong said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rmtaudit.engine.logdet.result import ExactLogdet, Method, MixedLogdet, PseudoDeterminant

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
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    enough: Callable[[torch.Tensor], bool] | None = None,
) -> ExactLogdet:
    """Return the log-determinant of a square matrix; see :class:`ExactLogdet`.

    Parameters
    ----------
    source
        Offers blocks. LU is chosen where it is not symmetric.
    memory
        Bytes that the method may allocate. What Python and the libraries take is beside that.
    scratch
        Folder for the factor: made, and removed in the end unless the computation was stopped or failed.
        Only needed where the matrix does not fit the memory.
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

    Raises
    ------
    UsageError
        RA-LD-001: too little memory for a tile. RA-LD-002: it does not fit, and there is no scratch folder.
        RA-LD-003: LDLᵀ or LU of a matrix that does not fit. RA-LD-004: Cholesky or LDLᵀ of one that is not
        symmetric. RA-LD-010 to 012: the folder (see :class:`~rmtaudit.engine.logdet.scratch.Scratch`).
    OutputError
        RA-LD-013: the disk is full, or cannot be written; finished tiles are kept.
    InputError
        RA-MS-005: an entry is not finite.
    """
    raise NotImplementedError


def exact_bytes(n: int, memory: int, threads: int = 1) -> tuple[int, int, int]:
    """Return what Cholesky would take: bytes of memory, bytes of scratch, bytes read back from it."""
    raise NotImplementedError


def pseudo_logdet(source: MatrixSource, *, memory: int, threads: int = 1) -> PseudoDeterminant:
    """Return the log-pseudo-determinant of a symmetric matrix, from all of its eigenvalues, in core."""
    raise NotImplementedError


def mixed_logdet(
    source: MatrixSource,
    *,
    memory: int,
    threads: int = 1,
    probes: int = 16,
    level: float = 0.95,
    seed: int = 0,
) -> MixedLogdet:
    """Return the log-determinant of a positive definite matrix by a float32 factor and probes, in core."""
    raise NotImplementedError
