"""How often the tests of ``forensics`` reject what is true: the second table of docs/analyzers/forensics.md.

    OMP_NUM_THREADS=1 python benchmarks/forensics_calibration.py [--draws 400]

Entry outliers: Pareto sizes, before the power; Gaussian entries, whose tail is lighter than the null.
Each entry is the share of draws with a p-value of at most 5 % and 1 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from rmtaudit.kernels.forensics.outliers import largest_entries

SHAPES = ((64, 64), (96, 256), (512, 32))
LEVELS = (0.05, 0.01)
Draw = Callable[[int, int, torch.Generator], torch.Tensor]


def gaussian(rows: int, cols: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(rows, cols, generator=generator)


def pareto(tail: float) -> Draw:
    def draw(rows: int, cols: int, generator: torch.Generator) -> torch.Tensor:
        return torch.rand(rows, cols, generator=generator, dtype=torch.float64) ** (-1 / tail)

    return draw


def shares(p_values: list[float]) -> str:
    found = torch.tensor(p_values, dtype=torch.float64)
    return " | ".join(f"{100 * float((found <= level).double().mean()):.1f} %" for level in LEVELS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=400)
    draws = parser.parse_args().draws
    print("| test | entries | shape | 5 % | 1 % |\n|---|---|---|---:|---:|")
    for rows, cols in SHAPES:
        for name, draw in (("Pareto 1", pareto(1)), ("Pareto 3", pareto(3)), ("Gaussian", gaussian)):
            generator = torch.Generator().manual_seed(0)
            tests = [largest_entries(draw(rows, cols, generator)) for _ in range(draws)]
            p = [1.0 if test is None else test.model_p_value for test in tests]
            print(f"| outliers | {name} | {rows} x {cols} | {shares(p)} |")


if __name__ == "__main__":
    main()
