"""How often the numerical rank is right: products of known rank and pure noise, rounded to a stored dtype.

    OMP_NUM_THREADS=1 PYTHONPATH=src python benchmarks/numerical_rank.py

``products``: Gaussian factors of rank 1 to a half of the smaller side; ``noise``: Gaussian matrices of full
rank. Each entry is how many of the matrices had exactly the rank of the matrix before it was rounded.

Below, for products of rank r: the largest singular value that is nothing but rounding noise, over the norm
``s (√(rows - r) + √(cols - r))`` of noise of even size; the greatest found.
"""

from __future__ import annotations

import argparse
import math

import torch

from rmtaudit.kernels.spectra.eigenvalues import singular_values
from rmtaudit.kernels.spectra.scale import numerical_rank

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn)
EDGE_SHAPES = ((192, 192), (256, 256), (384, 384), (768, 192), (192, 768), (1536, 384))
SHAPES = ((64, 64), (256, 256), (768, 192), (192, 768), (1000, 30))


def rank(matrix: torch.Tensor, dtype: torch.dtype) -> int:
    found = torch.finfo(dtype)
    spectrum = singular_values(matrix.to(dtype).double())
    return numerical_rank(spectrum, epsilon=found.eps / 2, smallest_normal=found.smallest_normal)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    print(f"{'shape':>10}" + "".join(f"{str(dtype)[6:]:>32}" for dtype in DTYPES))
    for rows, cols in SHAPES:
        smaller = min(rows, cols)
        cells = []
        for dtype in DTYPES:
            generator = torch.Generator().manual_seed(0)

            def gaussian(m: int, n: int, generator: torch.Generator = generator) -> torch.Tensor:
                return torch.randn(m, n, dtype=torch.float64, generator=generator)

            ranks = [r for r in (1, 2, 3, 8, smaller // 4, smaller // 2) for _ in range(given.repeats // 4)]
            products = sum(
                rank(gaussian(rows, r) @ gaussian(r, cols) / math.sqrt(r), dtype) == r for r in ranks
            )
            noise = sum(rank(gaussian(rows, cols), dtype) == smaller for _ in range(given.repeats))
            cells.append(f"{products}/{len(ranks)} products, {noise}/{given.repeats} noise")
        print(f"{f'{rows}x{cols}':>10}" + "".join(f"{cell:>32}" for cell in cells))

    print("\nrank      noise over that of even noise")
    generator = torch.Generator().manual_seed(1)
    for r in (1, 2, 3, 8, 32, 96):
        worst = max(
            edge(rows, cols, r, dtype, generator) for rows, cols in EDGE_SHAPES for dtype in DTYPES[:3]
        )
        print(f"{r:4d} {worst:10.2f}")


def edge(rows: int, cols: int, r: int, dtype: torch.dtype, generator: torch.Generator) -> float:
    left = torch.randn(rows, r, dtype=torch.float64, generator=generator)
    right = torch.randn(r, cols, dtype=torch.float64, generator=generator)
    stored = (left @ right).to(dtype).double()
    s = torch.finfo(dtype).eps / 2 / math.sqrt(3) * float(stored.square().mean().sqrt())
    sigma = torch.linalg.svdvals(stored)
    return float(sigma[r]) / (s * (math.sqrt(rows - r) + math.sqrt(cols - r)))


if __name__ == "__main__":
    main()
