"""The answer to a claim, and the document made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rmtaudit.names import display_name
from rmtaudit.report.comparison_text import escaped
from rmtaudit.report.derivations import ClaimHeader, ClaimResult, ClaimTensor, Version
from rmtaudit.version import installed_version


class Answer(StrEnum):
    """Whether what is stored agrees with the claim. Consistent is no proof."""

    CONSISTENT = "consistent"
    INCONSISTENT = "inconsistent"
    UNDECIDED = "cannot be told"


class Ground(StrEnum):
    """What an answer about a tensor rests on."""

    EQUAL = "equal"
    CODES_FIT = "codes fit"
    CODES_DIFFER = "codes differ"
    NOT_CALIBRATED = "not calibrated"
    VALUES_DIFFER = "values differ"
    OTHER_SCHEME = "other scheme"
    NOT_QUANTISED = "not quantised"
    UNKNOWN_LEVELS = "unknown levels"
    SHAPES_DIFFER = "shapes differ"
    BEYOND_MEMORY = "beyond memory"
    UNREADABLE = "unreadable"
    TRANSFORMED = "transformed"
    MISSING = "missing"
    NOT_APPLIED = "not applied"
    OTHER_SCALE = "other scale"
    INVISIBLE = "invisible"
    RESIDUAL = "residual"
    COEFFICIENTS = "coefficients"


_GROUNDS = {
    Ground.EQUAL: "equal to the base, entry by entry",
    Ground.CODES_FIT: "the codes are those of the base",
    Ground.CODES_DIFFER: (
        "for {share:.2%} of the codes another level is nearer to the base, where correct files "
        "have at most {limit:.2%}"
    ),
    Ground.NOT_CALIBRATED: (
        "for {share:.2%} of the codes another level is nearer to the base ({rms:.2f} steps from "
        "it on average), and the share for correct files of {scheme} has not been measured"
    ),
    Ground.VALUES_DIFFER: "{different} of {entries} entries differ",
    Ground.OTHER_SCHEME: "stored as {scheme}",
    Ground.NOT_QUANTISED: "stored as numbers, not quantised",
    Ground.UNKNOWN_LEVELS: "the levels of {scheme} cannot be determined for each weight",
    Ground.SHAPES_DIFFER: "the shapes differ",
    Ground.BEYOND_MEMORY: "reading it takes more memory than the budget",
    Ground.UNREADABLE: "the values cannot be read",
    Ground.TRANSFORMED: "programs transform this tensor when they convert a model",
    Ground.MISSING: "the other checkpoint has no such tensor",
    Ground.NOT_APPLIED: "the adapter is not applied",
    Ground.OTHER_SCALE: "the adapter is applied with the scale {scale:.4g}",
    Ground.INVISIBLE: "the update is smaller than the rounding of the stored weight",
    Ground.RESIDUAL: "differs from the claim by {excess:.3g} times the rounding",
    Ground.COEFFICIENTS: "the coefficients are {coefficients}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorAnswer:
    """The answer about one tensor.

    Attributes
    ----------
    name
        In the base.
    answer, ground
        The answer and what it rests on.
    parameters
        Entries of the tensor.
    numbers
        What the ground counts.
    """

    name: str
    answer: Answer
    ground: Ground
    parameters: int = 0
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """The ground in words."""
        return _GROUNDS[self.ground].format(**self.numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimAnswer:
    """The answer to a claim.

    Attributes
    ----------
    claim
        As written.
    base, candidate
        Their paths.
    answer
        Inconsistent if one tensor is; consistent if tensors with nine tenths of the candidate's parameters
        are, and none is inconsistent.
    word
        For an adapter: ``applied``, ``applied with scale s``, ``partly applied``, ``not applied``; empty for
        every other claim.
    tensors
        In the order of the base.
    """

    claim: str
    base: str
    candidate: str
    answer: Answer
    word: str
    tensors: tuple[TensorAnswer, ...]

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        wrong = [tensor for tensor in self.tensors if tensor.answer is Answer.INCONSISTENT]
        start = f"{self.word[0].upper()}{self.word[1:]}: " if self.word else ""
        start += (
            f"{self.answer} with the claim" if self.answer is not Answer.UNDECIDED else "it cannot be told"
        )
        if self.answer is Answer.CONSISTENT:
            return f"{start[0].upper()}{start[1:]}, in all {len(self.tensors)} tensors that were compared."
        first = wrong[0] if wrong else next((t for t in self.tensors if t.answer is Answer.UNDECIDED), None)
        count = f"{len(wrong)} of {len(self.tensors)} tensors are not; " if wrong else ""
        detail = f": {count}'{display_name(first.name, longest=80)}': {first.reason}" if first else ""
        return f"{start[0].upper()}{start[1:]}{detail}."

    def to_markdown(self) -> str:
        """Return the sentence, and a row for each tensor that is not consistent, as GitHub's Markdown."""
        lines = [f"**{escaped(display_name(self.candidate))}**: {escaped(self.sentence)}", ""]
        lines += [f"Claim: {escaped(display_name(self.claim, longest=200))}", ""]
        others = [tensor for tensor in self.tensors if tensor.answer is not Answer.CONSISTENT]
        if others:
            lines += ["| tensor | answer | reason |", "|---|---|---|"]
        lines += [
            f"| {escaped(display_name(tensor.name))} | {tensor.answer} | {escaped(tensor.reason)} |"
            for tensor in others
        ]
        return "\n".join(lines).rstrip("\n") + "\n"

    def document(self) -> dict[str, Any]:
        """Return the answer as a document of strict JSON."""
        return ClaimResult(
            schema=ClaimHeader(),
            tool=Version(version=installed_version()),
            claim=self.claim,
            base=self.base,
            candidate=self.candidate,
            answer=self.answer.value,
            word=self.word or None,
            sentence=self.sentence,
            tensors=[
                ClaimTensor(
                    name=tensor.name,
                    answer=tensor.answer.value,
                    ground=tensor.ground.value,
                    reason=tensor.reason,
                    parameters=tensor.parameters,
                    numbers=dict(tensor.numbers),
                )
                for tensor in self.tensors
            ],
        ).to_dict()


_COVERED = 0.9


def concluded(
    claim: str, base: str, candidate: str, tensors: tuple[TensorAnswer, ...], word: str = ""
) -> ClaimAnswer:
    """Return the answer that follows from those about the tensors."""
    total = sum(tensor.parameters for tensor in tensors)
    fitting = sum(tensor.parameters for tensor in tensors if tensor.answer is Answer.CONSISTENT)
    if any(tensor.answer is Answer.INCONSISTENT for tensor in tensors):
        answer = Answer.INCONSISTENT
    elif total and fitting >= _COVERED * total:
        answer = Answer.CONSISTENT
    else:
        answer = Answer.UNDECIDED
    return ClaimAnswer(claim=claim, base=base, candidate=candidate, answer=answer, word=word, tensors=tensors)
