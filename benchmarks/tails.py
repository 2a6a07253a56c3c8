"""Fits of tails beside the package powerlaw, how often a verdict is wrong, and what dependence does to it.

Needs ``powerlaw>=2.0`` (the extra ``test``)::

    OMP_NUM_THREADS=1 python benchmarks/tails.py [--part coverage|speed|verdicts|noise|ntk]

``coverage``: how often the 90 % interval of the exponent holds it, and how often the goodness of fit rejects
a true power law at 5 and 10 %; 99 replicas, ``--repeats`` samples (half as many of whole numbers and of 1000
values), with binomial standard errors.
``speed``: five laws above a known start, both tools in one run, in milliseconds of process CPU time;
``difference`` is how much higher our log-likelihood is, in nats: negative would mean that ours stopped short.
``verdicts``: independent samples of known laws. ``noise``: Gaussian layers and layers with a power-law
population, drawn again and again: what is said of them, and the spread of the log-likelihood ratio of power
law and exponential over layers, as a share of the spread that Vuong's test assumes; ``independent`` is the
same for independent draws of the same values, which is not 1 where the tails are heavy. ``ntk``: the kernel
of ``../shared/data`` (specification 5.3).
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import powerlaw
import torch

from rmtaudit.kernels.powerlaw.fit import PowerLawFit
from rmtaudit.kernels.tails.average import AlphaSpread, spread_of_alpha
from rmtaudit.kernels.tails.bootstrap import bootstrap_tail
from rmtaudit.kernels.tails.compare import compare_laws, judge
from rmtaudit.kernels.tails.laws import LAWS, fit_laws
from rmtaudit.kernels.tails.near_zero import NearZero, fit_near_zero
from rmtaudit.kernels.tails.support import Support, fit_start
from rmtaudit.kernels.tails.tail import Tail, fit_tail

NTK = Path(__file__).resolve().parents[2] / "shared/data/ntk_resnet50_cifar10"


def sample(law: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw from a law cut off at 1."""
    if law == "power_law 2":
        return 1 + rng.pareto(1.0, n)
    if law == "power_law 4":
        return 1 + rng.pareto(3.0, n)
    if law == "exponential":
        return 1 + rng.exponential(size=n)
    if law == "stretched_exponential":
        return (1 + rng.exponential(size=n)) ** 2
    if law == "lognormal":
        x = np.exp(rng.normal(size=4 * n + 100))
        return x[x > 1][:n]
    x = 1 + rng.pareto(1.0, 8 * n + 100)  # truncated_power_law: accepted with the chance e^(-0.05 (x-1))
    return x[rng.random(x.size) < np.exp(-0.05 * (x - 1))][:n]


def with_power_law(law: str, n: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Draw from a law whose upper tail is a power law, and return its exponent: ``body share alpha``."""
    body, share, exponent = law.split()
    alpha = float(exponent)
    if body == "zeta":
        return np.minimum(rng.zipf(alpha, n), 2**50).astype(float), alpha
    pareto = (1 - rng.random(n)) ** (-1 / (alpha - 1))
    below = {
        "none": lambda: pareto,
        "uniform": lambda: 0.1 + 0.9 * rng.random(n),
        "lognormal": lambda: (x := np.exp(rng.normal(-0.7, 0.5, 10 * n)))[x < 1][:n],
        "gamma": lambda: (x := rng.gamma(3, 0.2, 10 * n))[x < 1][:n],
        "Weibull": lambda: (x := 0.6 * rng.weibull(1.5, 10 * n))[x < 1][:n],
    }[body]()
    return np.where(rng.random(n) < float(share), pareto, below), alpha


def coverage(repeats: int) -> None:
    print("| body, share of the tail, alpha | n | samples | coverage at 90 % | rejected at 5 % | at 10 % |")
    print("|---|---:|---:|---:|---:|---:|")
    for law, n in (
        ("none 1 2", 300),
        ("none 1 4", 300),
        ("none 1 3", 100),
        ("lognormal .3 2.5", 300),
        ("lognormal .5 2.5", 300),
        ("gamma .4 3.5", 300),
        ("Weibull .25 2", 300),
        ("uniform .2 3", 300),
        ("lognormal .3 2.5", 1000),
        ("zeta 1 2.5", 300),
    ):
        support: Support = "discrete" if law.startswith("zeta") else "continuous"
        samples = repeats if support == "continuous" and n < 1000 else repeats // 2
        rng, generator = np.random.default_rng(5), torch.Generator().manual_seed(5)
        held, p_values = [], []
        for _ in range(samples):
            x, alpha = with_power_law(law, n, rng)
            x.sort()
            fit = fit_start(x, support, excluded=0, min_tail=8, margin=None)
            assert isinstance(fit, PowerLawFit)
            found = spread_of_alpha(x, fit, support, replicas=99, generator=generator, confidence=0.9)
            assert isinstance(found, AlphaSpread)
            held.append(found.alpha_ci[0] <= alpha <= found.alpha_ci[1])
            p_values.append(found.p_value)
        shares = [float(np.mean(held))] + [float(np.mean(np.array(p_values) <= at)) for at in (0.05, 0.1)]
        cells = (f"{share:.3f} ± {math.sqrt(share * (1 - share) / samples):.3f}" for share in shares)
        print(f"| {law} | {n} | {samples} | {' | '.join(cells)} |", flush=True)


def cpu_ms(function: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    times, result = [], None
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return 1e3 * min(times), result


def theirs(x: np.ndarray) -> dict[str, float]:
    # without the ranges, powerlaw 2.0 stops at alpha = 3
    fit = powerlaw.Fit(x, xmin=1.0, parameter_ranges={"alpha": [-50, None]}, verbose=False)
    return {law: float(np.sum(getattr(fit, law).loglikelihoods(fit.data))) for law in LAWS}


def speed() -> None:
    print("| n | law | ours, ms | powerlaw, ms | ratio | difference: " + " / ".join(LAWS) + " |")
    print("|---:|---|---:|---:|---:|---|")
    rng = np.random.default_rng(0)
    for n in (300, 3000, 30000):
        for law in (
            "power_law 2",
            "lognormal",
            "stretched_exponential",
            "truncated_power_law",
            "exponential",
        ):
            x = sample(law, n, rng)
            ours, fits = cpu_ms(lambda x=x: compare_laws(laws := fit_laws(x, 1.0)) and laws, 5)
            peer, found = cpu_ms(lambda x=x: theirs(x), 1)
            gaps = " / ".join(f"{fit.log_likelihood - found[fit.law]:.1g}" for fit in fits)
            print(f"| {n} | {law} | {ours:.1f} | {peer:.0f} | {peer / ours:.0f} | {gaps} |")
    x = torch.from_numpy(sample("power_law 4", 1000, rng))
    tail = fit_tail(x, "upper")
    assert isinstance(tail, Tail)
    spent, _ = cpu_ms(
        lambda: bootstrap_tail(x, tail, replicas=200, generator=torch.Generator().manual_seed(0)), 1
    )
    print(f"\nbootstrap of a tail, 1000 values, 200 replicas of each kind: {spent / 1e3:.1f} CPU s")


def verdicts(repeats: int) -> None:
    print("| law | n | truth ruled out | wrong winner | right winner | 'like' a law | undecided |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    rng = np.random.default_rng(1)
    for law in ("power_law 2", "power_law 4", *LAWS[1:]):
        truth = law.split()[0]
        for n in (50, 500, 5000):
            counts: Counter[str] = Counter()
            for _ in range(repeats):
                laws = fit_laws(sample(law, n, rng), 1.0)
                verdict = judge(laws, compare_laws(laws))
                counts["out"] += truth not in verdict.plausible
                counts["right"] += verdict.winner == truth
                counts["wrong"] += verdict.winner not in (None, truth)
                counts["like"] += verdict.simplest is not None
                counts["undecided"] += verdict.winner is None and verdict.simplest is None
            shares = " | ".join(
                f"{counts[key] / repeats:.3f}" for key in ("out", "wrong", "right", "like", "undecided")
            )
            print(f"| {law} | {n} | {shares} |")


def layer(kind: str, rows: int, cols: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the eigenvalues of ``WᵀW/rows``."""
    w = rng.standard_normal((rows, cols))
    if kind == "fixed population":  # the same quantiles of a power law of exponent 2.5 in every layer
        w *= ((np.arange(cols) + 0.5) / cols) ** (-0.5 / 1.5)
    elif kind == "drawn population":
        w *= (1 - rng.random(cols)) ** (-0.5 / 1.5)
    return np.linalg.eigvalsh(w.T @ w / rows)


def noise(repeats: int) -> None:
    print("| layers | shape | a law wins: upper, lower | 'like' a law | spread / assumed | independent |")
    print("|---|---|---:|---:|---:|---:|")
    rng = np.random.default_rng(2)
    for kind in ("Gaussian", "fixed population", "drawn population"):
        for rows, cols in ((256, 256), (1024, 256)):
            counts: Counter[str] = Counter()
            spectra = [layer(kind, rows, cols, rng) for _ in range(repeats)]
            for values in spectra:
                for side in ("upper", "lower"):
                    tail = fit_tail(torch.from_numpy(values), side, stability=False)
                    assert isinstance(tail, Tail)
                    counts[f"{side} wins"] += tail.verdict.winner is not None
                    counts[f"{side} like"] += tail.verdict.simplest is not None
            wins = ", ".join(f"{counts[f'{side} wins'] / repeats:.2f}" for side in ("upper", "lower"))
            like = ", ".join(f"{counts[f'{side} like'] / repeats:.2f}" for side in ("upper", "lower"))
            pooled = np.concatenate(spectra)
            drawn = [np.sort(rng.choice(pooled, cols)) for _ in spectra]
            shares = f"{spread(spectra):.2f} | {spread(drawn):.2f}"
            print(f"| {kind} | {rows} × {cols} | {wins} | {like} | {shares} |")


def spread(spectra: list[np.ndarray]) -> float:
    """Return the spread of the log-ratio over layers, as a share of what Vuong's test assumes.

    The highest quarter of every layer: as many values each, so that nothing but the values varies.
    """
    tails = [values[-len(values) // 4 :] for values in spectra]
    cases = [compare_laws(fit_laws(values, float(values[0])))[3] for values in tails]
    assumed = math.sqrt(float(np.mean([(case.log_ratio / case.z) ** 2 for case in cases])))
    return float(np.std([case.log_ratio for case in cases], ddof=1)) / assumed


def ntk() -> None:
    print("| n | upper alpha | D | in the tail | lowest | inverse gamma | gain, nats |")
    print("|---:|---:|---:|---:|---:|---|---:|")
    for path in sorted(NTK.glob("cifar_resnet50_fp64_l9_p*.npy")):
        values = torch.from_numpy(np.load(path))
        tail = fit_tail(values, "upper", stability=False)
        assert isinstance(tail, Tail)
        fit = tail.power_law
        head = (
            f"| {len(values)} | {fit.alpha:.3f} ± {fit.sigma:.3f} | {fit.ks_distance:.4f} | {fit.tail_size} "
        )
        for fraction in (0.05, 0.02, 0.005):
            low = fit_near_zero(values, fraction=fraction)
            assert isinstance(low, NearZero)
            law = f"x^-({low.power:.2f} ± {low.power_se:.2f}) e^(-{low.rate:.4f}/x)"
            print(f"{head}| {100 * fraction:g} % | {law} | {low.gain:.2f} |")
            head = "| | | | "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["coverage", "speed", "verdicts", "noise", "ntk"])
    parser.add_argument("--repeats", type=int, default=200)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    parts = {
        "coverage": lambda: coverage(given.repeats),
        "speed": speed,
        "verdicts": lambda: verdicts(given.repeats),
        "noise": lambda: noise(given.repeats),
        "ntk": ntk,
    }
    for name, part in parts.items():
        if given.part in (None, name):
            print(f"\n### {name}\n")
            part()


if __name__ == "__main__":
    main()
