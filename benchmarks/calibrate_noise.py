"""Make the tables of ``rmtaudit.kernels.noise.table`` by simulation.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/calibrate_noise.py [--layers 1] [--write]

Two tables over the smaller side and the aspect ratio. ``alpha``: quantiles of ``(alpha - 1)`` over that of
the Marchenko-Pastur law, of Gaussian layers whose eigenvalues are drawn exactly (Dumitriu, Edelman 2002).
``bulk``: quantiles of N x KS of layers with Student t5 entries after Sinkhorn's scaling. ``--layers``
multiplies the number of layers in every cell. Without ``--write`` the tables are only printed.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import scipy.linalg
import torch

from rmtaudit.kernels.noise.marchenko_pastur import fit_bulk
from rmtaudit.kernels.noise.table import deterministic_alpha
from rmtaudit.kernels.noise.variance_profile import equalised_gram, sinkhorn
from rmtaudit.kernels.powerlaw.fit import PowerLawFit, fit_power_law
from rmtaudit.kernels.spectra.gram import eigenvalues

TABLE = Path(__file__).resolve().parents[1] / "src/rmtaudit/kernels/tables/noise.json"
PROBABILITIES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
ALPHA_SIDES = {16: 400, 32: 400, 64: 400, 128: 400, 256: 300, 512: 200, 1024: 80, 2048: 30}
ALPHA_ASPECTS = (1, 1.5, 2, 4, 8, 16, 32, 80)
BULK_SIDES = {8: 300, 16: 300, 32: 300, 64: 300, 128: 200, 256: 100, 512: 60, 1024: 16}
BULK_ASPECTS = (1, 2, 4, 16, 64)
LARGEST = 1 << 20  # entries of a simulated layer; a cell beyond it repeats the next smaller aspect


def gaussian_eigenvalues(rows: int, cols: int, rng: np.random.Generator) -> torch.Tensor:
    """Eigenvalues of ``WᵀW`` for Gaussian ``W``, through its bidiagonal form."""
    diagonal = np.sqrt(rng.chisquare(rows - np.arange(cols)))
    below = np.sqrt(rng.chisquare(cols - 1 - np.arange(cols - 1)))
    square = diagonal**2
    square[1:] += below**2
    values = scipy.linalg.eigvalsh_tridiagonal(square, diagonal[:-1] * below, lapack_driver="sterf")
    return torch.from_numpy(np.abs(values))


def alpha_quantiles(side: int, aspect: float, layers: int) -> list[float]:
    rows, rng = round(side * aspect), np.random.default_rng([side, round(10 * aspect)])
    centre = deterministic_alpha(rows, side) - 1
    ratios = []
    for _ in range(layers):
        fit = fit_power_law(gaussian_eigenvalues(rows, side, rng), min_tail=8, stability=False)
        assert isinstance(fit, PowerLawFit)
        ratios.append((fit.alpha - 1) / centre)
    return [round(float(value), 4) for value in np.quantile(ratios, PROBABILITIES)]


def bulk_quantiles(side: int, aspect: float, layers: int) -> list[float]:
    rows = round(side * aspect)
    generator = torch.Generator().manual_seed(side * 1000 + round(10 * aspect))
    found = []
    for _ in range(layers):
        below = sum(torch.randn(rows, side, generator=generator).square() for _ in range(5))
        matrix = torch.randn(rows, side, generator=generator) / (below / 5).sqrt()
        values = eigenvalues(equalised_gram(matrix, sinkhorn(matrix)))
        found.append(fit_bulk(values, rows, side).n_ks)
    return [round(float(value), 3) for value in np.quantile(found, PROBABILITIES)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=float, default=1.0, help="factor on the layers of every cell")
    parser.add_argument("--write", action="store_true", help="replace the shipped table")
    given = parser.parse_args()
    torch.set_num_threads(1)

    started = time.process_time()
    bulk, alpha = [], []
    for side, layers in BULK_SIDES.items():
        row: list[list[float]] = []
        for aspect in BULK_ASPECTS:
            small = side * side * aspect <= LARGEST or not row
            row.append(
                bulk_quantiles(side, aspect, max(8, round(layers * given.layers))) if small else row[-1]
            )
        bulk.append(row)
        print("bulk ", side, [(cell[3], cell[6]) for cell in row], flush=True)
    for side, layers in ALPHA_SIDES.items():
        number = max(8, round(layers * given.layers))
        alpha.append([alpha_quantiles(side, aspect, number) for aspect in ALPHA_ASPECTS])
        print("alpha", side, [(cell[1], cell[3], cell[6]) for cell in alpha[-1]], flush=True)
    print(f"{time.process_time() - started:.0f} CPU seconds")
    document = {
        "made_by": f"benchmarks/calibrate_noise.py --layers {given.layers:g}",
        "probabilities": PROBABILITIES,
        "bulk": {"sides": list(BULK_SIDES), "aspects": BULK_ASPECTS, "quantiles": bulk},
        "alpha": {"sides": list(ALPHA_SIDES), "aspects": ALPHA_ASPECTS, "quantiles": alpha},
    }
    if given.write:
        TABLE.write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
