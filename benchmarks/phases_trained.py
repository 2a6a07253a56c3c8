"""Phases of small networks that are trained here: how far a second training of the same network agrees.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/phases_trained.py --folder DIR [--seeds 4]

needs scikit-learn. Every recipe is trained from several seeds: perceptrons and a convolutional network on
scikit-learn's digits, with true or shuffled labels, and a perceptron on addition modulo 31, with weight decay
(it generalises) or without (it memorises). The weights stay in DIR and are used again.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rmtaudit.analyzers.contract import layer_input
from rmtaudit.analyzers.phase import PhaseOfTraining, PhaseOptions
from rmtaudit.kernels.phases.classify import AGREEMENT

LEAST = 0.6
"""Least confidence of a decided phase: the default of the analyzer."""
MODULUS, WIDTH = 31, 192


@dataclass(frozen=True)
class Recipe:
    """How a network is trained."""

    name: str
    task: str
    batch: int
    steps: int
    shuffled: bool = False
    decay: float = 0.0
    most_seeds: int = 99


RECIPES = (
    *(
        Recipe(
            f"perceptron, batch {batch}{', shuffled labels' if shuffled else ''}",
            "digits",
            batch,
            steps,
            shuffled,
        )
        for batch, steps in ((256, 600), (32, 1500), (4, 5000))
        for shuffled in (False, True)
    ),
    Recipe("convolutional, batch 32", "images", 32, 400),
    Recipe("convolutional, batch 4", "images", 4, 1600),
    Recipe("addition, weight decay 1", "addition", 0, 1000, decay=1.0, most_seeds=2),
    Recipe("addition, no weight decay", "addition", 0, 1000, most_seeds=2),
)


class Addition(nn.Module):
    """A perceptron on two embedded numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(MODULUS, 128)
        self.body = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, MODULUS)

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.embed(pairs).flatten(1)))


def network(task: str) -> nn.Module:
    if task == "addition":
        return Addition()
    if task == "digits":
        hidden = [part for _ in range(2) for part in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
        return nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), *hidden, nn.Linear(WIDTH, 10))
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(512, 160), nn.ReLU(), nn.Linear(160, 10),
    )  # fmt: skip


def data(task: str, shuffled: bool, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Return inputs and labels to train on, then to test on."""
    if task == "addition":
        first, second = (
            part.flatten() for part in torch.meshgrid(*[torch.arange(MODULUS)] * 2, indexing="ij")
        )
        x, y, train = torch.stack([first, second], 1), (first + second) % MODULUS, MODULUS**2 // 2
    else:
        from sklearn.datasets import load_digits

        digits = load_digits()
        x, y, train = torch.from_numpy(digits.data).float() / 16, torch.from_numpy(digits.target), 1400
    order = torch.randperm(len(x), generator=generator)
    x, y = x[order], y[order]
    if shuffled:
        y = y[torch.randperm(len(y), generator=generator)]
    return x[:train], y[:train], x[train:], y[train:]


def trained(recipe: Recipe, seed: int) -> tuple[dict[str, torch.Tensor], float, float]:
    """Return the weights, and the share of right answers in training and in test."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x, y, test_x, test_y = data(recipe.task, recipe.shuffled, generator)
    model = network(recipe.task)
    if recipe.task == "addition":
        optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=recipe.decay)
    else:
        optimiser = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for _ in range(recipe.steps):
        chosen = torch.randint(len(x), (recipe.batch,), generator=generator) if recipe.batch else slice(None)
        loss = nn.functional.cross_entropy(model(x[chosen]), y[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        right = [float((model(a).argmax(1) == b).float().mean()) for a, b in ((x, y), (test_x, test_y))]
    weights = {name: part.detach().flatten(1) for name, part in model.named_parameters() if part.ndim >= 2}
    return {name: part for name, part in weights.items() if min(part.shape) >= 128}, right[0], right[1]


def loaded(folder: Path, recipe: Recipe, seed: int) -> tuple[dict[str, torch.Tensor], float, float]:
    path = folder / f"{recipe.name.replace(' ', '-')}-{seed}.pt"
    if not path.exists():
        torch.save(trained(recipe, seed), path)
    return torch.load(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=4)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    started = time.process_time()
    judge = PhaseOfTraining(PhaseOptions(least_confidence=0))
    agreed: dict[str, list[bool]] = defaultdict(list)
    decided: dict[str, list[bool]] = defaultdict(list)
    print("| recipe | train, test | layer | phases of the seeds | least confidence |\n|---|---|---|---|---:|")
    for recipe in RECIPES:
        rows: dict[str, list[tuple[str, float]]] = defaultdict(list)
        rates = []
        for seed in range(min(given.seeds, recipe.most_seeds)):
            weights, *right = loaded(given.folder, recipe, seed)
            rates.append(right)
            for name, matrix in weights.items():
                found = judge.analyze(layer_input(matrix))
                phase = str(found["phase_nearest"])
                # without the factor that this very table gives
                rows[name].append((phase, found["phase_confidence"].value / AGREEMENT[phase]))
        for name, seen in rows.items():
            for (one, sure), (other, _) in permutations(seen, 2):
                agreed[one].append(one == other)
                if sure >= LEAST:
                    decided[one].append(one == other)
            counts = ", ".join(
                f"{phase} {count}" for phase, count in Counter(p for p, _ in seen).most_common()
            )
            train, test = np.mean(rates, axis=0)
            least = min(confidence for _, confidence in seen)
            print(
                f"| {recipe.name} | {train:.2f}, {test:.2f} | {name} | {counts} | {least:.2f} |", flush=True
            )
    print("\n| phase | pairs | a second training agrees | decided | a second training agrees |")
    print("|---|---:|---:|---:|---:|")
    for phase, pairs in agreed.items():
        sure = decided[phase]
        share = f"{np.mean(sure):.2f}" if sure else ""
        print(f"| {phase} | {len(pairs)} | {np.mean(pairs):.2f} | {len(sure)} | {share} |")
    print(f"\n{time.process_time() - started:.0f} CPU seconds")


if __name__ == "__main__":
    main()
