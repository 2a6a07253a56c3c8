"""Whether a candidate is the weighted sum of models that it is claimed to be."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.engine.claims.answer import Answer, ClaimAnswer, Ground, TensorAnswer, concluded
from rmtaudit.engine.claims.parse import MergeClaim
from rmtaudit.engine.merging import MergeAnswer, explain_merge
from rmtaudit.kernels.merges.regression import Regression
from rmtaudit.kernels.merges.verdict import ARITHMETIC, CODES, MergeKind

_EXACT = 0.001
"""Room for coefficients, which are written with three digits or fewer."""

_LEVEL = 1e-3
"""Probability with which a claim with the right coefficients is called inconsistent, over all of them
(Bonferroni). ``benchmarks/merges.py`` measures it."""

_INSIDE = 0.05
"""The same for consistent: between the two levels nothing is said."""


def check_merge(
    base: Checkpoint, candidate: Checkpoint, claim: MergeClaim, words: str, *, memory: int
) -> ClaimAnswer:
    """Return whether a candidate is ``base + sum of c (parent - base)``, with the claimed coefficients.

    Where the coefficients sum to 1, that is the weighted sum of the parents whatever the base is.
    """
    with ExitStack() as stack:
        parents = [stack.enter_context(open_checkpoint(path)) for _, path in claim.terms]
        merge = explain_merge(candidate, base, parents, memory=memory)
    return concluded(words, str(base.path), str(candidate.path), _tensors(merge, claim, candidate))


def claim_agreement(regression: Regression, claimed: Sequence[float]) -> Answer:
    """Return whether the claimed coefficients agree with the fitted ones.

    Inconsistent if their p-value, of all coefficients together (Bonferroni), is below .001; consistent if it
    is .05 or more. Claims are taken as rounded to three digits.
    """
    each = [
        k.p_value_of(value, room=_EXACT) for k, value in zip(regression.coefficients, claimed, strict=True)
    ]
    p_value = len(each) * min(each)
    if p_value < _LEVEL:
        return Answer.INCONSISTENT
    return Answer.UNDECIDED if p_value < _INSIDE else Answer.CONSISTENT


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
    unless_off = claim_agreement(merge.regression, [value for value, _ in claim.terms])
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
