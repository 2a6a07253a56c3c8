"""Simulate the distance between the eigenvalues of HTMP and the law fitted to them by joint likelihood.

    OMP_NUM_THREADS=1 python benchmarks/calibrate_htmp.py

prints the quantiles that ``rmtaudit.kernels.htmp.goodness`` holds, and then, with fresh draws of other
shapes, how often its p-value falls below 5 % and 1 %.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
import torch

from rmtaudit.kernels.htmp.ensemble import Ensemble
from rmtaudit.kernels.htmp.estimate import fit_joint
from rmtaudit.kernels.htmp.goodness import LEVELS, distance, p_value

# kappa, N, draws: at most two Gaussian matrices' kappa in every size
GRID = [(kappa, 200, 2000) for kappa in (0.05, 0.2, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)]
GRID += [(1000.0, 500, 1000), (4000.0, 2000, 300)]
CHECKED = [
    (1.0, 50, 50),
    (0.3, 400, 1600),
    (2.0, 384, 1536),
    (20.0, 384, 384),
    (384.0, 384, 384),
    (768.0, 768, 3072),
]


def statistics(kappa: float, size: int, longer: int, draws: int, seed: int) -> list[tuple[float, float]]:
    """Return ``(sqrt(N) D, fitted kappa)`` of draws from the ensemble."""
    ensemble = Ensemble(kappa, size, longer)
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(draws):
        values = torch.from_numpy(ensemble.draw(generator))
        try:
            fit = fit_joint(values, size, longer)
        except (ArithmeticError, ValueError):  # an eigenvalue that underflows to 0
            continue
        found.append((math.sqrt(size) * distance(values, fit), fit.kappa))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check-only", action="store_true")
    if not parser.parse_args().check_only:
        for kappa, size, draws in GRID:
            drawn = [t for t, _ in statistics(kappa, size, 2 * size, draws, seed=1)]
            quantiles = np.quantile(drawn, [1 - level for level in LEVELS])
            print(
                f"    ({kappa:g}, ({', '.join(f'{q:.3f}' for q in quantiles)})),  # {len(drawn)} draws",
                flush=True,
            )
    print("| kappa | shape | draws | p < 0.05 | p < 0.01 |\n|---|---|---|---|---|")
    for kappa, size, longer in CHECKED:
        pairs = statistics(kappa, size, longer, 600, seed=2)
        p = np.array([p_value(t, fitted) for t, fitted in pairs])
        shares = f"{(p < 0.05).mean():.3f} | {(p < 0.01).mean():.3f}"
        print(f"| {kappa:g} | {size} x {longer} | {p.size} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
