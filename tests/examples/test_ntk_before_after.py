"""The example of tangent kernels before and after training, small, and its fits on samples of known law."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples/ntk_before_after/ntk_before_after.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ntk_before_after", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ntk_before_after"] = module
    spec.loader.exec_module(module)
    return module


def test_an_inverse_gamma_law_is_told_from_a_power_law(example: ModuleType) -> None:
    rng = np.random.default_rng(0)
    inverse_gamma = np.sort(1 / rng.gamma(1.5, size=2000))  # density x^-2.5 e^(-1/x)
    law = example.study(inverse_gamma, 8000, "net", 0, "before").near_zero[0.2]
    assert abs(law.power - 2.5) < 3 * law.power_se
    assert law.gain > 10
    power = np.sort(rng.random(2000) ** 0.5)
    assert example.study(power, 8000, "net", 0, "after").near_zero[0.2].gain < 4


@pytest.mark.slow
def test_a_small_run_from_training_to_table(example: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("zarr")
    spectra = []
    accuracy = example.train(tmp_path / "cnn-0", "cnn", 0, epochs=1, samples=60)
    assert accuracy > 0.3
    for when in example.TIMES:
        values = example.eigenvalues(tmp_path / "cnn-0", "cnn", when)
        assert len(values) == 600
        assert values.mean() == pytest.approx(1)
        spectra.append(example.study(values, 20106, "cnn", 0, when))
    text = example.table(spectra)
    assert text.count("| cnn | 0 |") == 2
    assert "cnn, after less before" in text
