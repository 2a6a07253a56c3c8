"""The computations of ``benchmarks/gpu.py`` on the pretend GPU: what the script verifies on a real one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from pretend_gpu import pretend_gpu

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
SLOW = {"scan, preset audit", "free decompression (density)", "density by quadrature"}


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_of_a_gpu", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BENCHMARK = script()


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=pytest.mark.slow if each in SLOW else ()) for each in BENCHMARK.COMPUTATIONS],
)
def test_a_computation_gives_the_numbers_of_the_cpu(name: str) -> None:
    make = BENCHMARK.COMPUTATIONS[name]
    expected = make(64, "cpu")()
    with pretend_gpu():
        computed = make(64, "cuda")()
    assert expected
    assert BENCHMARK.largest_difference(expected, computed) <= 1e-6
