"""A watched training of a small real network: kappa falls with the batch size, as in the HTMP example."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "training.py"


@pytest.mark.slow
def test_the_log_orders_batch_sizes_at_the_share_it_was_given(tmp_path: Path) -> None:
    if importlib.util.find_spec("sklearn") is None:
        pytest.skip("needs the digits of scikit-learn")
    spec = importlib.util.spec_from_file_location("training_benchmark", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = benchmark
    spec.loader.exec_module(benchmark)
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = torch.from_numpy(digits.data).float() / 16, torch.from_numpy(digits.target).long()
    kappas, costs = [], []
    for batch_size in (256, 32, 4):
        path = tmp_path / f"{batch_size}.jsonl"
        cost = benchmark.watched(
            images, labels, path, batch_size=batch_size, seed=0, widths=(64, 128, 64, 10), epochs=3,
            learning_rate=0.01,
        )  # fmt: skip
        kappas.append(benchmark.last(path))
        costs.append(cost)
        looks = [
            record["seconds"]
            for record in map(json.loads, path.read_text().splitlines())
            if record["kind"] == "matrix"
        ]
        # the share is kept but for the surprise of the last look, and the calls themselves
        assert cost["own_seconds"] <= 0.02 * cost["step_seconds"] + max(looks) + 1e-4 * cost["steps"]
    for name in ("0.weight", "2.weight"):
        values = [kappa[name] for kappa in kappas]
        assert values == sorted(values, reverse=True)
        assert values[0] > 2 * values[-1]
    assert costs[-1]["steps"] == 3 * 450
    assert all(cost["gradients"]["measured"] > 0 for cost in costs)
