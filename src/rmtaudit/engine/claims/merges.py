"""Whether a candidate is the weighted sum of models that it is claimed to be."""

from __future__ import annotations

from contextlib import ExitStack

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.engine.claims.answer import Answer, ClaimAnswer, Ground, TensorAnswer, concluded
from rmtaudit.engine.claims.parse import MergeClaim
from rmtaudit.engine.merging import MergeAnswer, explain_merge
from rmtaudit.kernels.merges.verdict import ARITHMETIC, CODES, MergeKind

_EXACT = 0.001
"""Room for coefficients, which are written with three digits or fewer."""

_FAR = 5.0
"""Standard errors from which a coefficient is another one. Between the 95 % interval and this nothing is
said: the interval covers .90 to .96 of honest merges (``benchmarks/merges.py``)."""


def check_merge(base: Checkpoint, candidate: Checkpoint, claim: MergeClaim, words: str) -> ClaimAnswer:
    """Return whether a candidate is ``base + sum of c (parent - base)``, with the claimed coefficients.

    Where the coefficients sum to 1, that is the weighted sum of the parents whatever the base is.
    """
    with ExitStack() as stack:
        parents = [stack.enter_context(open_checkpoint(path)) for _, path in claim.terms]
        merge = explain_merge(candidate, base, parents)
    return concluded(words, str(base.path), str(candidate.path), _tensors(merge, claim, candidate))


def _tensors(merge: MergeAnswer, claim: MergeClaim, candidate: Checkpoint) -> tuple[TensorAnswer, ...]:
    left_out = tuple(
        TensorAnswer(name=name, answer=Answer.UNDECIDED, ground=Ground.UNREADABLE, parameters=1)
        for name in merge.left_out
    )
    if merge.regression is None or merge.verdict is None:
        ground = TensorAnswer(
            name="",
            answer=Answer.UNDECIDED,
            ground=Ground.COEFFICIENTS,
            numbers={"coefficients": "undetermined"},
        )
        return (ground, *left_out)
    fitted = [(k, value) for k, (value, _) in zip(merge.regression.coefficients, claim.terms, strict=True)]
    inside = all(k.low - _EXACT <= value <= k.high + _EXACT for k, value in fitted)
    wrong = any(abs(k.value - value) > _FAR * k.standard_error + _EXACT for k, value in fitted)
    unless_off = Answer.INCONSISTENT if wrong else Answer.CONSISTENT if inside else Answer.UNDECIDED
    coefficients = ", ".join(f"{k.value:.4g}" for k in merge.regression.coefficients)
    codes = any(spec.encoding is not None for spec in candidate.tensors)
    allowance = CODES if codes else ARITHMETIC
    linear = merge.verdict.kind in (MergeKind.LINEAR, MergeKind.UNCHANGED)
    answers = []
    for layer in merge.layers:
        off = not linear and layer.excess > allowance
        answers.append(
            TensorAnswer(
                name=layer.name,
                answer=Answer.INCONSISTENT if off else unless_off,
                ground=Ground.RESIDUAL if off else Ground.COEFFICIENTS,
                parameters=1,
                numbers={"excess": layer.excess, "coefficients": coefficients},
            )
        )
    return (*answers, *left_out)
