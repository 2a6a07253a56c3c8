"""The contract of analyzers, on one that keeps it and on others that break it each in one way."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from rmtaudit.analyzers.base import (
    Analysis,
    Analyzer,
    LayerInput,
    Metric,
    MetricValue,
    NoOptions,
    Observation,
    Scalar,
    skipped,
)
from rmtaudit.analyzers.contract import AnalyzerContract, layer_inputs
from rmtaudit.finding_kind import FindingKind


class Trace(Analyzer):
    name = "trace"
    metrics = (
        Metric(name="trace", unit="w²", description="Sum of the eigenvalues.", reference="Elementary."),
    )
    Options = NoOptions

    def analyze(self, given: LayerInput) -> Mapping[str, MetricValue | Scalar]:
        total = float(given.spectrum.eigenvalues.sum())
        return {"trace": total if total else skipped("the matrix is zero")}


class TestTrace(AnalyzerContract):
    analyzer = Trace()


class Undeclared(Trace):
    def analyze(self, given: LayerInput) -> Mapping[str, MetricValue | Scalar]:
        return {**super().analyze(given), "extra": 1}


class Infinite(Trace):
    def analyze(self, given: LayerInput) -> Mapping[str, MetricValue | Scalar]:
        total = float(given.spectrum.eigenvalues.sum())
        return {"trace": 1 / total if total else math.inf}


class Random(Trace):
    def analyze(self, _given: LayerInput) -> Mapping[str, MetricValue | Scalar]:
        return {"trace": float(torch.randn(()))}


class Unstable(Trace):
    def analyze(self, _given: LayerInput) -> Mapping[str, MetricValue | Scalar]:
        return {"trace": random.random()}


class Writing(Trace):
    def analyze(self, given: LayerInput) -> Mapping[str, MetricValue | Scalar]:
        given.spectrum.eigenvalues.add_(1)
        return {"trace": 1.0}


class Undescribed(Trace):
    metrics = (Metric(name="trace", description="", reference=""),)


SEEN = FindingKind(
    code="XX-TR-001", title="seen", fact="info", meaning="M.", test="T.", limits="L.", action="A."
)


class Watching(Analyzer):
    """Observes as well as it measures."""

    name = "trace"
    metrics = Trace.metrics
    Options = NoOptions
    findings: ClassVar[tuple[FindingKind, ...]] = (SEEN,)
    evidence: float = 1.0
    p_value: float | None = 0.5

    def analyze(self, given: LayerInput) -> Analysis:
        observation = Observation(
            code="XX-TR-001", message="Seen.", evidence={"trace": [self.evidence]}, p_value=self.p_value
        )
        return Analysis(Trace().analyze(given), (observation,))


class TestWatching(AnalyzerContract):
    analyzer = Watching()


class Unserialisable(Watching):
    evidence = math.nan


class Improbable(Watching):
    p_value = 1.5


class Silent(Watching):
    """Observes what it does not declare."""

    findings = ()


class Posing(Watching):
    """Takes a code of rmtaudit's."""

    findings = (SEEN, replace(SEEN, code="RA-FO-001"))


class Terse(Watching):
    """Says of its finding what is no sentence."""

    findings = (replace(SEEN, action="none"),)


@pytest.mark.parametrize(
    ("analyzer", "test"),
    [
        (Undeclared(), "test_returns_what_it_declares"),
        (Infinite(), "test_values_are_finite_or_have_a_reason"),
        (Random(), "test_ignores_the_global_generator"),
        (Unstable(), "test_is_deterministic"),
        (Unstable(), "test_is_thread_safe"),
        (Writing(), "test_leaves_its_input_alone"),
        (Undescribed(), "test_declares_metrics"),
        (Unserialisable(), "test_observations_can_be_checked"),
        (Improbable(), "test_observations_can_be_checked"),
        (Silent(), "test_findings_are_explained"),
        (Posing(), "test_findings_are_explained"),
        (Terse(), "test_findings_are_explained"),
    ],
)
def test_a_breach_is_found(analyzer: Analyzer, test: str) -> None:
    contract = AnalyzerContract()
    contract.analyzer = analyzer
    with pytest.raises((AssertionError, ValueError)):
        getattr(contract, test)()


def test_the_layers_are_what_they_say() -> None:
    given = dict(layer_inputs())
    assert given["zero"].spectrum.unresolved == 8
    assert given["identity"].spectrum.resolved.tolist() == [1.0] * 8
    assert given["constant"].spectrum.unresolved == 7
    assert given["constant"].spectrum.eigenvalues[-1].item() == pytest.approx(128)
    assert len(given["pooled"].spectrum.eigenvalues) == 64
    assert len(given["pooled"].spectrum.parts) == 2
