"""The Python API of claims."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.base import Checkpoint

if TYPE_CHECKING:
    from rmtaudit.engine.claims.answer import ClaimAnswer
    from rmtaudit.engine.pairs.opening import Target


def check_claim(
    base: Target, candidate: Target, claim: str, *, memory: int | None = None, threads: int | None = None
) -> ClaimAnswer:
    """Return whether a candidate is what it is claimed to be.

    Parameters
    ----------
    base, candidate
        A file or folder, an opened checkpoint, a state dict, or a module, each.
    claim
        ``"Q4_K_M of BASE"``, ``"bf16 of BASE"``, ``"lora:ADAPTER"``, ``"lora:ADAPTER@0.5"`` or
        ``"merge: .5 A + .5 B"``.
    memory
        Bytes for the matrices in flight; half of what is free where ``None``.
    threads
        Tensors that are checked at the same time; as many as there are CPUs where ``None``.

    Returns
    -------
    ClaimAnswer
        ``answer``, ``sentence`` and ``tensors``; ``document()`` is the document ``rmtaudit.claim``.

    Raises
    ------
    UsageError
        RA-US-812: the claim cannot be understood. RA-US-813: an adapter without an update for the base.
    NothingAuditableError
        RA-NA-009: the two checkpoints have no tensor in common.
    InputError
        A checkpoint cannot be read.

    Examples
    --------
    >>> import torch, rmtaudit
    >>> state = {"layer.weight": torch.randn(64, 64, generator=torch.Generator().manual_seed(0))}
    >>> cast = {name: tensor.bfloat16() for name, tensor in state.items()}
    >>> rmtaudit.check_claim(state, cast, "bf16 of BASE").sentence
    'Consistent with the claim, in all 1 tensors looked at.'
    """
    from rmtaudit.engine.claims.check import check_claim as check
    from rmtaudit.engine.pairs.opening import opened

    with ExitStack() as stack:
        sides = []
        for target in (base, candidate):
            checkpoint = opened(target)
            if not isinstance(target, Checkpoint):
                stack.enter_context(checkpoint)
            sides.append(checkpoint)
        return check(sides[0], sides[1], claim, memory=memory, threads=threads)
