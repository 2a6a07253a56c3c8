"""Size and power of the tests of random order: the tables of docs/calibration.md.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/exchangeability.py [--repeats 30]

Size: layers of independent entries of 11 laws in 8 shapes, four of them convolutions; the share with a
p-value below each level. Power: layers of 256 x 256 whose rows have standard deviations that vary by 10 %
(normal, about 1), and the cost of the tests by size.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Callable

import torch

from rmtaudit.kernels.exchangeability import exchangeability

LEVELS = (0.05, 0.01, 0.001)
SHAPES = (
    (16, 1, 3, 3), (16, 3, 3, 3), (24, 8, 5), (64, 64, 3, 3),
    (32, 32), (64, 64), (128, 48), (64, 256),
)  # fmt: skip

Draw = Callable[[torch.Size, torch.Generator], torch.Tensor]


def student(freedom: int) -> Draw:
    def draw(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
        below = torch.randn(freedom, *shape, generator=generator).square().mean(0)
        return torch.randn(shape, generator=generator) / below.sqrt()

    return draw


def truncated(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    return torch.nn.init.trunc_normal_(torch.empty(shape), a=-2, b=2, generator=generator)


def laplace(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    signs = 2 * torch.randint(0, 2, shape, generator=generator) - 1
    return torch.empty(shape).exponential_(generator=generator) * signs


def signs(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    return 2.0 * torch.randint(0, 2, shape, generator=generator) - 1


def log_normal(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, generator=generator).exp() * signs(shape, generator)


LAWS: dict[str, Draw] = {
    "normal": lambda shape, generator: torch.randn(shape, generator=generator),
    "uniform": lambda shape, generator: torch.rand(shape, generator=generator) - 0.5,
    "truncated normal": truncated,
    "Laplace": laplace,
    "Student, 3 degrees": student(3),
    "Student, 5 degrees": student(5),
    "log-normal with signs": log_normal,
    "normal with mean 0.2": lambda shape, generator: torch.randn(shape, generator=generator) + 0.2,
    "normal in bfloat16": lambda shape, generator: torch.randn(shape, generator=generator).bfloat16().float(),
    "normal in int8": lambda shape, generator: (20 * torch.randn(shape, generator=generator)).round(),
    "signs": signs,
}


def p_value(tensor: torch.Tensor) -> float:
    return exchangeability(tensor.reshape(len(tensor), -1), tuple(tensor.shape[2:])).p_value


def line(head: str, p_values: list[float]) -> str:
    cells = []
    for level in LEVELS:
        share = sum(p < level for p in p_values) / len(p_values)
        error = math.sqrt(level * (1 - level) / len(p_values))
        cells.append(f"{share:.4f} ({(share - level) / error:+.1f})")
    return f"| {head} | {len(p_values)} | " + " | ".join(cells) + " |"


def size(seed: int, repeats: int) -> None:
    print(
        "| | layers | " + " | ".join(f"p < {level:g}" for level in LEVELS) + " |\n|---|---:|---:|---:|---:|"
    )
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for place, (law, draw) in enumerate(LAWS.items()):
        for number, shape in enumerate(SHAPES):
            generator = torch.Generator().manual_seed(seed + 100 * place + number)
            for _ in range(repeats):
                found = p_value(draw(torch.Size(shape), generator))
                groups[law].append(found)
                groups[" x ".join(map(str, shape))].append(found)
                groups["all"].append(found)
    for name, p_values in groups.items():
        print(line(name, p_values))


def power(seed: int, repeats: int) -> None:
    print("\n| 256 x 256, row scales 1 ± | layers | p < 1e-3 | p < 1e-5 |\n|---:|---:|---:|---:|")
    for spread in (0.05, 0.1):
        generator = torch.Generator().manual_seed(seed)
        drawn = [
            p_value(
                torch.randn(256, 256, generator=generator)
                * (1 + spread * torch.randn(256, 1, generator=generator))
            )
            for _ in range(repeats)
        ]
        shares = " | ".join(f"{sum(p < level for p in drawn) / repeats:.2f}" for level in (1e-3, 1e-5))
        print(f"| {spread:g} | {repeats} | {shares} |")


def cost() -> None:
    print("\n| shape | CPU ms |\n|---|---:|")
    for shape in ((64, 64), (384, 384), (1536, 384), (256, 256, 3, 3)):
        tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        started = time.process_time()
        for _ in range(5):
            p_value(tensor)
        print(f"| {' x '.join(map(str, shape))} | {200 * (time.process_time() - started):.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=30)
    given = parser.parse_args()
    torch.set_num_threads(1)
    size(given.seed, given.repeats)
    power(given.seed, given.repeats)
    cost()


if __name__ == "__main__":
    main()
