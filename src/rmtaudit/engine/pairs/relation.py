"""Whether two checkpoints are related: identical, derived, of the same initialisation, or independent.

The p-value is exact up to the tail law: hidden units of independently trained networks can be relabelled
(:mod:`rmtaudit.kernels.relation`). See docs/lineage.md for what it assumes and what it cannot see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING, Any

from rmtaudit.engine.pairs.unit_weights import arranged, is_constant, kept_cosine, scores_of, slopes
from rmtaudit.engine.pairs.units import Exclusion, Side, Units, plan_units

if TYPE_CHECKING:
    import torch

    from rmtaudit.engine.pairs.refs import TensorRef
    from rmtaudit.kernels.relation import MatchedSimilarity, RelabellingTest, ScoreSum

LEVEL = 1e-4
"""Level of the decision for one pair of models. Derived pairs reach 1e-12; see benchmarks/relation.py."""

POWER = 0.9
"""Probability with which the stated smallest cosine would have been detected."""

_LEAST_COSINE, _CLEAR_COSINE = 0.2, 0.5
"""Median cosine of units below which related models are never called derived, and from which they always
are. A fine-tune to a relative change of 4.7 has .21 (benchmarks/relation.py)."""

_FULL_SLOPE = (0.7, 1.25)
"""Between the two: slopes of the regression of one model on the other with which they are derived. It is 1
where one model is the other plus a change, and smaller both ways where both left a common start."""

_KEPT_COSINE = 0.8
"""Related models are derived too where a tenth of the units of most layers is kept."""

_SHARED_FRACTION = 0.05
"""Fraction of the parameters in layers with identical learned values from which models are derived, whatever
the test of the other layers says."""

MATCHED_COSINE = 0.5
"""Mean cosine of matched units from which models are called permuted copies (uncalibrated)."""

_ROUNDING = 1e-11
"""Variance a unit below which scores differ by the rounding of float32 alone."""

_MATCHED_LAYERS = 3


class Relation(StrEnum):
    """What two checkpoints are to each other."""

    IDENTICAL = "identical"
    DERIVED = "derived"
    """One from the other, or both from a common ancestor that may be an initialisation."""
    SAME_INITIALISATION = "same initialisation"
    PERMUTED = "permuted copy (uncalibrated)"
    INDEPENDENT = "independent"
    UNTESTABLE = "untestable"


class Obstacle(StrEnum):
    """Why a layer, or a pair of models, cannot be tested."""

    NO_COMMON_LAYERS = "no layers of the two models correspond"
    NO_UNITS = "no layer that both models have has hidden units that can be permuted"
    IDENTICAL = "its values are identical"
    FIXED = "it is a constant of the architecture, with identical values"
    NOT_FINITE = "it has values that are not finite"
    CONSTANT = "its units do not differ"
    BEYOND_MEMORY = "every layer takes more than the memory budget"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRelation:
    """The relation test of one layer.

    Attributes
    ----------
    name
        The name in the base.
    parameters
        Number of entries.
    test
        The test; ``None`` where there is none.
    units
        What was relabelled; ``None`` where nothing was.
    obstacle
        Why there is no test.
    slopes
        Of the regression of the candidate on the base, and of the base on the candidate.
    kept
        The cosine that a tenth of the rows, or of the columns, exceeds.
    """

    name: str
    parameters: int
    test: RelabellingTest | None = None
    units: Units | None = None
    obstacle: Obstacle | Exclusion | None = None
    slopes: tuple[float, float] = (0.0, 0.0)
    kept: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRelation:
    """The test of all layers whose units are relabelled together."""

    units: int
    block: int
    layers: int
    test: RelabellingTest


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRelation:
    """The relation of two checkpoints.

    Attributes
    ----------
    relation
        The word.
    p_value
        Over all groups of units (Stouffer); ``None`` where nothing was tested.
    level
        At which the decision was made.
    cosine
        Mean cosine of units with the same label, corrected for chance, weighted by parameters; ``None`` where
        nothing was tested.
    detectable
        The smallest mean cosine that would have been detected with probability .9, by the group that sees
        best.
    groups, layers
        The tests.
    identical
        Number of layers with identical values; they are no part of the test.
    shared
        Fraction of the parameters that lie in layers with identical values which are no constant of the
        architecture.
    obstacle
        Why it is untestable.
    matched
        Similarity of units matched without their labels, where the test found no relation.
    """

    relation: Relation
    level: float
    p_value: float | None = None
    cosine: float | None = None
    detectable: float | None = None
    groups: tuple[GroupRelation, ...] = ()
    layers: tuple[LayerRelation, ...] = ()
    identical: int = 0
    shared: float = 0.0
    obstacle: Obstacle | None = None
    matched: MatchedSimilarity | None = None


@dataclass(slots=True, kw_only=True)
class RelationTest:
    """The relation test of two checkpoints, given their layers one at a time.

    Parameters
    ----------
    refs
        Everything of the base that can be compared, in stored order.
    config
        The base's ``config.json``.
    seed
        Of the relabellings that are drawn for few units, and of the halves of a matching.
    level
        Of the decision.
    matching
        Whether units are matched without their labels where the test finds no relation.
    ordered
        Whether the stored order is that of registration; see :func:`~rmtaudit.engine.pairs.units.plan_units`.
    """

    refs: Sequence[TensorRef]
    config: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    level: float = LEVEL
    matching: bool = True
    ordered: bool | None = None
    _plan: dict[str, Units | Exclusion] = field(init=False)
    _generator: torch.Generator = field(init=False)
    _sums: dict[tuple[int, int], ScoreSum] = field(default_factory=dict)
    _layers: list[LayerRelation] = field(default_factory=list)
    _counts: dict[tuple[int, int], int] = field(default_factory=dict)
    _matchable: dict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import torch

        self._plan = plan_units(self.refs, self.config, ordered=self.ordered)
        self._generator = torch.Generator().manual_seed(self.seed)

    def testable(self, name: str) -> bool:
        """Whether a layer of the base has units that are relabelled."""
        return isinstance(self._plan.get(name), Units)

    def add(self, name: str, base: torch.Tensor, candidate: torch.Tensor) -> LayerRelation:
        """Test one layer: two matrices of equal shape, in the base's orientation, any dtype."""
        layer = self._tested(name, base, candidate)
        self._layers.append(layer)
        return layer

    def _tested(self, name: str, base: torch.Tensor, candidate: torch.Tensor) -> LayerRelation:
        import torch

        from rmtaudit.kernels.relation import ScoreSum, relabelling_test

        units = self._plan.get(name, Exclusion.NO_WEIGHT)
        parameters = base.numel()
        if torch.equal(base.float(), candidate.float()):
            return LayerRelation(
                name=name,
                parameters=parameters,
                obstacle=Obstacle.FIXED if is_constant(base) else Obstacle.IDENTICAL,
            )
        if not isinstance(units, Units):
            return LayerRelation(name=name, parameters=parameters, obstacle=units)
        first, second = (arranged(each, units) for each in (base, candidate))
        if not (torch.isfinite(first).all() and torch.isfinite(second).all()):
            return LayerRelation(name=name, parameters=parameters, obstacle=Obstacle.NOT_FINITE)
        scores = scores_of(first, second, units)
        if not scores.variance > _ROUNDING * scores.units:
            return LayerRelation(name=name, parameters=parameters, obstacle=Obstacle.CONSTANT)
        self._sums.setdefault(units.group, ScoreSum()).add(scores)
        self._counts[units.group] = self._counts.get(units.group, 0) + 1
        if self.matching and units.side is not Side.BOTH and units.block == units.count:
            self._keep(name.partition("#")[0], first[0], second[0])
        return LayerRelation(
            name=name,
            parameters=parameters,
            test=relabelling_test(
                scores,
                level=self.level,
                power=POWER,
                generator=None if len(scores.first) else self._generator,
            ),
            units=units,
            slopes=slopes(first, second),
            kept=kept_cosine(base, candidate),
        )

    def _keep(self, tensor: str, first: torch.Tensor, second: torch.Tensor) -> None:
        """Keep the weights of units for a matching; those of the gates of one tensor belong together."""
        import torch

        kept = self._matchable.get(tensor)
        if kept is not None and len(kept[0]) == len(first):
            first, second = torch.cat([kept[0], first], dim=1), torch.cat([kept[1], second], dim=1)
        self._matchable[tensor] = (first, second)
        if len(self._matchable) > _MATCHED_LAYERS:
            del self._matchable[min(self._matchable, key=lambda key: min(self._matchable[key][0].shape))]

    def result(self) -> ModelRelation:
        """Return the relation of the two checkpoints by the layers that were given."""
        from rmtaudit.kernels.relation import stouffer_p_value

        layers = tuple(self._layers)
        identical = [layer for layer in layers if layer.obstacle in (Obstacle.IDENTICAL, Obstacle.FIXED)]
        learned = sum(layer.parameters for layer in layers if layer.obstacle is not Obstacle.FIXED)
        same = sum(layer.parameters for layer in layers if layer.obstacle is Obstacle.IDENTICAL)
        shared = same / learned if learned else 0.0
        groups = self._groups()
        p_value = stouffer_p_value([group.test.p_value for group in groups]) if groups else None
        relation, matched = self._judged(layers, p_value, shared, len(identical))
        untested = Obstacle.NO_UNITS if layers else Obstacle.NO_COMMON_LAYERS
        tested = [(layer.parameters, layer.test.cosine) for layer in layers if layer.test is not None]
        total = sum(parameters for parameters, _ in tested)
        return ModelRelation(
            relation=relation,
            level=self.level,
            p_value=p_value,
            cosine=sum(parameters * cosine for parameters, cosine in tested) / total if total else None,
            detectable=min((group.test.detectable for group in groups), default=None),
            groups=groups,
            layers=layers,
            identical=len(identical),
            shared=shared,
            obstacle=untested if relation is Relation.UNTESTABLE else None,
            matched=matched,
        )

    def _groups(self) -> tuple[GroupRelation, ...]:
        from rmtaudit.kernels.relation import relabelling_test

        groups = []
        for (count, block), scores in sorted(self._sums.items()):
            total = scores.total()
            if total is not None:
                test = relabelling_test(total, level=self.level, power=POWER, generator=self._generator)
                layers = self._counts[count, block]
                groups.append(GroupRelation(units=count, block=block, layers=layers, test=test))
        return tuple(groups)

    def _judged(
        self, layers: Sequence[LayerRelation], p_value: float | None, shared: float, identical: int
    ) -> tuple[Relation, MatchedSimilarity | None]:
        if layers and identical == len(layers):
            return Relation.IDENTICAL, None
        tests = [(layer, layer.test) for layer in layers if layer.test is not None]
        smallest = min((test.p_value for _, test in tests), default=1.0)
        # One half of the level is for the layers one by one, the other for all together.
        found = min(p_value or 1.0, smallest * len(tests)) <= self.level / 2 if tests else False
        if shared >= _SHARED_FRACTION or (found and _is_derived([layer for layer, _ in tests])):
            return Relation.DERIVED, None
        if found:
            return Relation.SAME_INITIALISATION, None
        if p_value is None:
            return Relation.UNTESTABLE, None
        matched = self._matched()
        if matched is not None and matched.cosine >= MATCHED_COSINE:
            return Relation.PERMUTED, matched
        return Relation.INDEPENDENT, matched

    def _matched(self) -> MatchedSimilarity | None:
        from rmtaudit.kernels.relation import matched_similarity

        matched = [
            matched_similarity(first, second, self._generator)
            for first, second in self._matchable.values()
            if first.shape[1] > 1
        ]
        return max(matched, key=lambda each: each.cosine, default=None)


def _is_derived(layers: Sequence[LayerRelation]) -> bool:
    """Whether related models share what was learned, and not only where they started."""
    cosine = median(layer.test.cosine for layer in layers if layer.test is not None)
    slopes = [median(layer.slopes[way] for layer in layers) for way in (0, 1)]
    if median(layer.kept for layer in layers) >= _KEPT_COSINE or cosine >= _CLEAR_COSINE:
        return True
    least, most = _FULL_SLOPE
    return cosine >= _LEAST_COSINE and any(least <= slope <= most for slope in slopes)
