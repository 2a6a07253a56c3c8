"""Stochastic Lanczos quadrature: do brackets hold, do intervals cover, and what does it cost beside imate?

    OMP_NUM_THREADS=1 python benchmarks/slq.py brackets
    OMP_NUM_THREADS=1 python benchmarks/slq.py coverage
    OMP_NUM_THREADS=1 python benchmarks/slq.py gram --peer-python PEER/bin/python
    OMP_NUM_THREADS=1 python benchmarks/slq.py peer --peer-python PEER/bin/python

``PEER`` is an environment with ``imate==0.29.11``. Seconds are CPU seconds (user + system) of the process.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy.special import stdtrit

from rmtaudit.kernels import slq
from rmtaudit.kernels.randnla.nystrom import nystrom
from rmtaudit.kernels.slq import integrands
from rmtaudit.kernels.slq.precondition import (
    from_eigenvectors,
    low_precision_cholesky,
    preconditioned_log_determinant,
)

SIZE = 300

PEER = """
import sys, time, json, numpy
from imate import logdet
A = numpy.load(sys.argv[1])
steps, probes = int(sys.argv[2]), int(sys.argv[3])
start = time.process_time()
value, info = logdet(A, method="slq", lanczos_degree=steps, min_num_samples=probes, max_num_samples=probes,
                     orthogonalize=-1, num_threads=1, seed=int(sys.argv[4]), return_info=True)
print(json.dumps({"value": float(value), "seconds": time.process_time() - start,
                  "error": float(info["error"]["absolute_error"])}))
"""


def spectra() -> dict[str, torch.Tensor]:
    k = torch.arange(1, SIZE + 1, dtype=torch.float64)
    ones = torch.ones(SIZE // 2, dtype=torch.float64)
    return {
        "uniform on [0.1, 1]": torch.linspace(0.1, 1, SIZE, dtype=torch.float64),
        "geometric, condition 1e4": 10.0 ** (-4 * (k - 1) / (SIZE - 1)),
        "geometric, condition 1e8": 10.0 ** (-8 * (k - 1) / (SIZE - 1)),
        "k^-2": k**-2.0,
        "half 1, half 1e-8": torch.cat([ones, 1e-8 * ones]),
    }


def problem(name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    values = spectra()[name]
    generator = torch.Generator().manual_seed(0)
    vectors = torch.linalg.qr(torch.randn(SIZE, SIZE, dtype=torch.float64, generator=generator))[0]
    matrix = (vectors * values) @ vectors.T
    return (matrix + matrix.T) / 2, values, vectors


def brackets(runs: int, steps: int) -> None:
    print("| spectrum | lower bound | runs | with a bracket | probes that miss | means that miss | width |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for name in spectra():
        matrix, values, vectors = problem(name)
        for given in (0.9 * float(values.min()), None):
            missed = means = bracketed = probes = 0
            width = 0.0
            for seed in range(runs):
                sampler = slq.Sampler(seed)
                found = slq.log_determinant(
                    slq.dense(matrix, smallest=given), sampler, slq.Effort(steps=steps)
                )
                exact = SIZE * ((sampler.unit(range(16), SIZE) @ vectors) ** 2 * values.log()).sum(dim=1)
                inside = [low <= x <= high for (low, high), x in zip(found.samples, exact, strict=True)]
                missed += len(inside) - sum(inside)
                probes += len(inside)
                means += not found.bracket[0] <= float(exact.mean()) <= found.bracket[1]
                if math.isfinite(found.bracket[0]):
                    bracketed += 1
                    width += found.bracket[1] - found.bracket[0]
            shown = f"{width / bracketed:.2g} nat" if bracketed else "one-sided"
            source = "given" if given else "found"
            print(
                f"| {name} | {source} | {runs} | {bracketed} | {missed} of {probes} | {means} | {shown} |",
                flush=True,
            )


def coverage(runs: int, steps: int) -> None:
    functions = {"log-determinant": integrands.LOG, "trace of the inverse": integrands.INVERSE}
    print("| spectrum | function | steps | narrow | bracket/standard error | covered at 95% | at 80% |")
    print("|---|---|---:|---:|---:|---:|---:|")
    ratio_of_quantiles = float(stdtrit(15, 0.9) / stdtrit(15, 0.975))
    for name in spectra():
        matrix, values, _ = problem(name)
        for label, f in functions.items():
            truth = float(f.value(values).sum())
            covered, narrow, ratio, used = [0, 0], 0, 0.0, 0
            for seed in range(runs):
                found = slq.trace(
                    slq.dense(matrix, smallest=0.9 * float(values.min())),
                    f,
                    slq.Sampler(seed),
                    slq.Effort(steps=steps),
                )
                for k, share in enumerate((1.0, ratio_of_quantiles)):
                    low, high = (
                        b - share * (b - i) for b, i in zip(found.bracket, found.interval, strict=True)
                    )
                    covered[k] += low <= truth <= high
                narrow += found.narrow
                ratio += (found.bracket[1] - found.bracket[0]) / found.standard_error / runs
                used = max(used, found.steps)
            print(
                f"| {name} | {label} | {used} | {narrow} of {runs} | {ratio:.2g} "
                f"| {covered[0] / runs:.1%} | {covered[1] / runs:.1%} |",
                flush=True,
            )


PEER_GRAM = """
import sys, json, numpy
from imate import logdet
A = numpy.load(sys.argv[1])
value, info = logdet(A, gram=True, method="slq", lanczos_degree=100, min_num_samples=20, max_num_samples=20,
                     orthogonalize=-1, num_threads=1, seed=1, return_info=True)
print(json.dumps([float(value), float(info["error"]["absolute_error"])]))
"""


def rectangular(python: str) -> None:
    print("| shape of W | exact log det | ours: interval, 95% | bracket | imate, gram=True |")
    print("|---|---:|---:|---:|---:|")
    for rows, cols in ((1000, 400), (400, 1000), (400, 400)):
        generator = torch.Generator().manual_seed(0)
        W = torch.randn(rows, cols, dtype=torch.float64, generator=generator)
        truth = 2 * float(torch.linalg.svdvals(W).log().sum())
        found = slq.log_determinant(slq.gram(W), slq.Sampler(0), slq.Effort(probes=20, steps=400))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "matrix.npy"
            np.save(path, W.numpy())
            command = [python, "-c", PEER_GRAM, str(path)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
                value, error = json.loads(done.stdout)
                said = f"{value:.2f} ± {error:.2f}"
            except subprocess.TimeoutExpired:
                said = "no answer in 60 s"
            except subprocess.CalledProcessError as problem:
                said = f"exit code {problem.returncode}"
        print(
            f"| {rows} x {cols} | {truth:.2f} | {found.interval[0]:.2f}, {found.interval[1]:.2f} "
            f"| {found.bracket[0]:.2f}, {found.bracket[1]:.2f} | {said} |",
            flush=True,
        )


def matern(size: int, length: float, nugget: float, seed: int = 0) -> torch.Tensor:
    points = torch.rand(size, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    r = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist") * math.sqrt(3) / length
    return (1 + r) * torch.exp(-r) + nugget * torch.eye(size, dtype=torch.float64)


def peer(python: str, sizes: list[int], repeats: int) -> None:
    print("| n | length, nugget | method | probes, steps | error, nat/dim (rms) | CPU s | imate/ours |")
    print("|---:|---|---|---|---:|---:|---:|")
    for size in sizes:
        for length, nugget in ((0.1, 1e-3), (0.04, 0.0)):
            matrix = matern(size, length, nugget)
            truth = 2 * float(torch.linalg.cholesky(matrix).diagonal().log().sum())
            label = f"{length:g}, {nugget:g}"
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "matrix.npy"
                np.save(path, matrix.numpy())
                runs = []
                for seed in range(repeats):
                    command = [python, "-c", PEER, str(path), "100", "20", str(seed + 1)]
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                    runs.append(json.loads(done.stdout))
            theirs = float(np.mean([run["seconds"] for run in runs]))
            rms = float(np.sqrt(np.mean([((run["value"] - truth) / size) ** 2 for run in runs])))
            stated = float(np.mean([run["error"] for run in runs])) / size
            print(
                f"| {size} | {label} | imate (states ±{stated:.2g}) | 20, 100 | {rms:.2g} | {theirs:.2f} | |",
                flush=True,
            )
            plain = slq.dense(matrix, smallest=nugget or None)
            for probes, steps in ((20, 100), (20, 50)):
                effort = slq.Effort(probes=probes, steps=steps)
                _ours(
                    "plain",
                    size,
                    label,
                    truth,
                    theirs,
                    repeats,
                    lambda seed, effort=effort, plain=plain: slq.log_determinant(
                        plain, slq.Sampler(seed), effort
                    ),
                )
            if nugget:
                _ours(
                    "Nyström of rank n/8, from products alone",
                    size,
                    label,
                    truth,
                    theirs,
                    repeats,
                    lambda seed, plain=plain, nugget=nugget, size=size: eased(plain, nugget, size // 8, seed),
                )
            _ours(
                "float32 Cholesky",
                size,
                label,
                truth,
                theirs,
                repeats,
                lambda seed, plain=plain, matrix=matrix: preconditioned_log_determinant(
                    plain, low_precision_cholesky(matrix), slq.Sampler(seed), slq.Effort(probes=8)
                ),
            )


def eased(plain: slq.Symmetric, nugget: float, rank: int, seed: int) -> slq.TraceEstimate:
    low = nystrom(lambda X: plain.matmul(X) - nugget * X, plain.size, rank, seed)
    return preconditioned_log_determinant(
        plain,
        from_eigenvectors(low.vectors, low.eigenvalues, nugget),
        slq.Sampler(seed),
        slq.Effort(probes=8),
    )


def _ours(name, size, label, truth, theirs, repeats, run) -> None:  # type: ignore[no-untyped-def]
    errors, seconds, covered = [], [], 0
    for seed in range(repeats):
        start = time.process_time()
        found = run(seed)
        seconds.append(time.process_time() - start)
        errors.append((found.value - truth) / size)
        covered += found.interval[0] <= truth <= found.interval[1]
    rms, cost = float(np.sqrt(np.mean(np.square(errors)))), float(np.mean(seconds))
    print(
        f"| {size} | {label} | ours, {name} (covers {covered} of {repeats}) | {found.probes}, {found.steps} "
        f"| {rms:.2g} | {cost:.2f} | {theirs / cost:.1f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["brackets", "coverage", "gram", "peer"])
    parser.add_argument("--runs", type=int, default=None)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2048, 4096])
    parser.add_argument("--peer-python")
    given = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n", file=sys.stderr)
    if given.part == "brackets":
        brackets(given.runs or 40, given.steps or 40)
    elif given.part == "coverage":
        coverage(given.runs or 400, given.steps or SIZE)
    elif given.peer_python is None:
        parser.error("--peer-python is needed")
    elif given.part == "gram":
        rectangular(given.peer_python)
    else:
        peer(given.peer_python, given.sizes, given.runs or 3)


if __name__ == "__main__":
    main()
