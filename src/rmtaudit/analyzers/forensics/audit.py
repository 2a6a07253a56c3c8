"""The analyzer: metrics and observations from the evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rmtaudit.analyzers.base import (
    ZERO_MATRIX,
    Analysis,
    Analyzer,
    LayerInput,
    Metric,
    MetricValue,
    NoOptions,
    Scalar,
    skipped,
)
from rmtaudit.kernels.spectra.accuracy import Accuracy

if TYPE_CHECKING:
    from rmtaudit.analyzers.forensics.evidence import Evidence

_FACT = "fact about the stored numbers"


class Forensics(Analyzer):
    """Truncation, quantisation, pruning, dead units, outliers and copies."""

    name = "forensics"
    needs = frozenset({"spectrum", "matrix"})
    judges = True
    metrics = (
        Metric(
            name="log10_rms",
            unit="log10 w",
            description="Decimal logarithm of the entries' root mean square.",
            reference=_FACT,
        ),
        Metric(name="zero_share", description="Share of entries that are exactly zero.", reference=_FACT),
        Metric(
            name="dead_rows",
            unit="count",
            description="Number of rows whose norm is negligible compared with the matrix.",
            reference=_FACT,
        ),
        Metric(
            name="dead_columns",
            unit="count",
            description="Number of columns whose norm is negligible compared with the matrix.",
            reference=_FACT,
        ),
        Metric(
            name="grid_bits",
            unit="bits",
            description="Bit width of the uniform quantisation grid that the entries lie on.",
            reference="distance to the nearest level against the rounding error; docs/analyzers/forensics.md",
            summarised=False,
        ),
        Metric(
            name="entry_outlier_p",
            description=(
                "p-value of the null hypothesis that the largest entries belong to the layer's own tail."
            ),
            reference="Rényi 1953; Hill 1975",
            summarised=False,
        ),
    )
    accuracy = Accuracy.STORED
    Options = NoOptions

    def analyze(self, given: LayerInput) -> Analysis:
        """Return every metric and the observations; a zero matrix has neither."""
        # here and not above: the list of analyzers is printed without loading torch
        from rmtaudit.analyzers.forensics.evidence import gather
        from rmtaudit.analyzers.forensics.observe import observe

        if not given.spectrum.eigenvalues.max() > 0:
            return Analysis(self.each_metric(ZERO_MATRIX))
        evidence = gather(given)
        return Analysis(_values(evidence), observe(given, evidence))


def _values(evidence: Evidence) -> Mapping[str, MetricValue | Scalar]:
    zeros = evidence.zeros
    return {
        "log10_rms": math.log10(evidence.rms),
        "zero_share": zeros.zeros / zeros.entries,
        "dead_rows": len(zeros.dead_rows),
        "dead_columns": len(zeros.dead_columns),
        "grid_bits": skipped("no uniform grid of at most 8 bits")
        if evidence.grid is None
        else evidence.grid.bits,
        "entry_outlier_p": skipped("there are too few entries, or all have the same magnitude")
        if evidence.outliers is None
        else evidence.outliers.p_value,
    }
