"""Exact log-determinants out of core: seconds, memory and agreement beside detkit's memdet, in one run.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 python benchmarks/logdet.py peer \
        --peer-python PEER/bin/python --order 8192 --memory 34MB --repeat 3
    python benchmarks/logdet.py kill --order 8192 --memory 8.4MB
    python benchmarks/logdet.py mixed --order 4096
    python benchmarks/logdet.py rounding

``PEER`` is an environment with ``detkit==0.12.3``. The matrix is a Matern 1.5 kernel (length 0.1, nugget
1e-3) of uniform points in the unit square, in an ``.npy`` file. Each measurement is a process of its own, the
two tools in turn. Memory is the growth of anonymous resident pages (``RssAnon``) over what the process had
after its imports and a small computation; the page cache, which both tools use for their files, is not in it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

LENGTH, NUGGET = 0.1, 1e-3

WATCH = """
import json, os, sys, tempfile, threading, time
import numpy as np

def anonymous():
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("RssAnon"))

def measured(work):
    base, peak, over = anonymous(), [0], threading.Event()
    def watch():
        while not over.wait(0.005):
            peak[0] = max(peak[0], anonymous() - base)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    wall, cpu = time.perf_counter(), time.process_time()
    value, more = work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    over.set()
    watcher.join()
    print(json.dumps({"value": value, "cpu": cpu, "wall": wall, "anonymous": peak[0], **more}))

path, folder = sys.argv[1:3]
memory, blocks, threads = (int(word) for word in sys.argv[3:6])
small = np.eye(700) + 0.001
"""

OURS = (
    WATCH
    + """
import torch
from pathlib import Path
from rmtaudit.engine.logdet.exact import Resources, exact_logdet
from rmtaudit.engine.sources import open_source
from rmtaudit.matrices.sources import TensorSource

exact_logdet(TensorSource(torch.from_numpy(small), symmetric=True),
             Resources(memory=3_000_000, threads=threads, scratch=Path(folder) / "warm"))

def work():
    source = open_source(path)
    outcome = exact_logdet(
        source, Resources(memory=memory, threads=threads, scratch=Path(folder) / "scratch"))
    counts = outcome.work
    return outcome.logdet, {"planned": counts["planned_memory_bytes"], "read": counts["scratch_bytes_read"],
                            "written": counts["scratch_bytes_written"], "tiles": counts["tiles"],
                            "bound": outcome.evidence["rounding"]["bound"]}

measured(work)
"""
)

PEER = (
    WATCH
    + """
import detkit

detkit.memdet(small, assume="spd", num_blocks=4, scratch_dir=folder)

def work():
    matrix = np.load(path, mmap_mode="r")
    found = detkit.memdet(matrix, assume="spd", num_blocks=blocks, scratch_dir=folder)
    return float(found[0] if isinstance(found, tuple) else found), {}

measured(work)
"""
)

IN_CORE = (
    WATCH
    + """
import math, scipy.linalg

def work():
    matrix = np.load(path).T
    factor = scipy.linalg.cholesky(matrix, lower=True, overwrite_a=True, check_finite=False)
    return 2 * math.fsum(np.log(factor.diagonal())), {}

measured(work)
"""
)


RESUMED = """
import sys, time
from pathlib import Path
import numpy as np
from rmtaudit.engine.logdet.exact import Resources, exact_logdet
from rmtaudit.engine.sources import open_source

path, folder, memory, out = sys.argv[1:5]
source = open_source(path)
print("ready", flush=True)
start = time.perf_counter()
outcome = exact_logdet(source, Resources(memory=int(memory), scratch=Path(folder), resume=True,
                                         progress=lambda done, total: print(done, flush=True)))
np.save(out, outcome.minors.numpy())
work = outcome.work
print("end", work["tiles_resumed"], work["tiles_damaged"], time.perf_counter() - start, flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    peer = commands.add_parser("peer")
    peer.add_argument("--peer-python", required=True)
    peer.add_argument("--order", type=int, default=8192)
    peer.add_argument("--memory", default="34MB")
    peer.add_argument("--threads", type=int, default=1)
    peer.add_argument("--repeat", type=int, default=3)
    peer.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    kill = commands.add_parser("kill")
    kill.add_argument("--order", type=int, default=8192)
    kill.add_argument("--memory", default="8.4MB")
    kill.add_argument("--times", type=int, default=10)
    kill.add_argument("--seed", type=int, default=0)
    kill.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    mixed = commands.add_parser("mixed")
    mixed.add_argument("--order", type=int, default=4096)
    mixed.add_argument("--repeat", type=int, default=3)
    commands.add_parser("rounding")
    chosen = parser.parse_args()
    if chosen.command == "peer":
        beside_the_peer(chosen)
    elif chosen.command == "kill":
        killed(chosen)
    elif chosen.command == "rounding":
        rounding()
    else:
        mixed_precision(chosen.order, chosen.repeat)


def beside_the_peer(chosen: argparse.Namespace) -> None:
    from rmtaudit.engine.resources.memory_size import parse_memory

    memory, n = parse_memory(chosen.memory), chosen.order
    blocks = blocks_of(n, memory)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        path = Path(folder) / "matrix.npy"
        write_matern(path, n)
        (exact,) = [_run(sys.executable, IN_CORE, path, 0, 0, chosen.threads, folder)]
        runs: dict[str, list[dict[str, Any]]] = {"ours": [], "peer": []}
        for _ in range(chosen.repeat):
            runs["ours"].append(_run(sys.executable, OURS, path, memory, blocks, chosen.threads, folder))
            runs["peer"].append(_run(chosen.peer_python, PEER, path, memory, blocks, chosen.threads, folder))
    load = ", ".join(f"{part:.1f}" for part in os.getloadavg())
    print(
        f"n = {n}, {memory / 1e6:g} MB (memdet: {blocks} x {blocks} blocks), "
        f"threads {chosen.threads}; load {load}"
    )
    print()
    print("| | run | CPU s | wall s | anonymous peak, MB | peak / request | from in-core Cholesky |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, label in (("ours", "rmtaudit"), ("peer", "memdet")):
        for number, run in enumerate(runs[name], 1):
            error = abs(run["value"] - exact["value"]) / abs(exact["value"])
            print(
                f"| {label} | {number} | {run['cpu']:.2f} | {run['wall']:.2f} | "
                f"{run['anonymous'] / 1e6:.1f} | {run['anonymous'] / memory:.2f} | {error:.1e} |"
            )
    print(f"| in core, SciPy | 1 | {exact['cpu']:.2f} | {exact['wall']:.2f} | | | |")
    print()
    for key in ("cpu", "wall"):
        ratios = [a[key] / b[key] for a, b in zip(runs["ours"], runs["peer"], strict=True)]
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{key}, ratio to memdet in pairs of runs: {each}; median {statistics.median(ratios):.2f}")
    ours = runs["ours"][0]
    print(
        f"planned {ours['planned'] / 1e6:.1f} MB, scratch read {ours['read'] / 1e6:,.0f} MB, "
        f"written {ours['written'] / 1e6:,.0f} MB, {ours['tiles']} tiles, "
        f"rounding at most {ours['bound']:.1e} nats"
    )


def killed(chosen: argparse.Namespace) -> None:
    from rmtaudit.engine.logdet.tiling import tiling_for
    from rmtaudit.engine.resources.memory_size import parse_memory

    memory, n, chance = parse_memory(chosen.memory), chosen.order, random.Random(chosen.seed)
    tiles = tiling_for(n, memory).tiles
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        path, scratch = Path(folder) / "matrix.npy", Path(folder) / "scratch"
        write_matern(path, n)
        whole, again = Path(folder) / "whole.npy", Path(folder) / "again.npy"
        first = subprocess.run(
            _resumed(path, scratch, memory, whole), check=True, capture_output=True, text=True
        )
        seconds = float(first.stdout.split()[-1])
        print(f"n = {n}, {memory / 1e6:g} MB, {tiles} tiles, undisturbed {seconds:.1f} s wall")
        print()
        print("| kill | after, s | finished before | finished at the kill | finished tiles done again |")
        print("|---:|---:|---:|---:|---:|")
        before = 0
        for number in range(1, chosen.times + 1):
            after = chance.uniform(0, 2 * seconds / chosen.times)
            with subprocess.Popen(
                _resumed(path, scratch, memory, again), stdout=subprocess.PIPE, text=True
            ) as child:
                assert child.stdout is not None
                child.stdout.readline()
                time.sleep(after)
                child.kill()
                told = [int(line) for line in child.stdout.read().splitlines() if line.isdigit()]
            journal = scratch / "journal"
            kept = len(journal.read_bytes().splitlines()) if journal.exists() else 0
            redone = sum(tile <= before for tile in told)
            print(f"| {number} | {after:.2f} | {before} | {kept} | {redone} |", flush=True)
            if again.exists():
                break
            before = kept
        last = subprocess.run(
            _resumed(path, scratch, memory, again), check=True, capture_output=True, text=True
        )
        resumed, damaged = last.stdout.split()[-3:-1]
        same = np.load(whole).tobytes() == np.load(again).tobytes()
        print()
        print(f"the last run took over {resumed} tiles, {damaged} of them damaged; ", end="")
        print(f"bits of all {n} minors: {'the same' if same else 'DIFFERENT'}")


def _resumed(path: Path, scratch: Path, memory: int, out: Path) -> list[str]:
    return [sys.executable, "-c", RESUMED, str(path), str(scratch), str(memory), str(out)]


def mixed_precision(n: int, repeat: int) -> None:
    import torch

    from rmtaudit.engine.logdet.estimated import by_mixed
    from rmtaudit.engine.logdet.exact import Resources, exact_logdet
    from rmtaudit.engine.logdet.settings import LogdetSettings
    from rmtaudit.engine.logdet.target import facts_of
    from rmtaudit.engine.logdet.tiling import mixed_bytes
    from rmtaudit.kernels.covariance import matern_into
    from rmtaudit.matrices.sources import TensorSource

    print(
        "| nugget | seed | exact, CPU s | mixed, CPU s | off, nats/dim | standard error, nats/dim | within |"
    )
    print("|---:|---:|---:|---:|---:|---:|---|")
    points = torch.from_numpy(np.random.default_rng(0).random((n, 2)))
    kernel = torch.empty(n, n, dtype=torch.float64)
    matern_into(points, points, kernel, nu=1.5, length=LENGTH)
    for nugget in (1e-3, 1e-6, 1e-8):
        matrix = kernel.clone()
        matrix.diagonal().add_(nugget)
        source = TensorSource(matrix, symmetric=True)
        start = time.process_time()
        exact = exact_logdet(source, Resources(memory=10**11))
        seconds = time.process_time() - start
        assert exact.logdet is not None
        for seed in range(repeat):
            start = time.process_time()
            estimate = by_mixed(facts_of(source), LogdetSettings(seed=seed), memory=mixed_bytes(n))
            spent = time.process_time() - start
            assert estimate.logdet is not None
            assert estimate.margin is not None
            within = "yes" if estimate.margin.low <= exact.logdet <= estimate.margin.high else "no"
            error = abs(estimate.logdet - exact.logdet) / n
            print(
                f"| {nugget:g} | {seed} | {seconds:.2f} | {spent:.2f} | "
                f"{error:.1e} | {estimate.evidence['standard_error'] / n:.1e} | {within} |",
                flush=True,
            )


def rounding() -> None:
    import torch

    from rmtaudit.engine.logdet.exact import Resources, exact_logdet
    from rmtaudit.engine.logdet.settings import Method
    from rmtaudit.matrices.sources import TensorSource

    print("| method | n | condition | error / `likely` | error / `bound` |")
    print("|---|---:|---:|---:|---:|")
    for n in (60, 300):
        for condition in (1e2, 1e6, 1e9, 1e11):
            worst: dict[str, list[tuple[float, float]]] = {}
            for seed in range(8):
                generator = torch.Generator().manual_seed(seed)
                normal = torch.randn(n, n, generator=generator, dtype=torch.float64)
                Q = torch.linalg.qr(normal)[0]
                values = condition ** -torch.linspace(0, 1, n, dtype=torch.float64)
                signs = torch.randn(n, generator=generator, dtype=torch.float64).sign()
                for method, spectrum in (
                    (Method.CHOLESKY, values),
                    (Method.LDLT, values * signs),
                    (Method.LU, values * signs),
                ):
                    A = (Q * spectrum) @ Q.T
                    A = (A + A.T) / 2
                    resources = Resources(memory=10**9)
                    outcome = exact_logdet(TensorSource(A, symmetric=True), resources, method=method)
                    assert outcome.logdet is not None
                    error = abs(float(extended(A.numpy()) - np.longdouble(outcome.logdet)))
                    bounds = outcome.evidence["rounding"]
                    ratios = error / bounds["likely"], error / bounds["bound"]
                    worst.setdefault(method, []).append(ratios)
            for name, ratios_of in worst.items():
                likely, bound = (max(pair[k] for pair in ratios_of) for k in range(2))
                print(f"| {name} | {n} | {condition:.0e} | {likely:.1g} | {bound:.1g} |", flush=True)


def extended(matrix: np.ndarray) -> np.longdouble:
    """Return ``log |det|`` by LU in extended precision."""
    A = matrix.astype(np.longdouble)
    total = np.longdouble(0)
    for k in range(len(A)):
        pivot = k + int(np.argmax(abs(A[k:, k])))
        A[[k, pivot]] = A[[pivot, k]]
        total += np.log(abs(A[k, k]))
        A[k + 1 :, k + 1 :] -= np.outer(A[k + 1 :, k] / A[k, k], A[k, k + 1 :])
    return total


def blocks_of(n: int, memory: int) -> int:
    """Blocks a side of memdet: four blocks of its float64 in that memory."""
    return math.ceil(2 * n * math.sqrt(8 / memory))


def write_matern(path: Path, n: int) -> None:
    import torch

    from rmtaudit.kernels.covariance import matern_into

    points = torch.from_numpy(np.random.default_rng(0).random((n, 2)))
    out = np.lib.format.open_memmap(path, mode="w+", dtype="f8", shape=(n, n))
    for start in range(0, n, 512):
        stop = min(n, start + 512)
        block = torch.empty(stop - start, n, dtype=torch.float64)
        matern_into(points[start:stop], points, block, nu=1.5, length=LENGTH)
        block[torch.arange(stop - start), torch.arange(start, stop)] += NUGGET
        out[start:stop] = block.numpy()
    out.flush()


def _run(
    python: str, code: str, path: Path, memory: int, blocks: int, threads: int, folder: str
) -> dict[str, Any]:
    count = str(threads)
    environment = dict(os.environ, OMP_NUM_THREADS=count, OPENBLAS_NUM_THREADS=count, MKL_NUM_THREADS=count)
    command = [python, "-c", code, str(path), folder, str(memory), str(blocks), count]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
