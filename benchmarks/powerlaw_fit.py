"""CPU time of a power-law fit beside the fits it replaces, and whether they agree.

Run it in an environment that has weightwatcher 0.7.7 (it brings powerlaw), with this checkout on the path::

    OMP_NUM_THREADS=1 PYTHONPATH=src python benchmarks/powerlaw_fit.py

Columns, in milliseconds of process CPU time: ``default`` as the analyzer fits (both sides of every step, with
the range of alpha), ``lower`` the fit that WeightWatcher defines, ``WWFit`` WeightWatcher's own, ``powerlaw``
the package (up to ``--powerlaw-up-to`` values: it takes seconds), ``ratio`` WWFit over ``lower``, and the
largest relative difference of alpha, xmin and distance between those two. Last, a bootstrap of 200 replicas.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import powerlaw
import scipy.linalg
import torch

from rmtaudit.kernels.powerlaw.bootstrap import bootstrap_power_law
from rmtaudit.kernels.powerlaw.fit import PowerLawFit, fit_power_law


def sample(law: str, n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    if law == "Pareto":
        return 1 + rng.pareto(2.0, n)
    if law == "lognormal":
        return rng.lognormal(0.0, 1.0, n)
    if law == "inverse gamma":
        return 1 / rng.gamma(1.5, 1.0, n)
    # A Wishart matrix of 2n degrees of freedom through its bidiagonal form (Dumitriu, Edelman 2002): the
    # same law of eigenvalues, in O(n²)
    diagonal = np.sqrt(rng.chisquare(2 * n - np.arange(n)))
    below = np.sqrt(rng.chisquare(n - 1 - np.arange(n - 1)))
    square = diagonal**2
    square[1:] += below**2
    return np.abs(scipy.linalg.eigvalsh_tridiagonal(square, diagonal[:-1] * below, lapack_driver="sterf"))


def cpu_ms(function: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Return the least CPU time of a few calls, and what the last returned."""
    times = []
    result = None
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return 1e3 * min(times), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[384, 1000, 4096, 16384])
    parser.add_argument("--powerlaw-up-to", type=int, default=1000)
    given = parser.parse_args()
    from weightwatcher.WW_powerlaw import WWFit  # after the options: --help needs no peer

    warnings.simplefilter("ignore")

    heads = ("default", "lower", "WWFit", "powerlaw", "ratio")
    print(f"{'n':>6} {'law':14}" + "".join(f"{head:>10}" for head in heads) + "  difference")
    for n in given.sizes:
        for law in ("Wishart", "Pareto", "lognormal", "inverse gamma"):
            x = sample(law, n)
            values = torch.from_numpy(x)
            default, _ = cpu_ms(partial(fit_power_law, values, min_tail=8), 5)
            lower, ours = cpu_ms(partial(fit_power_law, values, ecdf="lower", stability=False), 5)
            theirs, peer = cpu_ms(partial(WWFit, x), 1)
            pairs = ((ours.alpha, peer.alpha), (ours.xmin, peer.xmin), (ours.ks_distance, peer.D))
            difference = max(abs(a / b - 1) for a, b in pairs)
            package = "-"
            if n <= given.powerlaw_up_to:
                # without the limits, powerlaw 2.0 stops at alpha = 3
                fit = partial(powerlaw.Fit, x, parameter_ranges={"alpha": [1, None]}, verbose=False)
                package = f"{cpu_ms(fit, 1)[0]:.0f}"
            print(
                f"{x.size:>6} {law:14}{default:10.2f}{lower:10.2f}{theirs:10.1f}{package:>10}"
                f"{theirs / lower:10.0f}  {difference:.0e}"
            )

    for law in ("Wishart", "Pareto"):
        values = torch.from_numpy(sample(law, 1000))
        fit = fit_power_law(values)
        assert isinstance(fit, PowerLawFit)
        generator = torch.Generator().manual_seed(0)
        run = partial(bootstrap_power_law, values, fit, replicas=200, generator=generator)
        spent, found = cpu_ms(run, 1)
        print(f"bootstrap, n=1000, {law}: 400 refits in {spent:.0f} ms, p = {found.p_value:.3f}")


if __name__ == "__main__":
    main()
