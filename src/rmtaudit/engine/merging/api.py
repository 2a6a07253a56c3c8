"""The Python API of merges."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.base import Checkpoint

if TYPE_CHECKING:
    from rmtaudit.engine.merging.answer import MergeAnswer
    from rmtaudit.engine.pairs.opening import Target


def explain_merge(
    target: Target, base: Target, parents: Sequence[Target], *, memory: int | None = None
) -> MergeAnswer:
    """Return what a merged model is made of: the coefficient of each parent, and what else was done.

    Parameters
    ----------
    target, base, parents
        The merge, the base of all, and 1 to 16 candidate parents: a file or folder, an opened checkpoint, a
        state dict, or a module, each.
    memory
        Bytes for the matrices in flight; half of what is free where ``None``.

    Returns
    -------
    MergeAnswer
        ``sentence``, ``regression`` and ``verdict``; ``document()`` is the document ``rmtaudit.merge``.

    Raises
    ------
    UsageError
        RA-US-811: no parent, or more than 16.
    NothingAuditableError
        RA-NA-008: the checkpoints have no weight matrix in common.
    InputError
        A checkpoint cannot be read.

    Examples
    --------
    >>> import torch, rmtaudit
    >>> g = torch.Generator().manual_seed(0)
    >>> base, math, code = ({"layer.weight": torch.randn(64, 64, generator=g)} for _ in range(3))
    >>> merge = {"layer.weight": 0.25 * math["layer.weight"] + 0.75 * code["layer.weight"]}
    >>> answer = rmtaudit.explain_merge(merge, base, [math, code])
    >>> [round(each.value, 3) for each in answer.regression.coefficients]
    [0.25, 0.75]
    """
    from rmtaudit.engine.merging.run import explain_merge as explain
    from rmtaudit.engine.pairs.opening import opened

    with ExitStack() as stack:
        checkpoints = []
        for each in (target, base, *parents):
            checkpoint = opened(each)
            if not isinstance(each, Checkpoint):
                stack.enter_context(checkpoint)
            checkpoints.append(checkpoint)
        return explain(checkpoints[0], checkpoints[1], checkpoints[2:], memory=memory)
