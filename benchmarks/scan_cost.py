"""What a scan takes by the shapes of its layers: refits the constants of ``rmtaudit.engine.scan.cost``.

    python benchmarks/scan_cost.py fit [--preset fast …]
    python benchmarks/scan_cost.py check MODEL… [--preset default …] [--threads 1 2]

``fit`` scans layers of several shapes, noise and a product of two Gaussian factors, and fits the seconds of a
matrix as ``fixed + products * 2 n p² / R + eigenvalues * p³ / R``, ``R`` the rate of a product of float64
matrices measured before and after (non-negative least squares of the relative errors). ``check`` compares the
estimate for models, and for one layer of 4096 x 4096 (the name ``layer4096``), with what their scans take.
Both measure CPU seconds, which other work on the machine changes least; on two threads the CPU seconds are
halved, and the time on the clock stands next to them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from scipy.optimize import nnls

import rmtaudit
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.engine.resources.threads import one_thread_each
from rmtaudit.engine.scan.cost import COSTS, Cost, measured_rate
from rmtaudit.matrices.plan import plan_layers

SHAPES = ((64, 64, 6), (384, 384, 4), (1536, 384, 4), (1024, 1024, 2), (4096, 1024, 1), (2048, 2048, 1))


def layer(n: int, p: int, generator: torch.Generator) -> torch.Tensor:
    """Return noise plus a product of two Gaussian factors, ``n x p``."""
    noise = torch.randn(n, p, generator=generator) * 0.02
    factors = torch.randn(n, 8, generator=generator) @ torch.randn(8, p, generator=generator)
    return noise + 0.02 * factors / 3


@contextmanager
def clock() -> Iterator[list[float]]:
    """Yield a list that gets the CPU seconds, the seconds on the clock, and the rate during them."""
    spent: list[float] = []
    with one_thread_each():
        rate = measured_rate()
        cpu, wall = time.process_time(), time.perf_counter()
        yield spent
        spent += [time.process_time() - cpu, time.perf_counter() - wall, (rate + measured_rate()) / 2]


def fit(preset: str) -> None:
    """Print the cost of each shape, and the constants that fit them."""
    generator = torch.Generator().manual_seed(0)
    rows, seconds = [], []
    rmtaudit.scan({"a.weight": layer(64, 64, generator)}, preset=preset, threads=1)
    for n, p, count in SHAPES:
        weights = {f"l{index}.weight": layer(n, p, generator) for index in range(count)}
        with clock() as spent:
            rmtaudit.scan(weights, preset=preset, threads=1)
        rows.append([1.0, 2 * n * p * p / spent[2], p**3 / spent[2]])
        seconds.append(spent[0] / count)
    measured, units = np.array(seconds), np.array(rows)
    constants, _ = nnls(units / measured[:, None], np.ones(len(measured)))
    print(f"{preset}: Cost({', '.join(f'{each:.3g}' for each in constants)}), now {COSTS[preset]}")
    for (n, p, _), took, unit in zip(SHAPES, measured, units, strict=True):
        fitted, now = unit @ constants, unit @ [*_constants(COSTS[preset])]
        print(
            f"  {n:5} x {p:<5} {took:7.3f} s, refitted / measured {fitted / took:.2f}, now {now / took:.2f}"
        )


def check(subject: str, preset: str, threads: int) -> None:
    """Print the estimate for a model next to what its scan takes."""
    if subject == "layer4096":
        target: object = {"layer.weight": layer(4096, 4096, torch.Generator().manual_seed(0))}
        shapes = [((4096, 4096), 1)]
    else:
        target = subject
        with open_checkpoint(subject) as checkpoint:
            plan = plan_layers(checkpoint.tensors, conv="flattened", config=checkpoint.config)
        shapes = [(each.shape, each.matrices) for each in plan.layers]
    with clock() as spent:
        rmtaudit.scan(target, preset=preset, threads=threads)  # type: ignore[arg-type]
    cpu, wall, rate = spent
    expected = sum(count * COSTS[preset].of(shape, rate) for shape, count in shapes)
    print(
        f"{subject}, {preset}, {threads} threads: estimated {expected:.2f} CPU s, measured {cpu:.2f}, "
        f"ratio {expected / cpu:.2f}; on the clock {wall:.2f}, estimated {expected / threads:.2f}",
        flush=True,
    )


def _constants(cost: Cost) -> tuple[float, float, float]:
    return cost.fixed, cost.products, cost.eigenvalues


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("fit", "check"))
    parser.add_argument("models", nargs="*")
    parser.add_argument("--preset", nargs="+", default=list(COSTS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    options = parser.parse_args()
    rmtaudit.scan({"a.weight": torch.eye(64) + torch.ones(64, 64)}, threads=1)  # imports
    for preset in options.preset:
        if options.what == "fit":
            fit(preset)
            continue
        for model in options.models:
            for threads in options.threads:
                check(model, preset, threads)


if __name__ == "__main__":
    main()
