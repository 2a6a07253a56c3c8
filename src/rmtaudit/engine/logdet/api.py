"""The Python API of a log-determinant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from rmtaudit.engine.logdet.answer import LogDeterminant
from rmtaudit.engine.logdet.run import log_determinant
from rmtaudit.engine.logdet.settings import LogdetKeywords, LogdetSettings, Method
from rmtaudit.engine.resources.memory_size import parse_memory
from rmtaudit.engine.settings.keywords import settings_from
from rmtaudit.engine.sources import SourceOptions, open_source
from rmtaudit.engine.sources.in_memory import in_memory
from rmtaudit.errors import UsageError
from rmtaudit.matrices.sources import KernelMatrix

if TYPE_CHECKING:
    import torch


def logdet(
    source: Any,
    *,
    view: Literal["auto", "w", "wtw", "wwt"] = "auto",
    kernel: Literal["matern", "rbf"] | Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    nu: float = 1.5,
    length: float | None = None,
    laplacian: Literal["normalised", "combinatorial"] | None = None,
    dtype: str | None = None,
    shape: str | None = None,
    symmetric: bool | None = None,
    shift: float = 0.0,
    settings: LogdetSettings | None = None,
    **keywords: Unpack[LogdetKeywords],
) -> LogDeterminant:
    """Return the log-determinant of a matrix with its error, or why there is none.

    Parameters
    ----------
    source
        What the command line names (a text or a path), a ``MatrixSource`` (which stays open), or a matrix
        in memory: a torch tensor, a numpy array, a sparse matrix of scipy. With ``kernel`` the points of a
        kernel matrix, with ``laplacian`` the edges of a graph.
    view, nu, length, laplacian, dtype, shape, shift
        As the options of ``rmtaudit logdet``.
    symmetric
        ``None``: compared with the transpose as it is read, or by products. ``True``: taken on trust, also of
        a ``MatrixSource`` or a function. ``False``: treated as a general matrix.
    kernel
        As the option, or a function from two sets of points, shapes ``(p, d)`` and ``(q, d)``, to a
        ``(p, q)`` tensor, that is symmetric in its arguments.
    settings
        How it is computed, as an object.
    **keywords
        Or the fields of ``LogdetSettings``: ``method`` (``"cholesky"``, ``"ldlt"``, ``"lu"``, ``"sparse"``,
        ``"qr"``, ``"mixed"``, ``"eigenvalues"``, ``"slq"``, ``"flodance"``; ``None``: the planner chooses),
        ``memory`` (bytes, or a text such as ``"4GB"``; ``None``: half of what is free), ``pseudo``, ``size``,
        ``tolerance``, ``probes``, ``seed``, ``minors`` …

    Raises
    ------
    InputError
        If the matrix cannot be read, or has entries that are not finite.
    UsageError
        If the arguments make no sense for this matrix. RA-US-701 to 703: an unknown setting, or one that is
        given twice.

    Examples
    --------
    >>> import torch, rmtaudit
    >>> answer = rmtaudit.logdet(2 * torch.eye(100))
    >>> answer.sign, round(answer.logdet, 6), answer.method
    (1, 69.314718, 'cholesky')
    """
    chosen = settings_from(LogdetSettings, settings, _read(keywords))
    if callable(kernel):
        if isinstance(source, str | Path):
            raise UsageError("RA-MS-036", "A kernel function requires points in memory.")
        source, kernel, symmetric = KernelMatrix(source, kernel, symmetric=symmetric), None, None
    options = SourceOptions(
        view=view,
        kernel=kernel,
        nu=nu,
        length=length,
        laplacian=laplacian,
        dtype=dtype,
        shape=shape,
        symmetric=symmetric,
        shift=shift,
    )
    if not isinstance(source, str | Path):
        return log_determinant(in_memory(source, options), chosen)
    opened = open_source(source, options)
    try:
        return log_determinant(opened, chosen)
    finally:
        opened.close()


def _read(keywords: LogdetKeywords) -> dict[str, object]:
    """Return the keywords with texts read. Raises ``UsageError`` (RA-LD-030) for one that is no value."""
    values: dict[str, object] = dict(keywords)
    try:
        method, memory = keywords.get("method"), keywords.get("memory")
        values |= {} if method is None else {"method": Method(method)}
        values |= {} if memory is None else {"memory": parse_memory(memory)}
    except ValueError as error:
        raise UsageError("RA-LD-030", f"{error}.") from error
    return values
