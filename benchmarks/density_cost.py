"""CPU seconds of ``density`` from one block, with ten replicas: eigenvalues, tests, fit and intervals.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/density_cost.py [--orders N ...]

Blocks of a Wishart matrix, which are answered, and of a rotated matrix with two bulks, which are refused and
for which the largest factor that could be answered is searched; both to twice their order.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from adversaries.matrices import families

import rmtaudit

ASKED = {"answered": "marchenko-pastur", "refused": "two-bulks"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, nargs="+", default=[128, 512, 1024, 2048, 4096])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rmtaudit.density(families()["semicircle"](64, np.random.default_rng(0)), factor=2)
    print("| order | asked | verdict | CPU s |\n|---:|---|---|---:|")
    for order in given.orders:
        for asked, family in ASKED.items():
            matrix = families()[family](order, np.random.default_rng([given.seed, order]))
            start = time.process_time()
            found = rmtaudit.density(matrix, factor=2, seed=given.seed, sample=order)
            seconds = time.process_time() - start
            print(f"| {order} | {asked} | {found.verdict} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
