"""Randomised kernels: is the stated error the true one, and what do they cost beside exact answers and peers?

    OMP_NUM_THREADS=1 python benchmarks/randnla.py triples
    OMP_NUM_THREADS=1 python benchmarks/randnla.py decays
    OMP_NUM_THREADS=1 python benchmarks/randnla.py traces
    OMP_NUM_THREADS=1 python benchmarks/randnla.py sketches

Peers are scipy.sparse.linalg.svds and torch.svd_lowrank of the installed SciPy and torch. Seconds are CPU
seconds (user + system) of the process.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator

import torch
from scipy.sparse.linalg import svds

from rmtaudit.kernels.operators import linear
from rmtaudit.kernels.randnla.interpolative import cur, interpolative
from rmtaudit.kernels.randnla.krylov import top_singular
from rmtaudit.kernels.randnla.least_squares import least_squares
from rmtaudit.kernels.randnla.leverage import sketched_leverage
from rmtaudit.kernels.randnla.norms import norm_bounds
from rmtaudit.kernels.randnla.nystrom import nystrom, pivoted_cholesky
from rmtaudit.kernels.randnla.qb import find_range
from rmtaudit.kernels.randnla.rank import rank_bounds
from rmtaudit.kernels.randnla.sketch import Sketch
from rmtaudit.kernels.randnla.trace import hutch_plus_plus, hutchinson, xnystrace, xtrace
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues

TOP = 64


def heavy_tailed(size: int, seed: int = 0) -> torch.Tensor:
    """Return Σ^½ G with inverse-gamma(2) variances, as float32: no gap anywhere in its spectrum."""
    generator = torch.Generator().manual_seed(seed)
    gamma = -torch.log(torch.rand(2, size, dtype=torch.float64, generator=generator)).sum(dim=0)
    noise = torch.randn(size, size, dtype=torch.float64, generator=generator) / size**0.5
    return (noise / gamma.sqrt()[:, None]).float()


def timed(run: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float]:
    start = time.process_time()
    found = run()
    return found, time.process_time() - start


def triples(size: int) -> None:
    W = heavy_tailed(size)
    exact, seconds = timed(lambda: gram_eigenvalues(W).eigenvalues.flip(0).sqrt()[:TOP])
    print(
        f"{size} x {size}, float32, σ₁ = {float(exact[0]):.4g}, σ_64/σ₁ = {float(exact[63] / exact[0]):.2g}\n"
    )
    print(
        "| kernel | CPU s | rel. error of σ₁ | σ₁₀ | σ₆₄ | residual interval holds σ_i "
        "| interval of the i-th | widest |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")

    def row(name: str, spent: float, values: torch.Tensor, *rest: str) -> None:
        errors = [f"{abs(float(values[i] / exact[i]) - 1):.1e}" for i in (0, 9, 63)]
        print("|", " | ".join([name, f"{spent:.2f}", *errors, *rest]), "|", flush=True)

    row("exact, every eigenvalue (float64 Gram)", seconds, exact, "", "", "")
    values, spent = timed(lambda: torch.linalg.svdvals(W)[:TOP])
    row("torch.linalg.svdvals, float32", spent, values.double(), "none", "none", "")
    values, spent = timed(
        lambda: torch.from_numpy(svds(W.numpy(), k=TOP)[1].copy()).sort(descending=True).values
    )
    row("scipy svds, k = 64", spent, values.double(), "none", "none", "")
    torch.manual_seed(0)
    values, spent = timed(lambda: torch.svd_lowrank(W, q=TOP + 16)[1][:TOP])
    row("torch.svd_lowrank, q = 80, default niter", spent, values.double(), "none", "none", "")
    operator = linear(W)
    for power in (0, 1, 2):
        start = time.process_time()
        found = find_range(operator, TOP + 16, 1, power=power)
        left, theta, right = torch.linalg.svd(found.factor, full_matrices=False)
        U, V = found.basis @ left[:, :TOP], right[:TOP].T
        rest = operator.matmul(V) - U * theta[:TOP]
        spent = time.process_time() - start
        residuals = ((rest**2).sum(dim=0) / 2).sqrt()
        held = int(((theta[:TOP] - exact).abs() <= residuals).sum())
        row(f"randomised SVD, 16 more, power {power}", spent, theta[:TOP], f"{held} of 64", "none", "")
    for block, steps, tolerance in ((16, 10, 1e-6), (72, 4, 1e-3), (72, 12, 1e-3), (72, 12, 1e-6)):
        start = time.process_time()
        part = top_singular(operator, TOP, 1, block=block, steps=steps, tolerance=tolerance)
        spent = time.process_time() - start
        held = int(((part.values - exact).abs() <= part.residuals + 1e-12).sum())
        inside = int(((part.lower <= exact) & (exact <= part.upper)).sum())
        widest = float(((part.upper - part.lower) / exact).max())
        name = f"block Krylov, block {block}, {steps} steps, tolerance {tolerance:g}"
        row(name, spent, part.values, f"{held} of 64", f"{inside} of 64", f"{widest:.1e}")
    start = time.process_time()
    part = top_singular(operator, 5, 1, tolerance=1e-3)
    spent = time.process_time() - start
    inside = int(((part.lower <= exact[:5]) & (exact[:5] <= part.upper)).sum())
    error = abs(float(part.values[0] / exact[0]) - 1)
    widest = float(((part.upper - part.lower) / exact[:5]).max())
    print(f"| the analyzer sketch: top 5 | {spent:.2f} | {error:.1e} | | | | {inside} of 5 | {widest:.1e} |")
    for steps in (4, 8, 12, 20):
        start = time.process_time()
        bounds = norm_bounds(operator, 5, steps=steps)
        spent = time.process_time() - start
        error, width = 1 - bounds.lower / float(exact[0]), (bounds.upper - bounds.lower) / float(exact[0])
        inside = int(bounds.lower <= float(exact[0]) * (1 + 1e-14) and float(exact[0]) <= bounds.upper)
        print(
            f"| norm bounds, {steps} steps | {spent:.2f} | {error:.1e} | | | | {inside} of 1 | {width:.1e} |"
        )


ROWS, COLS, RANK = 300, 200, 20


def spectra() -> dict[str, torch.Tensor]:
    k = torch.arange(1, COLS + 1, dtype=torch.float64)
    return {
        "1 to 0.5": torch.linspace(1, 0.5, COLS, dtype=torch.float64),
        "k^-0.5": k**-0.5,
        "k^-1": 1 / k,
        "k^-2": k**-2.0,
        "0.8^k": 0.8 ** (k - 1),
    }


def orthonormal(rows: int, cols: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(rows, cols, dtype=torch.float64, generator=generator))[0]


def checks(sigma: torch.Tensor, seed: int) -> Iterator[tuple[str, float, float]]:
    """Yield (kernel, true error, stated error): the statement fails where the first is above the second."""
    left, right = orthonormal(ROWS, COLS, 0), orthonormal(COLS, COLS, 1)
    A = (left * sigma) @ right.T
    S = (right * sigma) @ right.T
    S = (S + S.T) / 2
    operator = linear(A)

    def norm(matrix: torch.Tensor) -> float:
        return float(torch.linalg.matrix_norm(matrix, 2))

    bounds = norm_bounds(operator, seed)
    yield "norm, 12 steps", float(sigma[0]), bounds.upper
    found = top_singular(operator, RANK, seed, steps=3)
    part = found.upper - found.values
    worst = int(((sigma[:RANK] - found.values) - part).argmax())
    yield "block Krylov, 3 steps: worst value", float(sigma[worst] - found.values[worst]), float(part[worst])
    for power in (0, 1):
        q = find_range(operator, RANK, seed, power=power)
        yield f"range, power {power}", norm(A - q.basis @ q.factor), q.spectral.upper
    skeleton = interpolative(A, RANK, seed)
    yield "interpolative", norm(A - A[:, skeleton.columns] @ skeleton.coefficients), skeleton.error.upper
    both = cur(A, RANK, seed)
    yield "CUR", norm(A - A[:, both.columns] @ both.core @ A[both.rows]), both.error.upper
    low = nystrom(lambda X: S @ X, COLS, RANK, seed)
    rest = S - (low.vectors * low.eigenvalues) @ low.vectors.T
    yield "Nyström, spectral", norm(rest), low.residual.spectral_bound
    yield "Nyström, Frobenius", float(torch.linalg.matrix_norm(rest)), low.residual.frobenius_bound
    pivoted = pivoted_cholesky(lambda i: S[:, i], S.diagonal(), RANK, torch.Generator().manual_seed(seed))
    rest = S - pivoted.factor @ pivoted.factor.T
    yield "pivoted Cholesky, spectral", norm(rest), pivoted.residual_trace
    threshold = float(sigma[9:11].mean())
    ranks = rank_bounds(operator, threshold, seed)
    yield "rank at a threshold", 10.0, float(ranks.upper) if ranks.lower <= 10 else 0.0
    tall = A[:, :40]
    exact = (torch.linalg.qr(tall)[0] ** 2).sum(dim=1)
    scores = sketched_leverage(tall, seed)
    ratio = exact / scores.scores
    inside = bool((ratio >= scores.lower * (1 - 1e-9)).all())
    yield "leverage, sketched: worst ratio", float(ratio.max()), scores.upper if inside else 0.0
    target = torch.randn(ROWS, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    fit = least_squares(tall, target, seed)
    basis = torch.linalg.qr(tall)[0]
    yield (
        "least squares",
        float(torch.linalg.vector_norm(tall @ fit.solution - basis @ (basis.T @ target))),
        fit.distance,
    )


def decays(runs: int) -> None:
    print("| kernel | " + " | ".join(spectra()) + " |")
    print("|---|" + "---:|" * len(spectra()))
    cells: dict[str, list[str]] = {}
    for sigma in spectra().values():
        failures: dict[str, int] = {}
        ratios: dict[str, list[float]] = {}
        for seed in range(runs):
            for name, truth, stated in checks(sigma, seed):
                failures[name] = failures.get(name, 0) + (truth > stated * (1 + 1e-9) + 1e-13)
                ratios.setdefault(name, []).append(stated / max(truth, 1e-300))
        for name, found in ratios.items():
            median = float(torch.tensor(found).median())
            shown = f"{median:.3g}" if median < 1e4 else "> 1e4"
            cells.setdefault(name, []).append(f"{failures[name]}, {shown}")
    for name, row in cells.items():
        print("|", name, "|", " | ".join(row), "|")


def traces(runs: int, size: int, products: int) -> None:
    print("| spectrum | estimator | error, rms, of the trace | standard error/rms | covered at 95% |")
    print("|---|---|---:|---:|---:|")
    k = torch.arange(1, size + 1, dtype=torch.float64)
    basis = orthonormal(size, size, 0)
    cases = {
        "1 to 0.5": torch.linspace(1, 0.5, size, dtype=torch.float64),
        "k^-1": 1 / k,
        "k^-2": k**-2.0,
        "0.8^k": 0.8 ** (k - 1),
    }
    for name, values in cases.items():
        A = (basis * values) @ basis.T
        A = (A + A.T) / 2
        truth = float(values.sum())
        for estimate in (hutchinson, hutch_plus_plus, xtrace, xnystrace):
            found = [estimate(lambda X, A=A: A @ X, size, products, seed) for seed in range(runs)]
            errors = torch.tensor([run.value - truth for run in found], dtype=torch.float64)
            stated = torch.tensor([run.standard_error for run in found], dtype=torch.float64)
            rms = float((errors**2).mean().sqrt())
            covered = sum(run.interval()[0] <= truth <= run.interval()[1] for run in found)
            ratio = float((stated**2).mean().sqrt()) / rms
            print(
                f"| {name} | {estimate.__name__} | {rms / truth:.2g} | {ratio:.2f} | {covered / runs:.1%} |",
                flush=True,
            )


def sketches(runs: int) -> None:
    print("| sketch | rows, of a space of 20 | length kept, lowest and highest | CPU s for 20000 x 200 |")
    print("|---|---:|---:|---:|")
    basis = orthonormal(2000, 20, 0)
    large = torch.randn(20000, 200, generator=torch.Generator().manual_seed(0))
    for kind in ("gaussian", "sparse", "hadamard"):
        for rows in (40, 80, 160):
            ends = [
                Sketch(rows=rows, size=2000, seed=seed, kind=kind).distortion(basis) for seed in range(runs)
            ]
            low, high = min(end[0] for end in ends), max(end[1] for end in ends)
            _, spent = timed(
                lambda kind=kind, rows=rows: Sketch(rows=rows, size=20000, seed=0, kind=kind).apply(large)
            )
            print(f"| {kind} | {rows} | {low:.2f}, {high:.2f} | {spent:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["triples", "decays", "traces", "sketches"])
    parser.add_argument("--size", type=int, default=None)
    parser.add_argument("--runs", type=int, default=None)
    parser.add_argument("--products", type=int, default=60)
    given = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n", file=sys.stderr)
    if given.part == "triples":
        triples(given.size or 4096)
    elif given.part == "decays":
        decays(given.runs or 40)
    elif given.part == "sketches":
        sketches(given.runs or 100)
    else:
        traces(given.runs or 200, given.size or 500, given.products)


if __name__ == "__main__":
    main()
