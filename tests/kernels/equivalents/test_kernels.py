"""Spectra of kernels of random layers against draws of them."""

from __future__ import annotations

import math

import pytest
import torch

from rmtaudit.kernels.equivalents.activations import ACTIVATIONS
from rmtaudit.linalg import equivalents

INPUTS, SAMPLES = 600, 400
PUBLISHED = {"relu": 0.006, "tanh": 0.005}
"""Kolmogorov distances of three layers at 1000 samples; they fall as 1/n."""
BOUND = {name: distance * 1000 / SAMPLES for name, distance in PUBLISHED.items()}


def draw(rows: int, cols: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, cols, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gram(inputs: torch.Tensor) -> equivalents.Population:
    return equivalents.population(torch.linalg.eigvalsh(inputs.T @ inputs).clamp(min=0))


def distance(law: equivalents.SampleLaw, values: torch.Tensor) -> float:
    """Return the Kolmogorov distance."""
    levels = (torch.arange(len(values), dtype=torch.float64) + 0.5) / len(values)
    return float((law.cdf(values) - levels).abs().max())


@pytest.mark.parametrize("name", PUBLISHED)
def test_three_layers(name: str) -> None:
    signal = draw(INPUTS, SAMPLES, 0) / math.sqrt(INPUTS)
    coefficients = equivalents.hermite_coefficients(name)
    widths = [600, 500, 800]
    laws = equivalents.deep_conjugate_kernel(
        gram(signal), [(coefficients, width) for width in widths], samples=SAMPLES
    )
    for layer, (law, width) in enumerate(zip(laws, widths, strict=True)):
        weights = draw(width, len(signal), layer + 1)
        centred = ACTIVATIONS[name](weights @ signal) - coefficients.values[0]
        signal = centred / math.sqrt(coefficients.variance * width)
        assert distance(law, torch.linalg.eigvalsh(signal.T @ signal)) <= BOUND[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_three_layers_at_the_published_size(name: str) -> None:
    signal = draw(1500, 1000, 0) / math.sqrt(1500)
    coefficients = equivalents.hermite_coefficients(name)
    widths = [1500, 1200, 2000]
    layers = [(coefficients, width) for width in widths]
    laws = equivalents.deep_conjugate_kernel(gram(signal), layers, samples=1000)
    for layer, (law, width) in enumerate(zip(laws, widths, strict=True)):
        centred = ACTIVATIONS[name](draw(width, len(signal), layer + 1) @ signal) - coefficients.values[0]
        signal = centred / math.sqrt(coefficients.variance * width)
        assert distance(law, torch.linalg.eigvalsh(signal.T @ signal)) <= PUBLISHED[name]


@pytest.mark.parametrize("name", ["relu", "gelu", "tanh"])
def test_one_layer_without_centring(name: str) -> None:
    inputs = draw(INPUTS, SAMPLES, 5) / math.sqrt(INPUTS)
    coefficients = equivalents.hermite_coefficients(name)
    law = equivalents.finite_conjugate_kernel(gram(inputs), coefficients, samples=SAMPLES, width=800)
    features = ACTIVATIONS[name](draw(800, INPUTS, 6) @ inputs)
    values = torch.linalg.eigvalsh(features.T @ features / 800)
    z = torch.tensor([-0.1 + 0j], dtype=torch.complex128)
    assert float(law.stieltjes(z).real) == pytest.approx(float((1 / (values + 0.1)).mean()), rel=0.006)
    outlier = SAMPLES * float(coefficients.values[0]) ** 2
    if outlier > 10:
        assert float(values[-1]) == pytest.approx(outlier, rel=0.05)
    assert distance(law, values) <= 0.015


def test_fewer_units_than_samples_leave_zeros() -> None:
    identity = equivalents.population(torch.ones(1))
    relu = equivalents.hermite_coefficients("relu")
    law = equivalents.finite_conjugate_kernel(identity, relu, samples=400, width=100)
    assert law.zeros == pytest.approx(0.75)


@pytest.mark.parametrize("name", ["relu"])
def test_the_tangent_kernel(name: str) -> None:
    inputs = draw(INPUTS, SAMPLES, 8) / math.sqrt(INPUTS)
    coefficients = equivalents.hermite_coefficients(name)
    width = 10_000
    kernel = torch.zeros(SAMPLES, SAMPLES, dtype=torch.float64)
    product = inputs.T @ inputs
    for part in range(10):  # f(x) = vᵀφ(Wx)/√d
        before = (draw(width // 10, INPUTS, 20 + part) @ inputs).requires_grad_()
        after = ACTIVATIONS[name](before)
        (slope,) = torch.autograd.grad(after.sum(), before)
        signs = draw(width // 10, 1, 50 + part)
        outer = signs * slope
        kernel += (after.T @ after + product * (outer.T @ outer)).detach() / width
    values = torch.linalg.eigvalsh(kernel)
    predicted = equivalents.tangent_kernel(gram(inputs), coefficients)
    outlier = SAMPLES * float(coefficients.values[0]) ** 2
    assert float(values.mean()) == pytest.approx(predicted.mean + outlier / SAMPLES, rel=0.01)
    bulk = values[:-1] if outlier else values
    expected = predicted.values[-len(bulk) :]  # of distinct eigenvalues, all of the same weight
    assert float((bulk - expected).abs().mean()) < 0.03 * predicted.mean


def test_a_jump_has_no_tangent_kernel() -> None:
    with pytest.raises(ValueError, match="jumps"):
        equivalents.tangent_kernel(
            equivalents.population(torch.ones(1)), equivalents.hermite_coefficients("sign")
        )
