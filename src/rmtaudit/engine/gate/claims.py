"""Rules about claims: the file is what it is said to be."""

from __future__ import annotations

from rmtaudit.engine.gate.judged import Judged, unseen
from rmtaudit.engine.gate.policy import Rule
from rmtaudit.engine.gate.subject import Candidate
from rmtaudit.names import display_name
from rmtaudit.report.gate import CheckEvidence


def judge_claim(rule: Rule, candidate: Candidate) -> list[Judged]:
    """Return what comes of the claim of a rule, and the tensors that contradict it."""
    claim = rule.claim or ""
    known = candidate.claims.get(claim)
    if known is None:
        return [unseen(None, "was not compared with the weights of a baseline", "claim")]
    evidence = CheckEvidence(layer=None, metric="claim", value=known.answer, threshold=claim)
    shown = f"the claim '{display_name(claim)}'"
    text = {
        "consistent": (f"is consistent with {shown} in all {known.looked_at} tensors that were compared"),
        "inconsistent": f"is inconsistent with {shown}",
        "undecided": f"cannot be checked against {shown}",
    }[known.answer]
    if known.answer == "inconsistent" and known.tensors:
        text = f"{text} in {len(known.tensors)} of {known.looked_at} tensors"
    if known.reason:
        reason = display_name(known.reason, longest=500).rstrip(".")
        text = f"{text}: {reason[:1].lower()}{reason[1:]}"
    outcome = {"consistent": "passed", "inconsistent": "failed", "undecided": "inconclusive"}[known.answer]
    whole = Judged(
        layer=None,
        outcome=outcome,  # type: ignore[arg-type]
        text=text,
        evidence=evidence,
        excess=float("inf"),
    )
    tensors = [
        Judged(
            layer=name,
            outcome=outcome,  # type: ignore[arg-type]
            text=f"{'does not fit' if known.answer == 'inconsistent' else 'is undecided'}: "
            f"{display_name(reason, longest=300)}",
            evidence=CheckEvidence(layer=name, metric="claim", value=reason),
        )
        for name, reason in known.tensors
    ]
    return [whole, *tensors]
