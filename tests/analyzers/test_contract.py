"""The contract of analyzers, on one that keeps it and on others that break it each in one way."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import pytest
import torch

from rmtaudit.analyzers.base import Analyzer, LayerInput, Metric, MetricValue, NoOptions, Scalar, skipped
from rmtaudit.analyzers.contract import AnalyzerContract, layer_inputs


class Trace(Analyzer):
    name = "trace"
    metrics = (Metric("trace", "w²", None, "Sum of the eigenvalues.", "Elementary."),)
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
    metrics = (Metric("trace", "", None, "", ""),)


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
    ],
)
def test_a_breach_is_found(analyzer: Analyzer, test: str) -> None:
    contract = AnalyzerContract()
    contract.analyzer = analyzer
    with pytest.raises(AssertionError):
        getattr(contract, test)()


def test_the_layers_are_what_they_say() -> None:
    given = dict(layer_inputs())
    assert given["zero"].spectrum.unresolved == 8
    assert given["identity"].spectrum.resolved.tolist() == [1.0] * 8
    assert given["constant"].spectrum.unresolved == 7
    assert given["constant"].spectrum.eigenvalues[-1].item() == pytest.approx(128)
    assert len(given["pooled"].spectrum.eigenvalues) == 64
    assert len(given["pooled"].spectrum.parts) == 2
