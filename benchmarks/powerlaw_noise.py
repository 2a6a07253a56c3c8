"""What the power-law fit says of pure noise, and how well its error bars describe the spread it really has.

    OMP_NUM_THREADS=1 PYTHONPATH=src python benchmarks/powerlaw_noise.py

Many layers of independent Gaussian weights (their eigenvalues drawn exactly), each fitted as the analyzer
fits. ``alpha``: the median; ``2-6``: the share that the usual thresholds would pass; ``sd``: the spread of
alpha over the layers, to be compared with the mean ``se`` of the bootstrap and the mean ``sigma``;
``p < 0.1``: the share of layers whose goodness of fit rejects the power law.
"""

from __future__ import annotations

import argparse

import numpy as np
import scipy.linalg
import torch

from rmtaudit.kernels.powerlaw.bootstrap import bootstrap_power_law
from rmtaudit.kernels.powerlaw.fit import PowerLawFit, fit_power_law


def noise(rows: int, cols: int, rng: np.random.Generator) -> torch.Tensor:
    """Eigenvalues of ``WᵀW`` for Gaussian ``W``, through its bidiagonal form (Dumitriu, Edelman 2002)."""
    diagonal = np.sqrt(rng.chisquare(rows - np.arange(cols)))
    below = np.sqrt(rng.chisquare(cols - 1 - np.arange(cols - 1)))
    square = diagonal**2
    square[1:] += below**2
    values = scipy.linalg.eigvalsh_tridiagonal(square, diagonal[:-1] * below, lapack_driver="sterf")
    return torch.from_numpy(np.abs(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=100)
    parser.add_argument("--bootstrapped", type=int, default=20, help="of these layers")
    parser.add_argument("--replicas", type=int, default=100)
    given = parser.parse_args()

    heads = ("shape", "alpha", "2-6", "sd", "se", "sigma", "p < 0.1")
    print("".join(f"{head:>11}" for head in heads))
    for rows, cols in ((128, 128), (384, 384), (768, 768), (1536, 384)):
        alphas, sigmas, errors, p_values = [], [], [], []
        for seed in range(given.layers):
            values = noise(rows, cols, np.random.default_rng(seed))
            fit = fit_power_law(values, min_tail=8, stability=False)
            assert isinstance(fit, PowerLawFit)
            alphas.append(fit.alpha)
            sigmas.append(fit.sigma)
            if seed < given.bootstrapped:
                generator = torch.Generator().manual_seed(seed)
                found = bootstrap_power_law(values, fit, replicas=given.replicas, generator=generator)
                errors.append(found.alpha_se)
                p_values.append(found.p_value)
        alpha = np.array(alphas)
        passed = np.mean((alpha >= 2) & (alpha <= 6))
        rejected = np.mean(np.array(p_values) < 0.1)
        print(
            f"{f'{rows}x{cols}':>11}{np.median(alpha):11.2f}{passed:11.2f}{alpha.std(ddof=1):11.2f}"
            f"{np.mean(errors):11.2f}{np.mean(sigmas):11.2f}{rejected:11.2f}"
        )


if __name__ == "__main__":
    main()
