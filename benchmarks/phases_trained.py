"""Phases of small trained networks: how far a second training of the same network agrees with the first.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/phases_trained.py --folder DIR [--seeds 2]

needs scikit-learn. The recipes are those of phase_networks.py, each trained from several seeds; the networks
stay in DIR and are used again. Three tables: the phases by recipe and layer, the factors of the confidence
(``AGREEMENT`` of rmtaudit.kernels.phases), and the stated confidence against the share of second trainings
that agree, where each recipe is judged with the factors that the other recipes give.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import torch
from phase_networks import RECIPES, loaded

from rmtaudit.analyzers.contract import layer_input
from rmtaudit.analyzers.phase import PhaseOfTraining, PhaseOptions
from rmtaudit.kernels.phases.classify import AGREEMENT, OUTCOMES

LEAST = 0.6
"""Least confidence of a decided phase: the default of the analyzer."""
BANDS = (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 1.01)


@dataclass(frozen=True)
class Group:
    """One layer of one recipe: nearest phase and confidence without the factor, by seed."""

    recipe: str
    layer: str
    seen: tuple[tuple[str, float], ...]
    train: float
    test: float

    def pairs(self) -> Iterable[tuple[str, float, bool]]:
        """Yield phase and confidence of one training, and whether another one agrees, for every pair."""
        for (phase, sure), (other, _) in permutations(self.seen, 2):
            yield phase, sure, phase == other


def judged(folder: Path, seeds: int) -> list[Group]:
    judge = PhaseOfTraining(PhaseOptions(least_confidence=0))
    groups = []
    for recipe in RECIPES:
        rows: dict[str, list[tuple[str, float]]] = defaultdict(list)
        networks = [loaded(folder, recipe, seed) for seed in range(seeds)]
        for network in networks:
            for name, matrix in network.layers.items():
                found = judge.analyze(layer_input(matrix))
                phase = str(found["phase_nearest"])
                rows[name].append((phase, found["phase_confidence"].value / AGREEMENT[phase]))
        train, test = (float(np.mean([getattr(n, part) for n in networks])) for part in ("train", "test"))
        groups += [Group(recipe.name, name, tuple(seen), train, test) for name, seen in rows.items()]
    return groups


def factors(groups: Iterable[Group]) -> dict[str, tuple[float, float, float]]:
    """Return weight, share of second trainings that agree, and factor, by phase.

    A layer of a recipe counts once, however many seeds: with the share of its trainings that are in the
    phase. The factor is Laplace's rule of succession over these weights, so few layers give a small one.
    """
    weights: dict[str, float] = defaultdict(float)
    agreed: dict[str, float] = defaultdict(float)
    for group in groups:
        counts = Counter(phase for phase, _ in group.seen)
        for phase, count in counts.items():
            weight = count / len(group.seen)
            weights[phase] += weight
            agreed[phase] += weight * (count - 1) / (len(group.seen) - 1)
    return {
        phase: (
            weights[phase],
            agreed[phase] / weights[phase] if weights[phase] else float("nan"),
            (agreed[phase] + 1) / (weights[phase] + 2),
        )
        for phase in OUTCOMES
    }


def print_layers(groups: list[Group]) -> None:
    print("| recipe | train, test | layer | phases of the seeds | confidence |\n|---|---|---|---|---|")
    for group in groups:
        counts = Counter(phase for phase, _ in group.seen).most_common()
        phases = ", ".join(f"{phase} {count}" for phase, count in counts)
        stated = [sure * AGREEMENT[phase] for phase, sure in group.seen]
        print(
            f"| {group.recipe} | {group.train:.2f}, {group.test:.2f} | {group.layer} | {phases} "
            f"| {min(stated):.2f} to {max(stated):.2f} |"
        )


def print_factors(groups: list[Group]) -> None:
    print("\n| phase | layers | a second training agrees | factor | in the code |\n|---|---:|---:|---:|---:|")
    for phase, (weight, share, factor) in factors(groups).items():
        shown = f"{share:.2f}" if weight else ""
        print(f"| {phase} | {weight:.1f} | {shown} | {factor:.2f} | {AGREEMENT[phase]:.2f} |")


def print_reliability(groups: list[Group]) -> None:
    """Print stated confidences against agreement, each recipe with the factors of the others."""
    stated: list[tuple[float, bool]] = []
    for recipe in {group.recipe for group in groups}:
        others = factors(group for group in groups if group.recipe != recipe)
        for group in groups:
            if group.recipe == recipe:
                stated += [(sure * others[phase][2], agreed) for phase, sure, agreed in group.pairs()]
    bands = [(f"{a:g} to {min(b, 1):g}", a, b) for a, b in pairwise(BANDS)]
    print("\n| stated confidence | pairs | mean stated | a second training agrees |\n|---|---:|---:|---:|")
    for name, low, high in [*bands, (f"decided (from {LEAST:g})", LEAST, 2.0), ("all", 0.0, 2.0)]:
        within = [(sure, agreed) for sure, agreed in stated if low <= sure < high]
        if within:
            mean, share = np.mean(within, axis=0)
            print(f"| {name} | {len(within)} | {mean:.2f} | {share:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    started = time.process_time()
    groups = judged(given.folder, given.seeds)
    print_layers(groups)
    print_factors(groups)
    print_reliability(groups)
    print(f"\n{time.process_time() - started:.0f} CPU seconds")


if __name__ == "__main__":
    main()
