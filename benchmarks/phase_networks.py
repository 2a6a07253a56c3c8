"""Small networks of known recipes, trained here from several seeds: the ensemble of phases_trained.py.

Perceptrons and a convolutional network on scikit-learn's digits, perceptrons on a random teacher, and
perceptrons on addition modulo 131, which generalise late ("grok") with weight decay and memorise without.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

WIDTH, MODULUS = 192, 131
LEAST_SIDE = 128
"""Layers with a smaller side are left out, as the analyzer's default does."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with momentum 0.9, or AdamW where ``adam`` is set."""

    name: str
    task: str
    batch: int
    steps: int
    rate: float = 0.02
    shuffled: bool = False
    adam: bool = False
    decay: float = 0.0
    orthogonal: bool = False


@dataclass(frozen=True)
class Trained:
    """One training: the layers, and the share of right answers (of explained variance, for the teacher)."""

    layers: dict[str, torch.Tensor]
    train: float
    test: float


def _digits() -> list[Recipe]:
    by_batch = [
        Recipe(
            f"digits, batch {batch}{', shuffled labels' * shuffled}",
            "digits",
            batch,
            steps,
            shuffled=shuffled,
        )
        for batch, steps in ((256, 600), (32, 1500), (4, 5000))
        for shuffled in (False, True)
    ]
    return [
        *by_batch,
        Recipe("digits, 20 steps", "digits", 256, 20),
        Recipe("digits, rate 0.0005", "digits", 256, 300, rate=0.0005),
        Recipe("digits, 60 steps", "digits", 256, 60),
        Recipe("digits, rate 0.003", "digits", 256, 300, rate=0.003),
        Recipe("digits, batch 16", "digits", 16, 2000),
        Recipe("digits, batch 8", "digits", 8, 3000),
        Recipe("digits, AdamW", "digits", 64, 1000, rate=1e-3, adam=True, decay=0.01),
        Recipe("digits, AdamW, decay 1", "digits", 256, 800, rate=3e-3, adam=True, decay=1.0),
        Recipe("digits, orthogonal start, 100 steps", "digits", 256, 100, orthogonal=True),
        Recipe("digits, orthogonal start", "digits", 32, 1500, orthogonal=True),
    ]


def _addition(name: str, steps: int, decay: float, *, shuffled: bool = False) -> Recipe:
    return Recipe(
        f"addition, {name}", "addition", 512, steps, rate=1e-2, shuffled=shuffled, adam=True, decay=decay
    )


RECIPES = (
    *_digits(),
    Recipe("images, batch 32", "images", 32, 400),
    Recipe("images, batch 4", "images", 4, 1600),
    Recipe("teacher, rate 0.0005", "teacher", 256, 200, rate=0.0005),
    Recipe("teacher, rate 0.005", "teacher", 256, 200, rate=0.005),
    Recipe("teacher, batch 256", "teacher", 256, 600),
    Recipe("teacher, batch 64", "teacher", 64, 1500),
    Recipe("teacher, batch 8", "teacher", 8, 3000),
    Recipe("teacher, AdamW", "teacher", 32, 2000, rate=1e-3, adam=True, decay=0.01),
    Recipe("teacher, AdamW, decay 1", "teacher", 128, 1200, rate=3e-3, adam=True, decay=1.0),
    _addition("decay 1 (groks)", 1000, 1.0),
    _addition("decay 1, stopped before it groks", 300, 1.0),
    _addition("no decay", 700, 0.0),
    _addition("random answers, decay 1", 1000, 1.0, shuffled=True),
)


class Addition(nn.Module):
    """A perceptron with two hidden layers on two one-hot numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2 * MODULUS, 256)
        self.body = nn.Sequential(nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, MODULUS))

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        columns = self.first.weight.T
        return self.body(columns[pairs[:, 0]] + columns[MODULUS + pairs[:, 1]] + self.first.bias)


def _perceptron(*widths: int) -> nn.Sequential:
    parts = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*parts[:-1])


def _network(task: str) -> nn.Module:
    if task == "addition":
        return Addition()
    if task == "digits":
        return _perceptron(64, WIDTH, WIDTH, WIDTH, 10)
    if task == "teacher":
        return _perceptron(256, 256, 256, 8)
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(512, 160), nn.ReLU(), nn.Linear(160, 10),
    )  # fmt: skip


@cache
def _data(task: str) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return inputs, answers, and how many to train on."""
    if task == "addition":
        first, second = (x.flatten() for x in torch.meshgrid(*[torch.arange(MODULUS)] * 2, indexing="ij"))
        return torch.stack([first, second], 1), (first + second) % MODULUS, int(0.4 * MODULUS**2)
    if task == "teacher":
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(6000, 256, generator=generator)
        hidden = torch.tanh(x @ torch.randn(256, 32, generator=generator) / 8)
        return x, hidden @ torch.randn(32, 8, generator=generator) / 4, 5000
    from sklearn.datasets import load_digits

    digits = load_digits()
    return torch.from_numpy(digits.data).float() / 16, torch.from_numpy(digits.target), 1400


def _orthogonal(model: nn.Module) -> None:
    for part in model.parameters():
        if part.ndim == 2:
            nn.init.orthogonal_(part)


def _score(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    with torch.no_grad():
        answers = model(x)
    if y.is_floating_point():
        return float(1 - (answers - y).square().mean() / y.var())
    return float((answers.argmax(1) == y).float().mean())


def train(recipe: Recipe, seed: int) -> Trained:
    """Train one network: start, order of the data, split and batches all follow the seed."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x, y, size = _data(recipe.task)
    order = torch.randperm(len(x), generator=generator)
    x, y = x[order], y[order]
    if recipe.shuffled:
        y = y[torch.randperm(len(y), generator=generator)]
    model = _network(recipe.task)
    if recipe.orthogonal:
        _orthogonal(model)
    optimiser: torch.optim.Optimizer
    if recipe.adam:
        optimiser = torch.optim.AdamW(
            model.parameters(), lr=recipe.rate, weight_decay=recipe.decay, betas=(0.9, 0.98)
        )
    else:
        optimiser = torch.optim.SGD(model.parameters(), lr=recipe.rate, momentum=0.9)
    loss_of = nn.functional.mse_loss if y.is_floating_point() else nn.functional.cross_entropy
    for _ in range(recipe.steps):
        chosen = torch.randint(size, (recipe.batch,), generator=generator)
        optimiser.zero_grad()
        loss_of(model(x[chosen]), y[chosen]).backward()
        optimiser.step()
    weights = {name: part.detach().flatten(1) for name, part in model.named_parameters() if part.ndim >= 2}
    layers = {name: part for name, part in weights.items() if min(part.shape) >= LEAST_SIDE}
    return Trained(layers, _score(model, x[:size], y[:size]), _score(model, x[size:], y[size:]))


def loaded(folder: Path, recipe: Recipe, seed: int) -> Trained:
    """Return a training from the folder, after training it where it is not there yet."""
    path = folder / f"{recipe.name.replace(' ', '-').replace(',', '')}-{seed}.pt"
    if not path.exists():
        done = train(recipe, seed)
        torch.save((done.layers, done.train, done.test), path)
    return Trained(*torch.load(path))
