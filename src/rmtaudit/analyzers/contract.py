"""The test that every analyzer must pass, shipped for those who write one.

In a test module of the plugin (pytest collects the inherited tests)::

    from rmtaudit.plugins import AnalyzerContract

    class TestMine(AnalyzerContract):
        analyzer = Mine()
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterator, Mapping

import torch

from rmtaudit.analyzers.base import (
    Analysis,
    Analyzer,
    LayerInput,
    Metric,
    MetricValue,
    Observation,
    Scalar,
)
from rmtaudit.kernels.spectra.spectrum import Spectrum
from rmtaudit.matrices.layers import Layer, LayerKind

_SEED = 20240917
_STATUSES = ("ok", "skipped", "failed")


class AnalyzerContract:
    """What the engine relies on, as tests. Set :attr:`analyzer`, and add known answers of your own."""

    analyzer: Analyzer

    def run(self, given: LayerInput) -> Analysis:
        """Return what the analyzer makes of a layer."""
        return _analysis(self.analyzer.analyze(given))

    def test_declares_metrics(self) -> None:
        """The name and the metrics can stand in a report: no empty text, no name twice."""
        metrics = self.analyzer.active_metrics()
        assert self.analyzer.name, "an analyzer needs a name"
        assert metrics, "an analyzer yields at least one metric"
        assert all(isinstance(metric, Metric) for metric in metrics)
        names = [metric.name for metric in metrics]
        assert len(set(names)) == len(names), f"a metric is declared twice: {names}"
        for metric in metrics:
            assert metric.name, "a metric needs a name"
            assert metric.description, f"{metric.name} needs a description"
            assert metric.reference, f"{metric.name} needs a reference"
            assert metric.better in ("higher", "lower", None)

    def test_returns_what_it_declares(self) -> None:
        """Every active metric is returned and nothing else, on any layer."""
        declared = {metric.name for metric in self.analyzer.active_metrics()}
        for case, given in layer_inputs():
            assert set(self.run(given).values) == declared, case

    def test_values_are_finite_or_have_a_reason(self) -> None:
        """A number is finite, and where there is none a status and a reason say why, on any layer.

        Degenerate layers (zero, one column, constant, nothing resolved) are refused metric by metric: an
        analyzer raises nothing.
        """
        for case, given in layer_inputs():
            for name, value in self.run(given).values.items():
                _check_value(f"{case}: {name}", value)

    def test_observations_can_be_checked(self) -> None:
        """An observation has a code, a sentence, evidence that JSON can hold, and a p-value or none."""
        for case, given in layer_inputs():
            for observation in self.run(given).observations:
                _check_observation(case, observation)

    def test_findings_are_explained(self) -> None:
        """Every kind of finding is complete, and what is observed on any layer is of one of them.

        An observation with a code that is not declared would only be information.
        """
        if type(self.analyzer).__module__.startswith("rmtaudit."):
            return  # its kinds are in the catalogue of rmtaudit, which has tests of its own
        kinds = {kind.code: kind for kind in self.analyzer.findings}
        assert len(kinds) == len(self.analyzer.findings), "a code is declared twice"
        for code, kind in kinds.items():
            assert re.fullmatch(r"[A-Z][A-Z0-9]*(-[A-Z0-9]+)+", code), f"{code} is not a code such as TS-001"
            assert not code.startswith("RA-"), f"{code} has the prefix of rmtaudit's own codes"
            assert kind.fact or kind.levels, f"{code} has no severity"
            for heading, text in kind.sections():
                assert text.endswith("."), f"{code}: {heading} is not a sentence"
        for case, given in layer_inputs():
            for observation in self.run(given).observations:
                assert observation.code in kinds, f"{case}: {observation.code} is not declared"

    def test_is_deterministic(self) -> None:
        """The same layer and seed give the same values, also through a new instance."""
        again = type(self.analyzer)(self.analyzer.options)
        for case, given in layer_inputs():
            assert self.run(given) == _analysis(again.analyze(given)), case

    def test_leaves_its_input_alone(self) -> None:
        """Other analyzers see the same spectrum and matrices afterwards."""
        for case, given in layer_inputs():
            before = [tensor.clone() for tensor in _tensors(given)]
            self.analyzer.analyze(given)
            after = _tensors(given)
            assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True)), case

    def test_is_thread_safe(self) -> None:
        """Threads share the instance: together they get what one gets alone."""
        cases = list(layer_inputs())
        alone = [self.run(given) for _, given in cases]
        together: list[list[Analysis]] = [[] for _ in range(4)]

        def work(results: list[Analysis]) -> None:
            results.extend(self.run(given) for _, given in cases)

        threads = [threading.Thread(target=work, args=(results,)) for results in together]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(results == alone for results in together)

    def test_ignores_the_global_generator(self) -> None:
        """Randomness comes from ``given.generator`` alone, so that a scan can be repeated."""
        _, given = next(layer_inputs())
        state = torch.get_rng_state()
        try:
            torch.manual_seed(1)
            first = self.run(given)
            torch.manual_seed(2)
            assert self.run(given) == first
        finally:
            torch.set_rng_state(state)


def layer_inputs() -> Iterator[tuple[str, LayerInput]]:
    """Yield layers by name: ordinary ones first, then degenerate ones.

    Matrices are float32, at most 48 x 32; the spectrum is that of their float64 Gram matrix.
    """
    generator = torch.Generator().manual_seed(_SEED)
    noise = torch.randn(48, 32, generator=generator)
    heavy = noise / torch.rand(48, 32, generator=generator).clamp(min=1e-3)
    yield "Gaussian", layer_input(noise)
    yield "heavy-tailed", layer_input(heavy)
    yield "wide", layer_input(noise.T.contiguous())
    yield "pooled", layer_input(noise, heavy)
    yield "huge", layer_input(noise * 1e18)
    yield "tiny", layer_input(noise * 1e-18)
    yield "zero", layer_input(torch.zeros(16, 8))
    yield "constant", layer_input(torch.ones(16, 8))
    yield "identity", layer_input(torch.eye(8))
    yield "two rows", layer_input(noise[:2])
    yield "one column", layer_input(noise[:, :1].contiguous())
    yield "one value", layer_input(torch.ones(1, 1))
    yield "two zeros pooled", layer_input(torch.zeros(4, 4), torch.zeros(4, 4))


def layer_input(*matrices: torch.Tensor) -> LayerInput:
    """Return the input of a layer of these matrices (2-D, one shape), as the engine would make it."""
    parts = tuple(_spectrum(matrix) for matrix in matrices)
    rows, cols = matrices[0].shape
    pooled = torch.cat([part.eigenvalues for part in parts]).sort().values
    floor = max(part.floor for part in parts)
    unresolved = int((pooled <= floor).sum())
    pooled[:unresolved] = 0.0
    layer = Layer(
        name="contract.weight",
        tensor="contract.weight",
        tensors=("contract.weight",),
        kind=LayerKind.DENSE,
        view="as stored",
        shape=(rows, cols),
        matrices=len(matrices),
        parameters=len(matrices) * rows * cols,
        dtype="float32",
        build=lambda tensors: tensors,
    )
    return LayerInput(
        layer=layer,
        spectrum=Spectrum(
            eigenvalues=pooled,
            rows=rows,
            cols=cols,
            method="exact",
            floor=floor,
            unresolved=unresolved,
            parts=parts if len(parts) > 1 else (),
        ),
        matrices=matrices,
        epsilon=2.0**-24,
        seed=_SEED,
    )


def _spectrum(matrix: torch.Tensor) -> Spectrum:
    rows, cols = matrix.shape
    wide = matrix.double()
    gram = wide.T @ wide if cols <= rows else wide @ wide.T
    eigenvalues = torch.linalg.eigvalsh(gram).clamp(min=0.0)
    floor = float(eigenvalues[-1]) * len(gram) * 2.0**-52
    unresolved = int((eigenvalues <= floor).sum())
    eigenvalues[:unresolved] = 0.0
    return Spectrum(
        eigenvalues=eigenvalues, rows=rows, cols=cols, method="exact", floor=floor, unresolved=unresolved
    )


def _tensors(given: LayerInput) -> list[torch.Tensor]:
    spectra = (given.spectrum, *given.spectrum.parts)
    return [*given.matrices, *(spectrum.eigenvalues for spectrum in spectra)]


def _analysis(result: Mapping[str, MetricValue | Scalar] | Analysis) -> Analysis:
    analysis = result if isinstance(result, Analysis) else Analysis(result)
    return Analysis(dict(analysis.values), tuple(analysis.observations))


def _check_observation(case: str, observation: Observation) -> None:
    where = f"{case}: {observation.code}"
    assert re.fullmatch(r"[A-Z]+(-[A-Z0-9]+)+", observation.code), f"{where} is not a code"
    assert observation.message, f"{where} has no message"
    json.dumps(observation.evidence, allow_nan=False)
    assert observation.p_value is None or 0 <= observation.p_value <= 1, f"{where}: {observation.p_value}"


def _check_value(where: str, value: MetricValue | Scalar) -> None:
    result = value if isinstance(value, MetricValue) else MetricValue(value=value)
    assert result.status in _STATUSES, where
    assert isinstance(result.value, float | int | str | None), f"{where} is a {type(result.value).__name__}"
    numbers = [result.value, result.se, *(result.ci or ())]
    for number in numbers:
        assert not isinstance(number, float) or math.isfinite(number), f"{where} is {number}"
    if result.ci is not None:
        low, high = result.ci
        assert low <= high, f"{where}: the ends of the interval are reversed"
    assert result.se is None or result.se >= 0, f"{where}: the standard error is negative"
