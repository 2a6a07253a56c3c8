"""How often noise is called something else: the table of docs/calibration.md.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/false_alarms.py [--large | --traps]

Layers of independent entries (Gaussian, uniform, Rademacher, Student t with 5 degrees of freedom), with and
without rows and columns whose standard deviations are log-normal of log-sd 1, through the whole noise floor
at its defaults. ``rejected at``: share with ``noise_p_value < level``; ``bulk rejected``: share whose bulk
no null
fits; ``spikes``: share with a spike. ``--large`` takes one layer of 4096 x 4096 a kind instead: minutes.
``--traps``: how often the shuffle of even noise has a correlation trap.
"""

from __future__ import annotations

import argparse
import itertools
import time

import torch

from rmtaudit.kernels.noise.floor import NoiseFloor, noise_floor
from rmtaudit.kernels.noise.traps import randomised_by_shuffle
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues

ENTRIES = ("gaussian", "uniform", "rademacher", "student5")
SPREADS = (0.0, 1.0)
SHAPES = {(128, 128): 55, (2560, 32): 40, (512, 512): 15, (1536, 384): 10, (10240, 128): 5, (1024, 1024): 2}
LARGE = {(4096, 4096): 1}
TRAP_SHAPES = ((128, 128), (512, 128))
LEVELS = (0.05, 0.01)


def noise(entries: str, spread: float, rows: int, cols: int, generator: torch.Generator) -> torch.Tensor:
    if entries == "gaussian":
        matrix = torch.randn(rows, cols, generator=generator)
    elif entries == "uniform":
        matrix = 2 * torch.rand(rows, cols, generator=generator) - 1
    elif entries == "rademacher":
        matrix = 2.0 * torch.randint(0, 2, (rows, cols), generator=generator) - 1
    else:
        below = torch.zeros(rows, cols)
        for _ in range(5):
            below += torch.randn(rows, cols, generator=generator).square()
        matrix = torch.randn(rows, cols, generator=generator) / (below / 5).sqrt()
    sides = (torch.randn(rows, 1, generator=generator), torch.randn(1, cols, generator=generator))
    return matrix * torch.exp(spread * sides[0]) * torch.exp(spread * sides[1])


def judge(matrix: torch.Tensor, generator: torch.Generator) -> NoiseFloor:
    return noise_floor(matrix, gram_eigenvalues(matrix).eigenvalues, generator=generator)


def line(head: str, floors: list[NoiseFloor]) -> str:
    count = len(floors)
    shares = [sum(floor.test.p_value < level for floor in floors) / count for level in LEVELS]
    shares.append(sum(floor.accepted is None for floor in floors) / count)
    shares.append(sum(bool(floor.spikes) for floor in floors) / count)
    return f"| {head} | {count} | " + " | ".join(f"{100 * share:.1f} %" for share in shares) + " |"


def traps(layers: float) -> None:
    """Print the share of layers of even noise with a correlation trap."""
    print("| noise | shape | layers | trap at 0.01 | trap at 0.001 |")
    print("|---|---|---|---|---|")
    for entries, (rows, cols) in itertools.product(ENTRIES, TRAP_SHAPES):
        generator = torch.Generator().manual_seed(rows + ENTRIES.index(entries))
        count = max(1, round(100 * layers))
        p_values = [
            randomised_by_shuffle(noise(entries, 0.0, rows, cols, generator), generator).p_value
            for _ in range(count)
        ]
        shares = " | ".join(
            f"{100 * sum(p < level for p in p_values) / count:.0f} %" for level in (0.01, 0.001)
        )
        print(f"| {entries} | {rows} x {cols} | {count} | {shares} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=float, default=1.0, help="factor on the number of layers")
    parser.add_argument("--large", action="store_true", help="4096 x 4096 instead")
    parser.add_argument("--traps", action="store_true", help="the table of traps instead")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.traps:
        traps(given.layers)
        return

    started = time.process_time()
    heads = [f"rejected at {level:g}" for level in LEVELS]
    print("| noise | layers | " + " | ".join(heads) + " | bulk rejected | spikes |")
    print("|---|---|" + "---|" * (len(LEVELS) + 2))
    by_family: dict[tuple[str, float], list[NoiseFloor]] = {}
    every = []
    for (rows, cols), layers in (LARGE if given.large else SHAPES).items():
        floors = []
        for entries, spread in itertools.product(ENTRIES, SPREADS):
            seed = rows * 7919 + cols * 104729 + ENTRIES.index(entries) * 31 + int(spread)
            generator = torch.Generator().manual_seed(seed)
            for _ in range(max(1, round(layers * given.layers))):
                floor = judge(noise(entries, spread, rows, cols, generator), generator)
                floors.append(floor)
                by_family.setdefault((entries, spread), []).append(floor)
        every += floors
        print(line(f"{rows} x {cols}", floors), flush=True)
    for (entries, spread), floors in by_family.items():
        print(line(f"{entries}, log-sd {spread:g}", floors))
    print(line("all", every))
    print(f"\n{time.process_time() - started:.0f} CPU seconds")


if __name__ == "__main__":
    main()
