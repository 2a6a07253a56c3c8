"""The analyzer ``weightwatcher``: the numbers of WeightWatcher 0.7.7 under its names.

What each number is, and which faults of the peer are kept in it, is in ``docs/analyzers/weightwatcher.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rmtaudit.analyzers.base import Analyzer, LayerInput, Metric, MetricValue, Scalar, skipped
from rmtaudit.analyzers.weightwatcher import metrics as catalogue
from rmtaudit.analyzers.weightwatcher.audit import Audit
from rmtaudit.analyzers.weightwatcher.options import Options as Options
from rmtaudit.analyzers.weightwatcher.sides import refusal, sides_of


class WeightWatcher(Analyzer):
    """WeightWatcher 0.7.7, reproduced."""

    name: ClassVar[str] = "weightwatcher"
    metrics: ClassVar[tuple[Metric, ...]] = catalogue.ALL
    needs = frozenset({"spectrum", "matrix"})
    Options = Options

    def active_metrics(self) -> tuple[Metric, ...]:
        """Return the default metrics and those of the groups that the options ask for."""
        options: Options = self.options
        groups = (
            (options.fix_fingers == "clip_xmax", catalogue.FINGERS),
            (options.fit != "PL", catalogue.CUT_OFF),
            (options.mp_fit, catalogue.MP_FIT),
            (options.randomize, catalogue.RANDOM),
            (options.detX, catalogue.DETX),
            (options.vectors, catalogue.VECTORS),
        )
        return catalogue.DEFAULT + tuple(metric for wanted, group in groups if wanted for metric in group)

    def analyze(self, given: LayerInput) -> Mapping[str, MetricValue | Scalar]:
        """Return the active metrics; all of them ``skipped`` for a layer that the peer would leave out."""
        options: Options = self.options
        sides = sides_of(given.layer)
        metrics = self.active_metrics()
        reason = refusal(sides, options)
        if reason:
            return {metric.name: skipped(reason) for metric in metrics}
        return Audit(given, sides, options, metrics).values()
