"""The example of the regulariser, small: one epoch, and the words of its answer."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

FILE = Path(__file__).parents[2] / "examples" / "spectral_regulariser" / "experiment.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("spectral_regulariser_example", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_variants_differ_in_the_regulariser_alone(example: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    data = torch.rand(1797, 64, generator=generator), torch.randint(0, 10, (1797,), generator=generator)
    nothing, *others = example.VARIANTS
    base = example.train(data, nothing, 0.0, seed=3, epochs=1)
    assert example.train(data, nothing, 0.0, seed=3, epochs=1) == base
    for variant in others:
        assert example.train(data, variant, 0.0, seed=3, epochs=1) == base, variant.name
        assert all(0 <= accuracy <= 1 for accuracy in example.train(data, variant, 10.0, seed=3, epochs=1))


def test_the_answer_says_no_more_than_the_interval(example: ModuleType) -> None:
    pytest.importorskip("scipy")
    mean, low, high = example.paired_interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert high - 2 == pytest.approx(4.303 * (1 / 3) ** 0.5, rel=1e-3)  # t of 2 degrees of freedom
    assert 2 - low == pytest.approx(high - 2)
    assert "helped" in example.sentence("it", 0.1, 0.2)
    assert "harm" in example.sentence("it", -0.2, -0.1)
    assert "No effect" in example.sentence("it", -0.1, 0.2)
