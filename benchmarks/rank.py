"""What the intervals and p-values of ``rmtaudit rank`` hold, in simulations, and what a large zoo costs.

    python benchmarks/rank.py [coverage] [false-alarms] [power] [cost] [--repeats 200]

``coverage``: 95 % intervals of tau and of partial tau for normal variables; the truth is ``2/pi asin(rho)``
and the partial tau of three of these. ``false-alarms``: metric and quality follow size and nothing else, by
several laws; p-values below .05. ``power``: both share something else as well. ``cost``: CPU seconds and peak
memory of a zoo of 10,000 synthetic models.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rmtaudit.engine.rank.answer import rank_models
from rmtaudit.engine.rank.models import Model, Models
from rmtaudit.kernels.rank_correlation.bootstrap import bootstrap_taus, percentile_interval
from rmtaudit.kernels.rank_correlation.kendall import kendall_tau, partial_tau
from rmtaudit.kernels.rank_correlation.permutation import partial_p_values
from rmtaudit.report.zoo import Quality

Sample = tuple[np.ndarray, np.ndarray, np.ndarray]


def tau_of(rho: float) -> np.ndarray:
    return np.array(2 / np.pi * np.arcsin(rho))


def coverage(repeats: int) -> None:
    rng = np.random.default_rng(11)
    for n in (6, 8, 12, 21, 50, 400):
        for rho in (0.0, 0.5, 0.9):
            truth = float(tau_of(rho)), float(partial_tau(tau_of((1 + rho) / 2), *2 * [tau_of(0.5**0.5)]))
            inside, known = np.zeros(2), np.zeros(2)
            for _ in range(repeats):
                z, y, noise = rng.standard_normal((3, n))
                x = rho * y + np.sqrt(1 - rho**2) * noise
                for place, (a, b) in enumerate(((x, y), (x + z, y + z))):
                    strata = np.zeros(n, dtype=np.int64)
                    drawn = bootstrap_taus(a[None], b, z, strata, draws=500, generator=rng)
                    taus = [np.array(kendall_tau(*pair, strata)) for pair in ((a, b), (a, z), (b, z))]
                    estimate = float(partial_tau(*taus) if place else taus[0])
                    values = (drawn.partial if place else drawn.xy)[:, 0]
                    interval = percentile_interval(values, estimate, scale=drawn.scale)
                    if interval is not None:
                        known[place] += 1
                        inside[place] += interval[0] <= truth[place] <= interval[1]
            shares = [f"{a / b:.3f} of {b:.0f}" if b else "none" for a, b in zip(inside, known, strict=True)]
            print(f"n {n:3} rho {rho}: tau {shares[0]}, partial tau {shares[1]}", flush=True)


def laws() -> dict[str, Callable[[np.random.Generator, int], Sample]]:
    def both(change: Callable[[np.ndarray], np.ndarray], noise: float) -> Callable[..., Sample]:
        def draw(rng: np.random.Generator, n: int) -> Sample:
            z, first, second = rng.standard_normal((3, n))
            return change(z) + noise * first, change(z) + noise * second, z

        return draw

    def heavy(rng: np.random.Generator, n: int) -> Sample:
        z = rng.standard_normal(n)
        return z + 0.3 * rng.standard_t(2, n), z + 0.3 * rng.standard_t(2, n), z

    def uniform(rng: np.random.Generator, n: int) -> Sample:
        z = 3 * rng.uniform(size=n)
        return z + 0.3 * rng.standard_normal(n), z + 0.3 * rng.standard_normal(n), z

    return {
        "normal, noise .3": both(lambda z: z, 0.3),
        "normal, noise 1": both(lambda z: z, 1.0),
        "saturating": both(lambda z: np.tanh(2 * z), 0.2),
        "heavy tails": heavy,
        "uniform sizes": uniform,
    }


def rejections(
    draw: Callable[[np.random.Generator, int], Sample], n: int, families: int, repeats: int
) -> str:
    rng = np.random.default_rng(12)
    strata = np.arange(n) % families
    p_values = []
    for _ in range(repeats):
        x, y, z = draw(rng, n)
        p_values.append(float(partial_p_values(x[None], y, z, strata, generator=rng)[0]))
    values = np.array(p_values)
    return f"p < .05 in {np.mean(values < 0.05):.3f}, p < .01 in {np.mean(values < 0.01):.3f}"


def false_alarms(repeats: int) -> None:
    for n, families in ((12, 1), (30, 1), (30, 5), (100, 1), (8, 1)):
        for name, draw in laws().items():
            print(
                f"n {n} in {families} families, {name}: {rejections(draw, n, families, repeats)}", flush=True
            )


def power(repeats: int) -> None:
    def draw(rng: np.random.Generator, n: int) -> Sample:
        z, shared, first, second = rng.standard_normal((4, n))
        return z + 0.6 * shared + 0.3 * first, z + 0.6 * shared + 0.3 * second, z

    for n in (12, 30, 100):
        print(f"n {n}, a shared effect of .6: {rejections(draw, n, 1, repeats)}", flush=True)


def cost(repeats: int) -> None:
    del repeats
    rng = np.random.default_rng(13)
    for families in (1, 20, 1000):
        values = rng.standard_normal((8, 10_000))
        models = tuple(
            Model(
                name=f"m{place}",
                family=f"f{place % families}",
                parameters=int(1e6 * np.exp(values[0, place])),
                metrics={f"metric {row}": float(values[row, place]) for row in range(1, 7)},
                quality={"accuracy": Quality(value=float(values[7, place]), higher_is_better=True)},
            )
            for place in range(10_000)
        )
        started = time.process_time()
        rank_models(Models(models, tuple(models[0].metrics), 0), Path("zoo"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"10,000 models, {families} families: {time.process_time() - started:.2f} CPU s, {peak:.0f} MiB"
        )


PARTS = {"coverage": coverage, "false-alarms": false_alarms, "power": power, "cost": cost}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--repeats", type=int, default=200)
    options = parser.parse_args()
    for part in options.parts or PARTS:
        print(f"## {part}", flush=True)
        PARTS[part](options.repeats)


if __name__ == "__main__":
    main()
