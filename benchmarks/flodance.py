"""Error and coverage of extrapolated log-determinants, beside detkit's FitLogdet.

    python benchmarks/flodance.py --peer-python PEER/bin/python [--seeds 5] [--part NAME ...]

``PEER`` is an environment with detkit 0.12.3. Errors are in nats per dimension, predicted less exact. Exact
values come from Cholesky factors of the whole matrix. FitLogdet gives no interval, so it has no coverage; its
burn-in and order must be set by hand, so several settings of the literature are shown.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from rmtaudit.kernels.flodance import (
    Extrapolation,
    MinorSeries,
    Status,
    extrapolate,
    extrapolate_until,
    ordering_average,
)

NTK = Path(__file__).resolve().parents[2] / "shared" / "data" / "ntk_resnet50_cifar10" / "index.csv"
KERNELS = {  # name: dimension of the points, length scale, nugget; all Matern 3/2
    "R², length 0.04": (2, 0.04, 0.0),
    "R², length 0.1, nugget 1e-3": (2, 0.1, 1e-3),
    "R⁴, length 0.2": (4, 0.2, 0.0),
}
SIZE = 4096
PEER_SETTINGS = ((2, 0), (102, 0), (102, 1), (341, 1), (102, 2))  # burn-in, number of corrections
PEER = """
import json, sys
import numpy as np
from detkit import FitLogdet
for line in sys.stdin:
    sizes, logdets, size, settings = json.loads(line)
    x, y, out = np.array(sizes, float), np.array(logdets), []
    for first, order in settings:
        fit = FitLogdet(m=order, n=0, alpha=0.0)
        try:
            fit.fit(x[x >= first], y[x >= first])
            out.append(float(fit.eval(np.array([float(size)]))[0]))
        except (ValueError, np.linalg.LinAlgError):
            out.append(None)
    print(json.dumps(out), flush=True)
"""

Peer = Callable[[MinorSeries, int, tuple[tuple[int, int], ...]], list[float | None]]


def points(name: str, seed: int) -> torch.Tensor:
    dimension, _, _ = KERNELS[name]
    return torch.from_numpy(np.random.default_rng(seed).random((SIZE, dimension)))


def matern(name: str, at: torch.Tensor) -> torch.Tensor:
    _, length, nugget = KERNELS[name]
    distance = torch.cdist(at, at, compute_mode="donot_use_mm_for_euclid_dist") * (math.sqrt(3) / length)
    kernel = (1 + distance).mul_(torch.exp(-distance))
    kernel.diagonal().add_(nugget)
    return kernel


def minors(name: str, seed: int) -> torch.Tensor:
    return 2 * torch.linalg.cholesky(matern(name, points(name, seed))).diagonal().log().cumsum(0)


def ntk(stem: str, outputs: int) -> tuple[list[int], list[float], list[float], list[float]]:
    with NTK.open() as file:
        rows = [row for row in csv.DictReader(file) if row["file"].startswith(stem)]
    rows.sort(key=lambda row: int(row["matrix_size"]))
    sizes = [int(row["matrix_size"]) // outputs for row in rows]
    columns = ([float(row[key]) for row in rows] for key in ("logdet", "min_eigenvalue", "max_eigenvalue"))
    return (sizes, *columns)


def part_ntk(peer: Peer, _: int) -> None:
    print("\n### Neural tangent kernel of ResNet-50 on CIFAR-10, from n ≤ 2048 to n = 4096\n")
    print("| series | extremes given | status | error | half-width | FitLogdet q = 0 | q = 1 | flags |")
    print("|---|---|---|---:|---:|---:|---:|---|")
    for label, stem, outputs in (
        ("9 outputs", "cifar_resnet50_fp64_l9_p", 9),
        ("10", "cifar_resnet50_fp64_p", 10),
    ):
        sizes, logdets, least, most = ntk(stem, outputs)
        keep = sizes.index(2048) + 1
        truth = logdets[sizes.index(4096)]
        for extremes in (True, False):
            bounds = {"smallest": least[keep - 1], "largest": most[keep - 1]} if extremes else {}
            series = MinorSeries.of(sizes[:keep], logdets[:keep], outputs=outputs, **bounds)
            said = extrapolate(series, 4096)
            theirs = [
                "-" if value is None else f"{(value - truth) / 4096 / outputs:+.4f}"
                for value in peer(series, 4096, ((1, 0), (1, 1)))
            ]
            flags = ", ".join(flag.name for flag in said.flags) or "-"
            print(
                f"| {label} | {'yes' if extremes else 'no'} | {said.status.name} | {error(said, truth)} "
                f"| {width(said)} | {' | '.join(theirs)} | {flags} |"
            )


def part_matern(peer: Peer, seeds: int) -> None:
    print(f"\n### Matern kernels, every minor up to 1024, {seeds} seeds each: predict n = {SIZE}\n")
    names = " | ".join(f"FitLogdet ({first}, {order})" for first, order in PEER_SETTINGS)
    print(f"| kernel | covered | refused | error, rms | half-width, median | CPU s | {names} |")
    print("|---|---:|---:|---:|---:|---:|" + "---:|" * len(PEER_SETTINGS))
    for name in KERNELS:
        errors, widths, covered, refused, seconds = [], [], 0, 0, 0.0
        theirs: list[list[float]] = [[] for _ in PEER_SETTINGS]
        for seed in range(seeds):
            exact = minors(name, seed)
            truth = float(exact[-1])
            series = MinorSeries.from_minors(exact[:1024])
            begun = time.process_time()
            said = extrapolate(series, SIZE)
            seconds += time.process_time() - begun
            for line, value in zip(theirs, peer(series, SIZE, PEER_SETTINGS), strict=True):
                line.append(math.nan if value is None else (value - truth) / SIZE)
            if said.status is not Status.PREDICTED:
                refused += 1
                continue
            errors.append((said.logdet - truth) / SIZE)
            widths.append(said.half_width_per_dimension)
            covered += said.low <= truth <= said.high
        print(
            f"| {name} | {covered} of {len(errors)} | {refused} | {rms(errors):.3f} "
            f"| {np.median(widths):.3f} | {seconds / seeds:.2f} | "
            + " | ".join(f"{rms(line):.3f}" for line in theirs)
            + " |",
            flush=True,
        )


def part_anytime(_: Peer, seeds: int) -> None:
    print(f"\n### Anytime mode: stop as soon as n = {SIZE} is known to the tolerance, {seeds} seeds each\n")
    print("| kernel | tolerance | stopped at n, median | share of the work | covered | ended |")
    print("|---|---:|---:|---:|---:|---|")
    for name in KERNELS:
        series = [minors(name, seed) for seed in range(seeds)]
        for tolerance in (0.2, 0.1):
            ends = [extrapolate_until(exact.split(64), SIZE, tolerance) for exact in series]
            covered = sum(
                end.extrapolation.low is not None
                and end.extrapolation.low <= float(exact[-1]) <= end.extrapolation.high
                for end, exact in zip(ends, series, strict=True)
            )
            stops = np.array([end.extrapolation.last_size for end in ends])
            how = ", ".join(f"{count} {stop}" for stop, count in Counter(e.stop.name for e in ends).items())
            print(
                f"| {name} | {tolerance} | {np.median(stops):.0f} | {np.mean((stops / SIZE) ** 3):.2f} "
                f"| {covered} of {seeds} | {how} |",
                flush=True,
            )


def part_orderings(_: Peer, seeds: int) -> None:
    print(f"\n### Averaging over 16 orderings of the 1024 points, {seeds} seeds each\n")
    print("| kernel | averaged | weight of the averaged | covered | error, rms | half-width, median |")
    print("|---|---|---:|---:|---:|---:|")
    for name in KERNELS:
        rows: dict[bool, list[tuple[float, float, float, bool]]] = {False: [], True: []}
        for seed in range(seeds):
            at = points(name, seed)
            exact = minors(name, seed)
            truth = float(exact[-1])
            small = matern(name, at[:1024])
            average = ordering_average(small, orderings=16, generator=torch.Generator().manual_seed(seed))
            for way in (False, True):
                said = extrapolate(
                    MinorSeries.from_minors(exact[:1024]), SIZE, averaged=average if way else None
                )
                if said.logdet is not None:
                    weight = sum(c.weight for c in said.back_test.candidates if c.averaged)
                    inside = said.low <= truth <= said.high
                    found = ((said.logdet - truth) / SIZE, said.half_width_per_dimension, weight, inside)
                    rows[way].append(found)
        for way, found in rows.items():
            errors, widths, weights, inside = zip(*found, strict=True)
            print(
                f"| {name} | {'yes' if way else 'no'} | {np.mean(weights):.2f} "
                f"| {sum(inside)} of {len(found)} | {rms(errors):.3f} | {np.median(widths):.3f} |",
                flush=True,
            )


def part_laws(_: Peer, seeds: int) -> None:
    replicas = 5 * seeds
    print(f"\n### Made series with a known law: 1024 of {SIZE} increments, {replicas} replicas each\n")
    print("| increments | predicted | covered | law changed | back-test failed | half-width, median |")
    print("|---|---:|---:|---:|---:|---:|")
    for label, law in laws():
        generator = np.random.default_rng(0)
        status: Counter[Status] = Counter()
        covered, widths = 0, []
        for _ in range(replicas):
            exact = np.cumsum(law(generator))
            # Made increments have no pivots: the test of the rounding floor does not apply.
            said = extrapolate(MinorSeries.of(np.arange(1, 1025), exact[:1024]), SIZE)
            status[said.status] += 1
            if said.low is not None:
                covered += said.low <= exact[-1] <= said.high
                widths.append(said.half_width_per_dimension)
        middle = f"{np.median(widths):.3f}" if widths else "-"
        print(
            f"| {label} | {status[Status.PREDICTED]} | {covered} | {status[Status.REGIME_CHANGE]} "
            f"| {status[Status.BACK_TEST_FAILED]} | {middle} |",
            flush=True,
        )


def laws() -> Iterator[tuple[str, Callable[[np.random.Generator], np.ndarray]]]:
    n = np.arange(1.0, SIZE + 1)
    power = 1 - 2 * np.log(n)

    def white(g: np.random.Generator) -> np.ndarray:
        return g.standard_normal(SIZE)

    def coloured(g: np.random.Generator) -> np.ndarray:
        noise = white(g)
        for k in range(1, SIZE):
            noise[k] += 0.9 * noise[k - 1]
        return noise

    yield "power law, white noise", lambda g: power + white(g)
    yield "power law, Student's t noise (3 degrees)", lambda g: power + g.standard_t(3, SIZE)
    yield "power law, autoregressive noise (0.9)", lambda g: power + coloured(g)
    yield "power law that meets a nugget", lambda g: np.log(100 / n**2 + 3e-4) + 0.5 * white(g)
    yield "exponent 2 to 10 at n = 870", lambda g: power - 8 * np.log(np.maximum(n / 870, 1)) + white(g)
    yield "exponent 2 to 10 at n = 717", lambda g: power - 8 * np.log(np.maximum(n / 717, 1)) + white(g)
    yield "sine of period 628 points", lambda g: power + np.sin(n / 100) + 0.3 * white(g)
    yield "random walk around a power law", lambda g: power + 0.2 * np.cumsum(white(g))
    yield "constant from n = 1500 on", lambda g: np.maximum(power, 1 - 2 * np.log(1500)) + 0.3 * white(g)


def error(said: Extrapolation, truth: float) -> str:
    return "-" if said.logdet is None else f"{(said.logdet - truth) / said.dimension:+.4f}"


def width(said: Extrapolation) -> str:
    half = said.half_width_per_dimension
    return "-" if half is None else f"{half:.4f}"


def rms(values: list[float] | tuple[float, ...]) -> float:
    return math.sqrt(np.mean(np.square(values))) if values else math.nan


def main() -> None:
    parts = {"ntk": part_ntk, "matern": part_matern, "anytime": part_anytime, "orderings": part_orderings}
    parts["laws"] = part_laws
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", required=True, help="Python of an environment with detkit")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--part", action="append", choices=list(parts))
    options = parser.parse_args()
    torch.set_num_threads(1)
    command = [options.peer_python, "-c", PEER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def peer(series: MinorSeries, size: int, settings: tuple[tuple[int, int], ...]) -> list[float | None]:
            asked = [series.sizes.tolist(), series.logdets.tolist(), size, settings]
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        for name in options.part or parts:
            parts[name](peer, options.seeds)
        process.stdin.close()


if __name__ == "__main__":
    main()
