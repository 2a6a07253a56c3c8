"""Does a GPU give the numbers of the CPU, how fast is it, and which solver of eigenvalues is fastest there?

    python benchmarks/gpu.py
    python benchmarks/gpu.py --device cpu --small

The first needs a GPU and is made for less than six minutes on one; the second is a trial run of the script
itself, without one. It ends with 1 if a result of the two devices differs by more than its tolerance.
Seconds are of the wall clock, after the device has finished, the best of three.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

import rmtaudit
from rmtaudit.analyzers.registry import build_all
from rmtaudit.engine.samples.ridge import RidgeSettings, forecast_ridge_arrays
from rmtaudit.engine.scan.worker import LayerWork, analyse_layer
from rmtaudit.engine.settings.presets import preset_settings
from rmtaudit.kernels import flodance, operators
from rmtaudit.kernels.determinants import tile_algebra
from rmtaudit.kernels.determinants.triangular import gram_log_determinant
from rmtaudit.kernels.difference.diagnosis import diagnose
from rmtaudit.kernels.difference.distortion import distortion
from rmtaudit.kernels.free.decompression import decompress_spectrum
from rmtaudit.kernels.powerlaw.fit import PowerLawFit, fit_power_law
from rmtaudit.kernels.slq import distribution, estimate, samplers
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import TensorSpec

Numbers = Mapping[str, float]
_REPEATS = 3
_TOLERANCE = 1e-4
"""Relative: noise of float32 layers is tested in float32. Log-determinants and traces are held to 1e-9."""
_TIGHT, _TIGHT_TOLERANCE = ("log-determinant", "tiles", "FLODANCE"), 1e-9


def main() -> None:
    """Compare every computation, then every solver, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes for a trial run")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("This machine has no CUDA device. --device cpu --small tries the script.")
    name = torch.cuda.get_device_name() if options.device == "cuda" else "the CPU"
    print(f"torch {torch.__version__}, {name}, {torch.get_num_threads()} CPU threads\n")
    agree = compare_commands(options.device, 96 if options.small else 2048)
    solvers(options.device, (64, 128) if options.small else (256, 1024, 4096, 8192))
    sys.exit(0 if agree else 1)


def compare_commands(device: str, size: int) -> bool:
    """Print each computation's seconds on both devices and the largest difference; return if all agree."""
    print("| what | size | CPU s | device s | ratio | largest relative difference | |")
    print("|---|---:|---:|---:|---:|---:|---|")
    agree = True
    for name, make in COMPUTATIONS.items():
        here, there = make(size, "cpu"), make(size, device)
        expected, computed = here(), there()
        difference = largest_difference(expected, computed)
        fine = difference <= (_TIGHT_TOLERANCE if name.startswith(_TIGHT) else _TOLERANCE)
        agree &= fine
        first, second = seconds(here, "cpu"), seconds(there, device)
        print(
            f"| {name} | {size} | {first:.3g} | {second:.3g} | {first / second:.3g} | {difference:.1e} "
            f"| {'' if fine else 'differs'} |",
            flush=True,
        )
    print()
    return agree


def solvers(device: str, sizes: tuple[int, ...]) -> None:
    """Print the seconds of every route to the eigenvalues of a symmetric matrix."""
    print("| eigenvalues | dtype | library | matrices | order | s a matrix |")
    print("|---|---|---|---:|---:|---:|")
    for size in sizes:
        for count in (1, 16) if size <= 1024 else (1,):
            for dtype in (torch.float64, torch.float32):
                X = _normal(size, 2 * size, seed=size).to(device, dtype)
                A = (X @ X.T / (2 * size)).expand(count, size, size).contiguous()
                for library in ("cusolver", "magma") if device == "cuda" else ("default",):
                    with preferred(library) as there:
                        if not there:
                            continue
                        took = seconds(lambda A=A: torch.linalg.eigvalsh(A), device) / count
                    kind = "batched" if count > 1 else "single"
                    print(
                        f"| {kind} | {str(dtype).removeprefix('torch.')} | {library} | {count} | {size} "
                        f"| {took:.3g} |",
                        flush=True,
                    )


@contextmanager
def preferred(library: str) -> Iterator[bool]:
    """Have torch solve with a library of CUDA; yields whether it can."""
    if library == "default":
        yield True
        return
    before = torch.backends.cuda.preferred_linalg_library()
    try:
        torch.backends.cuda.preferred_linalg_library(library)
    except RuntimeError as error:
        print(f"<!-- {library}: {error} -->")
        yield False
        return
    try:
        yield True
    finally:
        torch.backends.cuda.preferred_linalg_library(before)


def seconds(work: Callable[[], object], device: str) -> float:
    """Return the least seconds of a few runs, each until the device has finished."""
    taken = []
    for _ in range(_REPEATS):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return min(taken)


def largest_difference(expected: Numbers, computed: Numbers) -> float:
    """Return the largest relative difference of two sets of numbers; infinite where one has others."""
    if expected.keys() != computed.keys():
        return math.inf
    pairs = [(expected[key], computed[key]) for key in expected]
    return max((abs(a - b) / max(abs(a), 1e-9) for a, b in pairs), default=math.inf)


def _normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _weight(size: int, seed: int = 0) -> torch.Tensor:
    """Return noise and a product of two Gaussian factors, float32, like a trained layer."""
    signal = _normal(size, 8, seed=seed + 1) @ _normal(8, size, seed=seed + 2)
    return (0.02 * _normal(size, size, seed=seed) + 0.01 * signal).float()


def _covariance(size: int) -> torch.Tensor:
    X = _normal(size, 2 * size)
    A = X @ X.T / (2 * size)
    return (A + A.T) / 2  # a product need not be symmetric to the last bit


def _scan(preset: str) -> Callable[[int, str], Callable[[], Numbers]]:
    def make(size: int, device: str) -> Callable[[], Numbers]:
        W = _weight(size)
        settings = preset_settings(preset).settings
        plan = plan_layers([TensorSpec(name="layer.weight", shape=(size, size), dtype="float32")])
        work = LayerWork(
            analyzers=build_all(settings.analyzers, settings.options),
            solver=settings.solver,
            device=torch.device(device),
            seed=0,
            precision="float64",
        )

        def run() -> Numbers:
            metrics = analyse_layer(plan.layers[0], (W,), work).row.metrics
            return {
                name: float(metric.value)
                for name, metric in metrics.items()
                if isinstance(metric.value, int | float)
            }

        return run

    return make


def _compare(size: int, device: str) -> Callable[[], Numbers]:
    base = _weight(size)
    candidate = (base + 0.02 * (_normal(size, 2, seed=7) @ _normal(2, size, seed=8)).float()).to(device)
    base = base.to(device)

    def run() -> Numbers:
        found = diagnose(base, candidate, generator=torch.Generator().manual_seed(0))
        numbers = {} if found.moments is None else {"relative": found.moments.relative_norm or 0.0}
        return {**numbers, str(found.kind): 1.0, "kept": distortion(base, candidate).kept}

    return run


def _gram_determinant(size: int, device: str) -> Callable[[], Numbers]:
    W = _normal(2 * size, size).to(device)
    return lambda: {"value": gram_log_determinant(W).logdet}


def _tiles(size: int, device: str) -> Callable[[], Numbers]:
    A = _covariance(size).to(device)
    half = size // 2

    def run() -> Numbers:
        top, side, rest = A[:half, :half].clone(), A[half:, :half].clone(), A[half:, half:].clone()
        tile_algebra.cholesky(top)
        tile_algebra.solve_right(top.tril(), side)
        tile_algebra.subtract_gram(rest, side)
        tile_algebra.cholesky(rest)
        return {"value": sum(2 * float(each.diagonal().log().sum()) for each in (top, rest))}

    return run


def _minors(size: int, device: str) -> Callable[[], Numbers]:
    A = _covariance(size).to(device)

    def run() -> Numbers:
        ends = [size // 4, size // 2, size]
        parts = list(flodance.grow_minors(lambda start, stop: A[start:stop, :stop], ends))
        return {str(end): float(part[-1]) for end, part in zip(ends, parts, strict=True)}

    return run


def _quadrature(size: int, device: str) -> Callable[[], Numbers]:
    operator = operators.dense(_covariance(size).to(device), smallest=1e-3)
    effort = estimate.Effort(probes=8, steps=40)
    return lambda: {
        "value": estimate.log_determinant(operator, samplers.Sampler(0), effort).value,
    }


def _density(size: int, device: str) -> Callable[[], Numbers]:
    operator = operators.dense(_covariance(size).to(device), smallest=1e-3)

    def run() -> Numbers:
        points = distribution.distribution(operator, 0, steps=30, probes=8).points
        return {str(index): float(value) for index, value in enumerate(points[:: max(1, len(points) // 8)])}

    return run


def _decompression(size: int, device: str) -> Callable[[], Numbers]:
    values = torch.linalg.eigvalsh(_covariance(min(size, 512))).to(device)

    def run() -> Numbers:
        prediction = decompress_spectrum(values, 2.0, generator=torch.Generator().manual_seed(0), replicas=0)
        return {str(index): float(value) for index, value in enumerate(prediction.quantiles(9))}

    return run


def _tails(size: int, device: str) -> Callable[[], Numbers]:
    uniform = torch.rand(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = ((1 - uniform) ** (-1 / 1.5)).to(device)

    def run() -> Numbers:
        law = fit_power_law(values)
        return {"alpha": law.alpha, "xmin": law.xmin} if isinstance(law, PowerLawFit) else {}

    return run


def _command(
    call: Callable[[int, str], Callable[[], Numbers]],
) -> Callable[[int, str], Callable[[], Numbers]]:
    """Return a command that is given a device by name, as ``--device`` gives it."""
    return lambda size, device: call(size, torch.device(device).type)


def _logdet_command(**settings: Any) -> Callable[[int, str], Callable[[], Numbers]]:
    def make(size: int, device: str) -> Callable[[], Numbers]:
        A = _covariance(size)

        def run() -> Numbers:
            answer = rmtaudit.logdet(A, device=device, **settings)
            return {} if answer.logdet is None else {"value": answer.logdet}

        return run

    return _command(make)


def _density_command(**settings: Any) -> Callable[[int, str], Callable[[], Numbers]]:
    def make(size: int, device: str) -> Callable[[], Numbers]:
        A = _covariance(size)

        def run() -> Numbers:
            values = rmtaudit.density(A, device=device, **settings).quantiles()
            return {str(index): float(value) for index, value in enumerate(values[:: max(1, size // 8)])}

        return run

    return _command(make)


def _compare_command(size: int, device: str) -> Callable[[], Numbers]:
    base = _weight(size)
    change = 0.02 * (_normal(size, 2, seed=7) @ _normal(2, size, seed=8)).float()

    def run() -> Numbers:
        one, other = {"layer.weight": base}, {"layer.weight": base + change}
        row = rmtaudit.compare(one, other, device=device).layers[0]
        if row.diagnosis is None or row.change is None:
            return {}
        return {row.diagnosis.kind: 1.0, "relative": row.change.relative_frobenius}

    return run


def _forecast_ridge_command(size: int, device: str) -> Callable[[], Numbers]:
    x = _normal(max(size, 96), 16)
    arrays = {"x": x, "y": torch.relu(x[:, 0])}

    def run() -> Numbers:
        settings = RidgeSettings(points=3, draws=2, device=device)
        best = forecast_ridge_arrays(arrays, settings)["best"]
        return {"train": best["train"], "test": best["test"]["value"]}

    return run


COMPUTATIONS: Mapping[str, Callable[[int, str], Callable[[], Numbers]]] = {
    "scan, preset fast": _scan("fast"),
    "scan, preset default": _scan("default"),
    "scan, preset audit": _scan("audit"),
    "compare: diagnosis and distortion": _compare,
    "log-determinant of a Gram matrix": _gram_determinant,
    "tiles of a Cholesky factor (logdet)": _tiles,
    "FLODANCE increments (logdet, forecast)": _minors,
    "quadrature: log-determinant (SLQ)": _quadrature,
    "density by quadrature": _density,
    "free decompression (density)": _decompression,
    "power law of a tail (tails)": _tails,
    "rmtaudit logdet, Cholesky": _logdet_command(method="cholesky"),
    "rmtaudit logdet, quadrature": _logdet_command(method="slq", probes=8, steps=40),
    "rmtaudit logdet, eigenvalues": _logdet_command(method="eigenvalues", pseudo=True),
    "rmtaudit density, eigenvalues": _density_command(method="eigenvalues"),
    "rmtaudit density, products": _density_command(method="products", steps=30, probes=8),
    "rmtaudit compare": _command(_compare_command),
    "rmtaudit forecast ridge": _command(_forecast_ridge_command),
}


if __name__ == "__main__":
    main()
