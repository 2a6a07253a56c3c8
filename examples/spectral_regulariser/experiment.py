"""Does a spectral regulariser help? A small network on scikit-learn's digits, over paired seeds.

    OMP_NUM_THREADS=1 python examples/spectral_regulariser/experiment.py [--seeds 20]

Every variant is trained from the same initialisations, on the same images in the same order. Its strength is
chosen on other seeds, by the accuracy on images that are used for nothing else; what is printed is the
accuracy on the remaining images, over the paired seeds, with an interval of the difference.
"""

from __future__ import annotations

import argparse
import math
import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import nn

from rmtaudit.training import SpectralRegulariser

WIDTHS = (64, 128, 64, 10)
TRAINED_ON, CHOSEN_ON = 300, 300  # images; the other 1197 are for the answer
EPOCHS, BATCH, LEARNING_RATE, MOMENTUM = 30, 16, 0.02, 0.9
WRONG = 0.2
"""Share of the training labels that are replaced at random: without it there is nothing to regularise."""
CHOOSING_SEEDS = (1000, 1001)
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Variant:
    """A way of training: weight decay, or a spectral penalty, and the strengths that are tried."""

    name: str
    kind: Literal["none", "decay", "spectral"]
    strengths: tuple[float, ...]
    options: tuple[tuple[str, Any], ...] = ()


VARIANTS = (
    Variant("nothing", "none", (0.0,)),
    Variant("weight decay", "decay", (1e-3, 1e-2, 3e-2)),
    Variant("spectral norm", "spectral", (1e-2, 1e-1, 1.0), (("penalty", "norm"),)),
    Variant(
        "alpha to 3", "spectral", (1e-2, 1e-1, 1.0), (("penalty", "alpha"), ("target", 3.0), ("tail", 0.2))
    ),
    Variant("kappa to 2", "spectral", (1e-1, 1.0, 10.0), (("penalty", "kappa"), ("target", 2.0))),
)


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the 1797 digits of scikit-learn: float32 (1797, 64) in [0, 1], and labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return torch.from_numpy(data.data).float() / 16, torch.from_numpy(data.target).long()


def train(
    data: tuple[torch.Tensor, torch.Tensor],
    variant: Variant,
    strength: float,
    *,
    seed: int,
    epochs: int = EPOCHS,
) -> tuple[float, float]:
    """Return the accuracies on the images for choosing and on those for the answer.

    The seed decides which images are which, the wrong labels, the initialisation and the order: all of it is
    the same for every variant.
    """
    images, labels = data
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator)
    own, choosing, answer = order.split((TRAINED_ON, CHOSEN_ON, len(order) - TRAINED_ON - CHOSEN_ON))
    taught = labels[own].clone()
    wrong = torch.rand(TRAINED_ON, generator=generator) < WRONG
    taught[wrong] = torch.randint(0, 10, (int(wrong.sum()),), generator=generator)
    model = _network(generator)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=LEARNING_RATE,
        momentum=MOMENTUM,
        weight_decay=strength if variant.kind == "decay" else 0.0,
    )
    regulariser = (
        SpectralRegulariser(model, strength=strength, **dict(variant.options))
        if variant.kind == "spectral"
        else None
    )
    for _ in range(epochs):
        for batch in torch.randperm(TRAINED_ON, generator=generator).split(BATCH):
            loss = nn.functional.cross_entropy(model(images[own[batch]]), taught[batch])
            if regulariser is not None:
                loss = loss + regulariser()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def accuracy(chosen: torch.Tensor) -> float:
        with torch.no_grad():
            return float((model(images[chosen]).argmax(1) == labels[chosen]).float().mean())

    return accuracy(choosing), accuracy(answer)


def chosen_strength(data: tuple[torch.Tensor, torch.Tensor], variant: Variant, epochs: int = EPOCHS) -> float:
    """Return the strength of the best mean accuracy on the seeds and images for choosing."""
    if len(variant.strengths) == 1:
        return variant.strengths[0]
    means = {
        strength: statistics.mean(
            train(data, variant, strength, seed=seed, epochs=epochs)[0] for seed in CHOOSING_SEEDS
        )
        for strength in variant.strengths
    }
    return max(means, key=lambda strength: means[strength])


def paired_interval(differences: list[float]) -> tuple[float, float, float]:
    """Return the mean difference and the ends of its interval by Student's t."""
    from scipy.stats import t

    mean = statistics.mean(differences)
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    reach = float(t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1)) * error
    return mean, mean - reach, mean + reach


def sentence(name: str, low: float, high: float) -> str:
    """Return the answer in words: whatever it is, and no more than the interval says."""
    if low > 0:
        return f"{name} helped here."
    if high < 0:
        return f"{name} did harm here."
    return f"No effect of {name} can be told from chance here."


def _network(generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(WIDTHS):
        linear = nn.Linear(inputs, outputs)
        nn.init.xavier_normal_(linear.weight, generator=generator)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def main() -> None:
    """Choose strengths, train every variant on every seed, print the table and the answers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = digits()
    results: dict[str, list[float]] = {}
    strengths: dict[str, float] = {}
    for variant in VARIANTS:
        strengths[variant.name] = chosen_strength(data, variant, given.epochs)
        results[variant.name] = [
            train(data, variant, strengths[variant.name], seed=seed, epochs=given.epochs)[1]
            for seed in range(given.seeds)
        ]
    base = results["nothing"]
    print("| variant | strength | accuracy | difference, points | 95 % interval |\n|---|---:|---:|---:|---|")
    answers = []
    for name, accuracies in results.items():
        row = f"| {name} | {strengths[name]:g} | {statistics.mean(accuracies):.4f} |"
        if name == "nothing":
            print(f"{row} | |")
            continue
        mean, low, high = paired_interval([one - other for one, other in zip(accuracies, base, strict=True)])
        print(f"{row} {100 * mean:+.2f} | [{100 * low:+.2f}, {100 * high:+.2f}] |")
        answers.append(sentence(name, low, high))
    print(f"\n{given.seeds} paired seeds.")
    print("\n".join(answers))


if __name__ == "__main__":
    main()
