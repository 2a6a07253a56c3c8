"""The answer about a merge, and the document made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rmtaudit.kernels.merges.regression import Coefficient, Regression
from rmtaudit.kernels.merges.verdict import MergeKind, MergeVerdict
from rmtaudit.names import display_name
from rmtaudit.report.derivations import (
    FittedCoefficient,
    Merge,
    MergeHeader,
    MergeLayer,
    MergeParent,
    Version,
)
from rmtaudit.version import installed_version

_LEVEL = 0.01
"""Parents whose coefficient differs from 0 at this level are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedLayer:
    """What the coefficients leave of one layer.

    Attributes
    ----------
    name
        In the base.
    change
        Relative Frobenius norm of target minus base.
    residual
        Share of the squared change that the coefficients leave; 0 for an unchanged layer.
    excess
        Mean squared residual over what the rounding of the target's storage makes.
    """

    name: str
    change: float
    residual: float
    excess: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeAnswer:
    """How a target is made of a base and candidate parents.

    Attributes
    ----------
    target, base, parents
        Their paths, as given.
    regression
        The coefficients; ``None`` where the parents do not determine them.
    verdict
        The kind of the merge; ``None`` without coefficients.
    fractions
        With ``slerp``, the smallest and the largest position between the two parents over the layers.
    layers
        In the order of the base.
    left_out
        Layers of the base that one of the other checkpoints does not have or that cannot be read.
    """

    target: str
    base: str
    parents: tuple[str, ...]
    regression: Regression | None
    verdict: MergeVerdict | None
    fractions: tuple[float, float] | None
    layers: tuple[MergedLayer, ...]
    left_out: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        if self.verdict is None or self.regression is None:
            return (
                "The coefficients cannot be determined: two of the parents change the base in "
                "the same way, or not at all."
            )
        terms = [
            f"{c.value:.3f} {display_name(name, longest=80)}"
            for c, name in zip(self.regression.coefficients, self.parents, strict=True)
            if c.p_value < _LEVEL
        ]
        parts = " + ".join(terms).replace("+ -", "- ")
        return _SENTENCES[self.verdict.kind].format(
            parts=parts, rest=1 - self.regression.total.value, explained=self.regression.r_squared or 0.0
        )

    def document(self) -> dict[str, Any]:
        """Return the answer as a document of strict JSON."""
        regression, verdict = self.regression, self.verdict
        return Merge(
            schema=MergeHeader(),
            tool=Version(version=installed_version()),
            target=self.target,
            base=self.base,
            kind=None if verdict is None else verdict.kind.value,
            sentence=self.sentence,
            parents=[
                MergeParent(
                    path=name,
                    coefficient=None if regression is None else _number(regression.coefficients[i]),
                )
                for i, name in enumerate(self.parents)
            ],
            sum=None if regression is None else _number(regression.total),
            r_squared=None if regression is None else regression.r_squared,
            excess=None if verdict is None else _finite(verdict.excess),
            unchanged=None if verdict is None else verdict.unchanged,
            rejected=None if verdict is None else verdict.rejected,
            slope=None if verdict is None else verdict.slope,
            spread=None if verdict is None else verdict.spread,
            fractions=self.fractions,
            layers=[
                MergeLayer(
                    name=layer.name,
                    change=layer.change,
                    residual=layer.residual,
                    excess=_finite(layer.excess),
                )
                for layer in self.layers
            ],
            left_out=list(self.left_out),
        ).to_dict()


_SENTENCES = {
    MergeKind.UNCHANGED: "The target is the base, within the rounding of its storage.",
    MergeKind.LINEAR: "The target is base + weighted changes, {parts}, within the rounding of its storage.",
    MergeKind.SLERP: "The target is a spherical interpolation (slerp) of the two parents.",
    MergeKind.TIES: "Small changes were trimmed or opposing ones dropped, as TIES does; linear fit: {parts}.",
    MergeKind.DARE: "Changes were dropped at random, as DARE does; coefficients: {parts}.",
    MergeKind.DARE_TIES: (
        "Changes were dropped at random and opposing ones rejected, as DARE with TIES does; linear fit: "
        "{parts}."
    ),
    MergeKind.MISSING_PARENT: (
        "The parents explain {explained:.1%} of the change, {parts}; the coefficients leave "
        "{rest:.2f} for a missing parent."
    ),
    MergeKind.TRAINED_AFTERWARDS: (
        "The parents explain {explained:.1%} of the change, {parts}, which sum to 1; the rest was trained "
        "afterwards, or added in another way."
    ),
    MergeKind.NO_PARENT: "None of the candidates is a parent: no coefficient differs from 0.",
    MergeKind.UNEXPLAINED: (
        "The parents explain {explained:.1%} of the change, {parts}; the cause of the rest "
        "cannot be determined."
    ),
}


def _number(coefficient: Coefficient) -> FittedCoefficient:
    return FittedCoefficient(
        value=coefficient.value,
        se=coefficient.standard_error,
        ci=(coefficient.low, coefficient.high),
        p_value=coefficient.p_value,
    )


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None
