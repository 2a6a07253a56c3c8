"""A few numbers of a whole model, for dashboards: means over its layers, with their intervals."""

from __future__ import annotations

from statistics import mean

from rmtaudit.report.gate import GateCoverage, GateMetric
from rmtaudit.report.model import Report


def metrics_of(report: Report) -> dict[str, GateMetric]:
    """Return the mean of every metric that the report's table shows, and counts of findings.

    The interval of a mean is that of the means of the ends: it holds the mean at least as surely as the
    interval of each layer holds its own value.
    """
    metrics: dict[str, GateMetric] = {}
    for name in report.tool["columns"]:
        results = [layer.metrics[name] for layer in report.layers if name in layer.metrics]
        known = [each for each in results if isinstance(each.value, (int, float)) and each.status == "ok"]
        values = [float(each.value) for each in known if isinstance(each.value, (int, float))]
        if not values:
            continue
        ends = [each.ci for each in known if each.ci is not None and each.se is not None]
        complete = len(ends) == len(values)
        unit = report.metrics[name].unit if name in report.metrics else ""
        metrics[name] = GateMetric(
            value=mean(values),
            low=mean(float(low) for low, _ in ends) if complete else None,
            high=mean(float(high) for _, high in ends) if complete else None,
            unit=unit,
        )
    for severity in ("error", "warning"):
        count = sum(finding.severity == severity for layer in report.layers for finding in layer.findings)
        metrics[f"findings_{severity}"] = GateMetric(value=count, low=None, high=None, unit="count")
    return metrics


def coverage_of(report: Report) -> GateCoverage:
    """Return how much of a model was analysed."""
    skipped = sum(layer.status != "ok" for layer in report.layers)
    return GateCoverage(fraction=min(1.0, float(report.coverage.fraction)), skipped=skipped)
