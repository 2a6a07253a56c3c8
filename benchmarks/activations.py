"""Coverage of the intervals of ``rmtaudit activations`` for rows with log-normal scales of their own.

OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/activations.py [--sets 24] [--first 5000]
"""

from __future__ import annotations

import argparse
import math

import torch

from rmtaudit.engine.activations.moments import Moments
from rmtaudit.engine.activations.settings import GROUPS
from rmtaudit.engine.activations.spectrum import spectra_of, spectrum_facts

SIZE, ROWS = 60, 100
SIGMAS = (0.0, 0.2, 0.35)


def covered(population: torch.Tensor, sigma: float, seeds: range) -> dict[str, int]:
    """Return how many intervals hold the truth, by number."""
    shares = population / population.sum()
    truth = {
        "log_determinant": float(population.log().sum()),
        "effective_rank": math.exp(-float((shares * shares.log()).sum())),
        "participation_ratio": float(population.sum() ** 2 / population.square().sum()),
    }
    inside = dict.fromkeys(truth, 0)
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        frame = torch.linalg.qr(torch.randn(SIZE, SIZE, dtype=torch.float64, generator=generator)).Q
        scales = (sigma * torch.randn(ROWS, 1, dtype=torch.float64, generator=generator) - sigma**2).exp()
        noise = torch.randn(ROWS, SIZE, dtype=torch.float64, generator=generator)
        moments = Moments(ROWS, SIZE, GROUPS, kept=256)
        moments.add(
            scales * noise * population.sqrt() @ frame + 1, torch.randperm(ROWS, generator=generator) % GROUPS
        )
        _, numbers = spectrum_facts(spectra_of(moments, 2.0**-52))
        for name, value in truth.items():
            interval = numbers[name].interval
            inside[name] += interval is not None and interval[0] <= value <= interval[1]
    return inside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=24)
    parser.add_argument("--first", type=int, default=5000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(given.first, given.first + given.sets)
    populations = {
        "flat": torch.ones(SIZE, dtype=torch.float64),
        "1/k": 1 / torch.arange(1, SIZE + 1, dtype=torch.float64),
    }
    for name, population in populations.items():
        for sigma in SIGMAS:
            print(f"{name}, sigma {sigma}: of {given.sets}: {covered(population, sigma, seeds)}", flush=True)


if __name__ == "__main__":
    main()
