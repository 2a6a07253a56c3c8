"""How often the interval of ``alpha`` holds the true exponent, how wide it is, and how steady over training.

``python benchmarks/powerlaw_interval.py`` prints its tables: samples whose tail is a power law (laws on
which the tolerance was chosen, and laws that were kept aside), matrices with heavy-tailed entries, spectra
without a power-law tail, and the layers of a network at consecutive steps of its training.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable

import numpy as np
import torch

from rmtaudit.kernels.powerlaw import interval as powerlaw_interval
from rmtaudit.kernels.powerlaw.bootstrap import bootstrap_power_law
from rmtaudit.kernels.powerlaw.fit import PowerLawFit, fit_power_law
from rmtaudit.kernels.powerlaw.interval import exponent_interval

Sample = Callable[[np.random.Generator, int, float], np.ndarray]
CONFIDENCE = 0.9


def law(share: float, body: Callable[[np.random.Generator, int], np.ndarray]) -> Sample:
    """Return a sampler: a Pareto tail from 1 on, of so large a share, and a body below 1."""

    def sample(rng: np.random.Generator, n: int, alpha: float) -> np.ndarray:
        tail = rng.binomial(n, share)
        pareto = rng.random(tail) ** (-1 / (alpha - 1))
        return np.concatenate([body(rng, n - tail), pareto])

    return sample


def uniform(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.random(n)


def rising(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.sqrt(rng.random(n))


def decaying(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.exp(-0.3 * rng.exponential(size=n))


def arcsine(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.sin(np.pi / 2 * rng.random(n)) ** 2


def lognormal(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.exp(-np.abs(rng.standard_normal(n)))


CHOSEN = {
    "pareto": law(1.0, uniform),
    "uniform .5": law(0.5, uniform),
    "uniform .3": law(0.3, uniform),
    "rising .5": law(0.5, rising),
    "rising .2": law(0.2, rising),
    "decaying .6": law(0.6, decaying),
    "decaying .3": law(0.3, decaying),
}
SHARES = (1.0, 0.5, 0.3, 0.5, 0.2, 0.6, 0.3)
"""Of the tails in ``CHOSEN``."""
KEPT_ASIDE = {
    "arcsine .4": law(0.4, arcsine),
    "arcsine .25": law(0.25, arcsine),
    "lognormal .5": law(0.5, lognormal),
    "lognormal .25": law(0.25, lognormal),
}


def coverage(
    laws: dict[str, Sample], sizes: tuple[int, ...], alphas: tuple[float, ...], repeats: int
) -> None:
    print("| law, share of the tail | n | alpha | covered | median width / alpha | unstable |")
    print("|---|---|---|---|---|---|")
    for number, (name, sample) in enumerate(laws.items()):
        for n in sizes:
            for alpha in alphas:
                rng = np.random.default_rng([number, n, round(10 * alpha)])
                found = [exponent_interval(torch.from_numpy(sample(rng, n, alpha))) for _ in range(repeats)]
                covered = np.mean([each.low <= alpha <= each.high for each in found])
                width = np.median([(each.high - each.low) / alpha for each in found])
                unstable = np.mean([bool(each.rivals) for each in found])
                print(f"| {name} | {n} | {alpha:g} | {covered:.2f} | {width:.2f} | {unstable:.2f} |")


def tolerances(repeats: int) -> None:
    """What the tolerance was chosen by: the least coverage over the laws with tails of 20 values or more."""
    print("| tolerance | least covered | mean covered | mean width / alpha |")
    print("|---|---|---|---|")
    shipped = powerlaw_interval.NEAR
    for near in (0.1, 0.2, 0.3, 0.4):
        powerlaw_interval.NEAR = near
        cells, widths = [], []
        for number, ((share, sample), n, alpha) in enumerate(
            itertools.product(zip(SHARES, CHOSEN.values(), strict=True), (48, 96, 192, 384), (1.7, 2.5, 4.0))
        ):
            if share * n < 20:
                continue
            rng = np.random.default_rng([number, 1])
            found = [exponent_interval(torch.from_numpy(sample(rng, n, alpha))) for _ in range(repeats)]
            cells.append(np.mean([each.low <= alpha <= each.high for each in found]))
            widths.append(np.mean([(each.high - each.low) / alpha for each in found]))
        print(f"| {near:g} | {min(cells):.2f} | {np.mean(cells):.2f} | {np.mean(widths):.2f} |")
    powerlaw_interval.NEAR = shipped


def resampling(sizes: tuple[int, ...], repeats: int) -> None:
    """The alternative: percentile intervals of 100 resamples that choose xmin anew."""
    print("| law, share of the tail | n | alpha | covered, resampling | median width / alpha |")
    print("|---|---|---|---|---|")
    for number, (name, sample) in enumerate(CHOSEN.items()):
        for n in sizes:
            rng = np.random.default_rng([number, n, 25])
            covered, widths = [], []
            for repeat in range(repeats):
                values = torch.from_numpy(sample(rng, n, 2.5))
                fit = fit_power_law(values, min_tail=8, stability=False)
                assert isinstance(fit, PowerLawFit)
                generator = torch.Generator().manual_seed(repeat)
                spread = bootstrap_power_law(values, fit, replicas=100, generator=generator)
                low, high = spread.alpha_ci
                covered.append(low <= 2.5 <= high)
                widths.append((high - low) / 2.5)
            print(f"| {name} | {n} | 2.5 | {np.mean(covered):.2f} | {np.median(widths):.2f} |")


def heavy_matrices(repeats: int) -> None:
    """Entries with tail index mu give eigenvalues with alpha = 1 + mu/2, in the limit."""
    print("| heavy-tailed matrices | mu | alpha in the limit | median alpha | covered |")
    print("|---|---|---|---|---|")
    for n in (96, 192, 384):
        for mu in (1.0, 2.0, 3.0):
            rng = np.random.default_rng([n, round(10 * mu)])
            true, alphas, covered = 1 + mu / 2, [], []
            for _ in range(repeats):
                entries = rng.choice([-1, 1], (n, n)) * rng.random((n, n)) ** (-1 / mu)
                values = torch.linalg.svdvals(torch.from_numpy(entries)).square()
                fit, found = fit_power_law(values, min_tail=8, stability=False), exponent_interval(values)
                alphas.append(fit.alpha)
                covered.append(found.low <= true <= found.high)
            print(f"| {n} x {n} | {mu:g} | {true:g} | {np.median(alphas):.2f} | {np.mean(covered):.2f} |")


def no_power_law(repeats: int) -> None:
    print("| Gaussian matrices | median alpha | median width / alpha | unstable |")
    print("|---|---|---|---|")
    for shape in ((96, 96), (192, 192), (384, 384), (768, 192)):
        generator = torch.Generator().manual_seed(shape[0])
        alphas, widths, unstable = [], [], []
        for _ in range(repeats):
            entries = torch.randn(shape, dtype=torch.float64, generator=generator)
            values = torch.linalg.svdvals(entries).square()
            fit, found = fit_power_law(values, min_tail=8, stability=False), exponent_interval(values)
            alphas.append(fit.alpha)
            widths.append((found.high - found.low) / fit.alpha)
            unstable.append(bool(found.rivals))
        numbers = f"{np.median(alphas):.2f} | {np.median(widths):.2f} | {np.mean(unstable):.2f}"
        print(f"| {shape[0]} x {shape[1]} | {numbers} |")


def training(steps: int) -> None:
    """A student of three layers learns a teacher; a checkpoint every tenth step of Adam."""
    torch.manual_seed(0)
    widths = (64, 192, 128, 16)
    pairs = list(itertools.pairwise(widths))

    def network() -> torch.nn.Sequential:
        layers = [part for a, b in pairs for part in (torch.nn.Linear(a, b), torch.nn.Tanh())]
        return torch.nn.Sequential(*layers[:-1])

    teacher, student = network(), network()
    for weight in teacher.parameters():
        weight.data.mul_(3)
    optimiser = torch.optim.Adam(student.parameters(), lr=3e-3)
    history: dict[str, list[tuple[float, float, float, float]]] = {}
    for step in range(10 * steps):
        inputs = torch.randn(64, widths[0])
        loss = (student(inputs) - teacher(inputs).detach()).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 10 == 0:
            for name, weight in student.named_parameters():
                if weight.ndim == 2 and min(weight.shape) >= 48:
                    values = torch.linalg.svdvals(weight.detach().double()).square()
                    fit, found = fit_power_law(values, min_tail=8), exponent_interval(values)
                    history.setdefault(name, []).append((fit.alpha, found.low, found.high, fit.sigma))
    print(
        "| layer | alpha over training | largest jump of alpha | intervals overlap | ± 1.645 sigma overlap |"
    )
    print("|---|---|---|---|---|")
    for name, seen in history.items():
        numbers = np.array(seen)
        alpha, low, high, sigma = numbers.T
        jump = np.abs(np.diff(alpha)).max()
        overlap = np.mean((low[1:] <= high[:-1]) & (low[:-1] <= high[1:]))
        close = np.mean(np.abs(np.diff(alpha)) <= 1.645 * (sigma[1:] + sigma[:-1]))
        print(
            f"| {name} {len(seen)} checkpoints | {alpha.min():.2f} to {alpha.max():.2f} | {jump:.2f} "
            f"| {overlap:.3f} | {close:.3f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--steps", type=int, default=60, help="checkpoints of the trained network")
    given = parser.parse_args()
    start = time.process_time()
    print("## Laws on which the tolerance was chosen")
    coverage(CHOSEN, (48, 96, 192, 384), (1.7, 2.5, 4.0), given.repeats)
    print("## Tolerances")
    tolerances(given.repeats)
    print("## Laws kept aside")
    coverage(KEPT_ASIDE, (48, 96, 192, 384), (2.0, 3.0, 5.0), given.repeats)
    print("## The alternative")
    resampling((48, 192), given.repeats // 4)
    print("## Matrices with heavy-tailed entries")
    heavy_matrices(given.repeats // 10)
    print("## Without a power law")
    no_power_law(given.repeats // 10)
    print("## Training")
    training(given.steps)
    print(f"{time.process_time() - start:.0f} CPU seconds")


if __name__ == "__main__":
    main()
