"""The law HTMP and its fits: accuracy, speed beside per-point mpmath, and recovery of kappa.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/htmp.py [--table PATH]

needs ``mpmath`` for the speed. ``--table`` is a Markdown page with rows ``| gamma | kappa | x | pdf | cdf |``
of reference values. Milliseconds are CPU time, medians.
"""

from __future__ import annotations

import argparse
import math
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from rmtaudit.kernels.htmp.ensemble import Ensemble
from rmtaudit.kernels.htmp.estimate import KappaFit, fit_joint, fit_moment
from rmtaudit.kernels.htmp.fit import fit_ks, fit_marginal
from rmtaudit.kernels.htmp.law import HTMP

ESTIMATORS: dict[str, Callable[[torch.Tensor, int, int], KappaFit]] = {
    "moment": fit_moment,
    "joint": fit_joint,
    "marginal": fit_marginal,
    "KS": fit_ks,
}
RECOVERED = [(0.25, 0.5), (0.25, 2.0), (0.25, 10.0), (0.5, 1.0), (0.5, 5.0), (0.8, 3.0), (0.5, 50.0)]


def milliseconds(call: Callable[[], object], repeat: int = 9) -> float:
    call()
    spent = []
    for _ in range(repeat):
        started = time.process_time()
        call()
        spent.append(time.process_time() - started)
    return 1e3 * statistics.median(spent)


def reference(path: Path) -> None:
    worst_pdf = worst_cdf = 0.0
    rows = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        cells = [cell.split()[0] for cell in line.strip().strip("|").split("|") if cell.strip()]
        if len(cells) != 5 or not re.fullmatch(r"0\.\d+", cells[0]):
            continue
        gamma, kappa, x, pdf, cdf = map(float, cells)
        law, at = HTMP(gamma, kappa), torch.tensor([x], dtype=torch.float64)
        worst_pdf = max(worst_pdf, abs(float(law.pdf(at)) / pdf - 1))
        worst_cdf = max(worst_cdf, abs(float(law.cdf(at)) - cdf))
        rows += 1
    print(f"{rows} reference values: pdf within {worst_pdf:.1e} relative, cdf within {worst_cdf:.1e}\n")


def speed() -> None:
    import mpmath

    at = torch.linspace(0.01, 4, 4096, dtype=torch.float64)
    print("| gamma | kappa | table, ms | 4096 densities, ms | 4096 cdf, ms | mpmath, ms | ratio |")
    print("|---|---|---:|---:|---:|---:|---:|")
    shift = iter(range(10**6))
    for gamma, kappa in ((0.5, 1.0), (0.5, 5.0), (0.25, 10.0), (0.8, 20.0), (0.5, 400.0), (0.5, 4000.0)):

        def fresh(gamma: float = gamma, kappa: float = kappa) -> HTMP:
            # never the same law twice: no cache is measured
            law = HTMP(gamma, kappa * (1 + 1e-9 * next(shift)))
            law.pdf(at[:1])
            return law

        law = fresh()
        build, pdf = milliseconds(fresh), milliseconds(lambda law=law: law.pdf(at))
        cdf = milliseconds(lambda law=law: law.cdf(at))
        if kappa > 50:
            print(f"| {gamma} | {kappa:g} | {build:.2f} | {pdf:.2f} | {cdf:.2f} | | |")
            continue
        points = [float(x) for x in at[::128]]
        started = time.process_time()
        slow = [by_points(mpmath, gamma, kappa, x) for x in points]
        peer = 1e3 * (time.process_time() - started) * len(at) / len(points)
        np.testing.assert_allclose(HTMP(gamma, kappa).pdf(at[::128]).numpy(), slow, rtol=1e-8)
        print(
            f"| {gamma} | {kappa:g} | {build:.2f} | {pdf:.2f} | {cdf:.2f} | {peer:.0f} | "
            f"{peer / (build + pdf):.0f} |",
            flush=True,
        )


def by_points(mpmath: object, gamma: float, kappa: float, x: float) -> float:
    """The density as one would write it down: Tricomi's function on the side of its cut, point by point."""
    c = kappa / 2
    a = c / gamma
    A = a - c - 1
    y = a * x
    u = mpmath.hyperu(c, -A, mpmath.mpc(-y, 0))  # type: ignore[attr-defined]
    size = mpmath.gamma(c + 1) * mpmath.gamma(a) * abs(u) ** 2  # type: ignore[attr-defined]
    return float(a * mpmath.mpf(y) ** A * mpmath.exp(-y) / size)  # type: ignore[attr-defined]


def recovery(replicates: int, size: int = 1000) -> None:
    print(f"\n| gamma, kappa | {' | '.join(ESTIMATORS)} | standard error of joint |")
    print("|---|" + "---|" * (len(ESTIMATORS) + 1))
    for gamma, kappa in RECOVERED:
        longer = round(size / gamma)
        generator = torch.Generator().manual_seed(17)
        logs: dict[str, list[float]] = {name: [] for name in ESTIMATORS}
        errors = []
        for _ in range(replicates):
            values = torch.from_numpy(Ensemble(kappa, size, longer).draw(generator))
            for name, estimator in ESTIMATORS.items():
                try:
                    fit = estimator(values, size, longer)
                except ArithmeticError:
                    continue
                logs[name].append(math.log(fit.kappa / kappa))
                if name == "joint" and fit.log_se is not None:
                    errors.append(fit.log_se)
        cells = [
            f"{np.mean(each):+.3f}/{np.std(each, ddof=1):.3f}"
            + (f" ({replicates - len(each)} without)" if len(each) < replicates else "")
            for each in logs.values()
        ]
        print(f"| {gamma}, {kappa:g} | {' | '.join(cells)} | {np.mean(errors):.3f} |", flush=True)


def errors(draws: int = 1500) -> None:
    """Whether the joint fit's standard error is that of its estimates."""
    print(f"\n| N x M, kappa ({draws} spectra) | bias | spread | standard error | ratio |")
    print("|---|---|---|---|---|")
    generator = torch.Generator().manual_seed(1)
    for size, longer, kappa in ((200, 400, 0.5), (200, 400, 5.0), (200, 400, 50.0), (200, 800, 10.0)):
        ensemble = Ensemble(kappa, size, longer)
        fits = [fit_joint(torch.from_numpy(ensemble.draw(generator)), size, longer) for _ in range(draws)]
        logs = [math.log(fit.kappa / kappa) for fit in fits]
        spread, error = np.std(logs), np.mean([fit.log_se for fit in fits if fit.log_se is not None])
        print(f"| {size} x {longer}, {kappa:g} | {np.mean(logs):+.3f} | {spread:.3f} | {error:.3f} ", end="")
        print(f"| {spread / error:.2f} |", flush=True)


def matrices() -> None:
    generator = torch.Generator().manual_seed(3)
    print("\n| matrix | kappa | of N | fit, ms |\n|---|---|---|---:|")
    for name, rows, cols, dtype in (
        ("real", 1000, 2000, torch.float64),
        ("complex", 1000, 2000, torch.complex128),
        ("real, square", 1000, 1000, torch.float64),
        ("real, square", 4096, 4096, torch.float64),
    ):
        matrix = torch.randn(rows, cols, generator=generator, dtype=dtype)
        values = torch.linalg.eigvalsh(matrix @ matrix.mH)
        fit = fit_joint(values, rows, cols)
        spent = milliseconds(lambda v=values, r=rows, c=cols: fit_joint(v, r, c), 3)
        kappa = f"{fit.kappa:.0f} ± {fit.se:.0f} | {fit.kappa / rows:.3f}"
        print(f"| {name} {rows} x {cols} | {kappa} | {spent:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, help="reference values")
    parser.add_argument("--replicates", type=int, default=24)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.table is not None:
        reference(given.table)
    speed()
    recovery(given.replicates)
    errors()
    matrices()


if __name__ == "__main__":
    main()
