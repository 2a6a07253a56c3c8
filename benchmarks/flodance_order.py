"""The test of the order of the points: false alarms on random orders, power on orders that mean something.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/flodance_order.py [--random 100] [--other 10]

Matérn 3/2 kernels of 800 points, of which 400 are used. The level is 1 %.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import torch

from rmtaudit.kernels.flodance import order_test

KERNELS = {
    "R², length 0.04": (2, 0.04, 0.0),
    "R², length 0.1, nugget": (2, 0.1, 1e-3),
    "R⁴, length 0.2": (4, 0.2, 0.0),
}
POINTS, USED = 800, 400


def farthest(points: torch.Tensor, _: torch.Generator) -> torch.Tensor:
    nearest, order, at = torch.full((len(points),), math.inf, dtype=torch.float64), [], 0
    for _ in range(len(points)):
        order.append(at)
        nearest = torch.minimum(nearest, (points - points[at]).square().sum(1))
        nearest[at] = -1.0
        at = int(nearest.argmax())
    return points[order]


def clustered(points: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    centres = torch.rand(10, points.shape[1], generator=generator, dtype=torch.float64)
    return points[torch.cdist(points, centres).argmin(1).argsort(stable=True)]


ORDERS: dict[str, Callable[[torch.Tensor, torch.Generator], torch.Tensor]] = {
    "random": lambda points, _: points,
    "farthest point first": farthest,
    "sorted by a coordinate": lambda points, _: points[points[:, 0].argsort()],
    "10 clusters, one after the other": clustered,
    "sorted by a coordinate and as much noise": lambda points, generator: points[
        (points[:, 0] + torch.rand(len(points), generator=generator, dtype=torch.float64)).argsort()
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--random", type=int, default=100)
    parser.add_argument("--other", type=int, default=10)
    parser.add_argument("--seed", type=int, default=31)
    given = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(given.seed)
    print("| order | kernel | rejected | CPU s a test |\n|---|---|---:|---:|")
    for name, order in ORDERS.items():
        for kernel, (dimension, length, nugget) in KERNELS.items():
            count, rejected, spent = given.random if name == "random" else given.other, 0, 0.0
            for _ in range(count):
                points = order(
                    torch.rand(POINTS, dimension, generator=generator, dtype=torch.float64), generator
                )
                distance = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
                scaled = distance * (math.sqrt(3) / length)
                matrix = (1 + scaled) * torch.exp(-scaled)
                matrix.diagonal().add_(nugget)
                started = time.process_time()
                found = order_test(lambda rows, m=matrix: m[rows][:, rows], USED, POINTS, generator=generator)
                spent += time.process_time() - started
                rejected += found is not None and found.rejected
            print(f"| {name} | {kernel} | {rejected} of {count} | {spent / count:.2f} |", flush=True)


if __name__ == "__main__":
    main()
