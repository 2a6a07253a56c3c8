"""Forecasts of ridge regression beside the simulated error of prediction, for isotropic features and others.

Run it with::

    OMP_NUM_THREADS=1 python benchmarks/forecast.py [--part error|accuracy|intervals] [--repeats 20]

``error``: for each population and number of samples, the simulated risk of a random target and of a given
one, with its Monte Carlo standard error, beside generalised cross-validation, the bias of isotropic features
and the deterministic equivalents. ``accuracy``: how far the risk is off where isotropic features make it
known, by the degrees of freedom that the fit leaves, and how often such features are called anything but
isotropic.
``intervals``: how often the 90 % intervals of the risk hold the simulated one.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
import torch

from rmtaudit.engine.samples.forecast import ForecastSettings, forecast_values
from rmtaudit.kernels.ridge.population import population_risk
from rmtaudit.kernels.ridge.sample import ridge_bias, ridge_risk

POPULATIONS = {
    "isotropic": (np.ones(150), 300),
    "isotropic, p > n": (np.ones(300), 150),
    "1/i, p > n": (1 / np.arange(1, 301), 150),
    "1/i, n > p": (1 / np.arange(1, 151), 300),
    "1, 3, 7": (np.repeat([1.0, 3.0, 7.0], 80), 400),
    "Pareto": ((np.arange(1, 301) / 301) ** -0.7, 200),
}


def features(law: str, n: int, p: int, rng: np.random.Generator) -> np.ndarray:
    """Draw independent entries of variance 1."""
    if law == "signs":
        return np.sign(rng.standard_normal((n, p)))
    if law == "t":
        return rng.standard_t(6, (n, p)) / math.sqrt(1.5)
    return rng.standard_normal((n, p))


def simulated(x: np.ndarray, population: np.ndarray, signal: np.ndarray, mu: float) -> tuple[float, float]:
    """Return the risk of a random target and of one with random signs, given the samples."""
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    left = mu * (vectors / (values + mu)) @ vectors.T
    error = np.diag(left @ (population[:, None] * left))
    return error.sum() / population.sum(), (signal * error).sum() / (signal * population).sum()


def shared(x: np.ndarray) -> torch.Tensor:
    """Return the eigenvalues of ``x xᵀ/n`` or ``xᵀ x/n``, whichever is smaller."""
    n, p = x.shape
    return torch.from_numpy(np.linalg.eigvalsh((x @ x.T if n < p else x.T @ x) / n).clip(0))


def error(repeats: int) -> None:
    print(
        "| population | n | mu | simulated | GCV | bias | equivalent | simulated, given target | equivalent |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    rng = np.random.default_rng(0)
    for name, (population, n) in POPULATIONS.items():
        p = len(population)
        signal = np.arange(1, p + 1) ** -1.5
        for share in (0.05, 0.5):
            mu = share * float(population.mean())
            at = torch.tensor([mu], dtype=torch.float64)
            rows = []
            for index in range(repeats):
                x = features(("normal", "signs")[index % 2], n, p, rng) * np.sqrt(population)
                values = shared(x)
                rows.append(
                    [
                        *simulated(x, population, signal, mu),
                        float(ridge_risk(values, at, samples=n).risk),
                        float(ridge_bias(values, at, zeros=p - len(values)).bias),
                    ]
                )
            mean = np.mean(rows, 0)
            se = np.std(rows, 0, ddof=1) / math.sqrt(repeats)
            equal, given = (
                float(population_risk(torch.from_numpy(population), torch.from_numpy(s), at, samples=n).risk)
                for s in (np.ones(p), signal)
            )
            print(
                f"| {name} | {n} | {mu:.4g} | {mean[0]:.4f} ± {se[0]:.4f} | {mean[2]:.4f} | {mean[3]:.4f} | "
                f"{equal:.4f} | {mean[1]:.4f} ± {se[1]:.4f} | {given:.4f} |"
            )


def accuracy(repeats: int) -> None:
    print(
        "| degrees of freedom left | cases | relative error: median | 90 % | 99 % | error x degrees, 99 % |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    rng = np.random.default_rng(1)
    found, wrong, total = [], 0, 0
    for law in ("normal", "signs", "t"):
        for n, p in ((30, 60), (60, 30), (50, 50), (100, 100), (100, 110), (200, 200), (200, 190)):
            for _ in range(repeats):
                values = shared(features(law, n, p, rng))
                settings = ForecastSettings(
                    matrix="kernel" if n <= p else "covariance", shape=(n, p), bootstrap=0, level=0.5
                )
                document = forecast_values(values, settings)
                wrong += document["isotropy"]["verdict"] == "contradicted"
                total += 1
                mu = torch.tensor([row["mu"] for row in document["empirical"]], dtype=torch.float64)
                risk = ridge_risk(values, mu, samples=n).risk
                for row, value in zip(document["empirical"], risk.tolist(), strict=True):
                    found.append((row["residual"], abs(math.log(row["bias"]["value"] / value))))
    cases = np.array(found)
    for low, high in ((0, 5), (5, 10), (10, 20), (20, 40), (40, 80), (80, 200)):
        chosen = cases[(cases[:, 0] >= low) & (cases[:, 0] < high)]
        quantiles = " | ".join(f"{value:.3f}" for value in np.quantile(chosen[:, 1], [0.5, 0.9, 0.99]))
        print(f"| {low}-{high} | {len(chosen)} | {quantiles} | {np.quantile(chosen.prod(1), 0.99):.1f} |")
    print(f"\nisotropic features called anything else: {wrong} of {total}")


def intervals(repeats: int) -> None:
    print("| population | n | intervals of the risk that hold it, smallest to largest ridge |")
    print("|---|---:|---|")
    rng = np.random.default_rng(2)
    for name, (population, n) in POPULATIONS.items():
        p = len(population)
        held = []
        for _ in range(repeats):
            x = features("normal", n, p, rng) * np.sqrt(population)
            matrix = "kernel" if n < p else "covariance"
            document = forecast_values(shared(x), ForecastSettings(matrix=matrix, shape=(n, p), points=4))
            held.append(
                [
                    row["risk"]["ci"][0]
                    <= simulated(x, population, population, row["mu"])[0]
                    <= row["risk"]["ci"][1]
                    for row in document["empirical"]
                ]
            )
        print(f"| {name} | {n} | {', '.join(f'{share:.2f}' for share in np.mean(held, 0))} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["error", "accuracy", "intervals"])
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    for name, part in {"error": error, "accuracy": accuracy, "intervals": intervals}.items():
        if given.part in (None, name):
            print(f"\n### {name}\n")
            part(given.repeats)


if __name__ == "__main__":
    main()
