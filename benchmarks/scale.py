"""Cost and memory against size, beside the physical limit and WeightWatcher 0.7.7, in one run.

    python benchmarks/scale.py --peer-python PEER/bin/python --quick     (at most 5 minutes)
    python benchmarks/scale.py --peer-python PEER/bin/python             (about 15 minutes)
    python benchmarks/scale.py --case llama7b [--quick]

Every measurement is a process of its own with one BLAS thread, in CPU seconds after the imports, and the peak
of its resident memory. ``PEER`` has ``weightwatcher==0.7.7``; it runs where it is expected to take less than
a minute. The cases:

``size``: one layer of n x n (float32, noise plus a product of two Gaussian factors of rank n/32). The limit
is the arithmetic of the algorithm, n³ for the Gram matrix and 4/3 n³ for its reduction to tridiagonal form,
over the measured rate of float64 products.
``layers``: 1 to 1000 layers of 64 x 64. The limit is the same arithmetic.
``values``: fits of tails and of a power law to samples of 1e2 to 1e6 values, beside WeightWatcher's fit of a
power law. The limit is the time to read the values.
``header``: ``inspect`` of a safetensors file of 1e2 to 1e5 tensors, beside the library safetensors, which
lists names and shapes. The limit is the time to read the header.
``llama7b``: a model of the shapes of Llama-2-7B in bfloat16, each matrix noise plus a product of two Gaussian
factors, with the preset ``default``. An eighth of its depth (4 of 32 layers) is written in shards into a
temporary folder and scanned on two CPUs, then embeddings and head; with ``--quick`` one matrix of each shape
is scanned on one. Both are extrapolated to the whole depth, and stand beside the estimate of ``scan``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scan import OURS, PEER, measure

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

TAILS = """
import json, sys, time
import numpy as np, torch, rmtaudit
import rmtaudit.engine.samples.tails, rmtaudit.kernels.tails.bootstrap, rmtaudit.kernels.tails.near_zero
values = np.load(sys.argv[1])
rmtaudit.tails(values[:200])
started = time.process_time()
rmtaudit.tails(values)
print(json.dumps({"analysis": time.process_time() - started}))
"""

POWER_LAW = """
import json, sys, time
import numpy as np, torch
from rmtaudit.kernels.powerlaw.fit import fit_power_law
values = torch.from_numpy(np.load(sys.argv[1]))
fit_power_law(values[:100])
started = time.process_time()
fit_power_law(values)
print(json.dumps({"analysis": time.process_time() - started}))
"""

PEER_POWER_LAW = """
import json, sys, time
import numpy as np
from weightwatcher.WW_powerlaw import WWFit
values = np.load(sys.argv[1])
started = time.process_time()
WWFit(values)
print(json.dumps({"analysis": time.process_time() - started}))
"""

INSPECT = """
import contextlib, io, json, sys, time
from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
import rmtaudit.checkpoints.safetensors, rmtaudit.engine.inspect.document, rich.console
started = time.process_time()
with contextlib.redirect_stdout(io.StringIO()):
    run(cli, ["inspect", sys.argv[1]])
print(json.dumps({"analysis": time.process_time() - started}))
"""

LIBRARY = """
import json, sys, time
from safetensors import safe_open
started = time.process_time()
with safe_open(sys.argv[1], "np") as file:
    shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}
print(json.dumps({"analysis": time.process_time() - started}))
"""

LLAMA = {
    "self_attn.q_proj": (4096, 4096),
    "self_attn.k_proj": (4096, 4096),
    "self_attn.v_proj": (4096, 4096),
    "self_attn.o_proj": (4096, 4096),
    "mlp.gate_proj": (11008, 4096),
    "mlp.up_proj": (11008, 4096),
    "mlp.down_proj": (4096, 11008),
}
EMBEDDINGS = {"model.embed_tokens.weight": (32000, 4096), "lm_head.weight": (32000, 4096)}
DEPTH, WRITTEN = 32, 4

Row = tuple[str, ...]


def table(title: str, heads: Row, rows: list[Row]) -> None:
    print(f"\n{title}\n\n| {' | '.join(heads)} |\n|{'---:|' * len(heads)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def apart(function: Callable[..., None], *args: object) -> None:
    """Call a function in a process of its own: the memory of a parent counts to that of its children."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=args)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{function.__name__} failed")


def rates(folder: str) -> None:
    """Write the rate of float64 products and the bandwidth of one thread, measured here, into a file."""
    import numpy as np

    matrix = np.random.default_rng(0).standard_normal((1024, 1024))
    block = np.ones(1 << 25)
    product = copy = float("inf")
    for _ in range(4):
        started = time.process_time()
        matrix @ matrix
        product = min(product, time.process_time() - started)
        started = time.process_time()
        block.copy()
        copy = min(copy, time.process_time() - started)
    numbers = {"flops": 2 * 1024**3 / product, "bytes": 2 * block.nbytes / copy}
    Path(folder, "rates.json").write_text(json.dumps(numbers))


def write_matrices(path: str, shapes: dict[str, tuple[int, int]], dtype: str, seed: int) -> None:
    """Write noise plus products of two Gaussian factors, of rank a 32nd of the smaller side."""
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, (n, p) in shapes.items():
        rank = max(min(n, p) // 32, 1)
        left = torch.randn(n, rank, generator=generator)
        weight = torch.randn(n, p, generator=generator) / min(n, p) ** 0.5
        weight.addmm_(left, torch.randn(rank, p, generator=generator), alpha=1 / min(n, p))
        state[name] = weight.to(getattr(torch, dtype))
        del weight
    save_file(state, path)


def write_tensors(path: str, count: int) -> None:
    import torch
    from safetensors.torch import save_file

    block = torch.randn(count, 8, 8)
    save_file({f"model.layers.{i}.mlp.weight": block[i].clone() for i in range(count)}, path)


def write_values(path: str, count: int) -> None:
    import numpy as np

    np.save(path, 1 + np.random.default_rng(0).pareto(2.0, count))


def ours(path: str, preset: str, threads: int = 1) -> list[str]:
    return [sys.executable, "-c", OURS, path, json.dumps({"preset": preset, "threads": threads})]


def seconds(command: list[str]) -> str:
    return f"{measure(command).analysis:.3g}"


def size(folder: str, options: argparse.Namespace, flops: float) -> None:
    rows = []
    for n in (256, 512, 1024, 2048) if options.quick else (256, 512, 1024, 2048, 4096, 8192):
        path = f"{folder}/{n}.safetensors"
        apart(write_matrices, path, {"layer.weight": (n, n)}, "float32", n)
        fast, default = measure(ours(path, "fast")), measure(ours(path, "default"))
        limit = 7 / 3 * n**3 / flops
        peer = measure([options.peer_python, "-c", PEER, path, "{}"]) if n <= 4096 else None
        theirs = ("-", "-") if peer is None else (f"{peer.analysis:.3g}", f"{peer.rss:.0f}")
        numbers = (limit, fast.analysis, default.analysis)
        rows.append((str(n), *(f"{each:.3g}" for each in numbers), f"{default.rss:.0f}", *theirs))
        Path(path).unlink()
    heads = ("n", "limit, s", "`fast`, s", "`default`, s", "`default`, MB", "WeightWatcher, s", "MB")
    table("One layer of n x n, float32", heads, rows)


def layers(folder: str, options: argparse.Namespace, flops: float) -> None:
    rows = []
    for count in (1, 10, 100) if options.quick else (1, 10, 100, 1000):
        path = f"{folder}/layers.safetensors"
        apart(write_matrices, path, {f"layers.{i}.weight": (64, 64) for i in range(count)}, "float32", 1)
        fast, default = measure(ours(path, "fast")), measure(ours(path, "default"))
        peer = measure([options.peer_python, "-c", PEER, path, "{}"])
        numbers = (count * 7 / 3 * 64**3 / flops, fast.analysis, default.analysis, peer.analysis)
        limit, *others = (f"{each:.3g}" for each in numbers)
        rows.append((str(count), limit, *others[:2], f"{default.rss:.0f}", others[2], f"{peer.rss:.0f}"))
    heads = ("layers", "limit, s", "`fast`, s", "`default`, s", "`default`, MB", "WeightWatcher, s", "MB")
    table("Layers of 64 x 64, float32", heads, rows)


def values(folder: str, options: argparse.Namespace, bandwidth: float) -> None:
    rows = []
    for exponent in (2, 3, 4, 5) if options.quick else (2, 3, 4, 5, 6):
        path = f"{folder}/values.npy"
        apart(write_values, path, 10**exponent)
        peer = [options.peer_python, "-c", PEER_POWER_LAW, path]
        rows.append(
            (
                f"1e{exponent}",
                f"{8 * 10**exponent / bandwidth:.2g}",
                seconds([sys.executable, "-c", TAILS, path]),
                seconds([sys.executable, "-c", POWER_LAW, path]),
                seconds(peer) if exponent <= 4 else "-",
            )
        )
    heads = ("values", "limit, s", "`tails`, s", "power law, s", "WeightWatcher's fit, s")
    table("Fits of tails and of a power law", heads, rows)


def header(folder: str, options: argparse.Namespace, bandwidth: float) -> None:
    rows = []
    for exponent in (2, 3, 4) if options.quick else (2, 3, 4, 5):
        path = f"{folder}/header.safetensors"
        apart(write_tensors, path, 10**exponent)
        with Path(path).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        run = measure([sys.executable, "-c", INSPECT, path])
        library = seconds([sys.executable, "-c", LIBRARY, path])
        limit = f"{length / bandwidth:.2g}"
        rows.append((f"1e{exponent}", limit, f"{run.analysis:.3g}", f"{run.rss:.0f}", library))
    heads = ("tensors", "limit, s", "`inspect`, s", "MB", "safetensors, s")
    table("Tensors in a header", heads, rows)


def llama7b(folder: str, options: argparse.Namespace) -> None:
    """Print the minutes that the preset ``default`` takes on two CPUs, extrapolated to the whole depth."""
    (least, most) = estimated()
    print(f"\nestimate of scan, whole model on two CPUs: {least / 60:.1f} to {most / 60:.1f} minutes")
    shapes = {**dict.fromkeys(((4096, 4096), (11008, 4096), (4096, 11008), (32000, 4096)))}
    if options.quick:
        total = 0.0
        for shape in shapes:
            path = f"{folder}/layer.safetensors"
            apart(write_matrices, path, {"layer.weight": shape}, "bfloat16", 1)
            run = measure(ours(path, "default"))
            number = DEPTH * list(LLAMA.values()).count(shape) or len(EMBEDDINGS)
            total += number * run.analysis
            print(f"  {shape[0]} x {shape[1]}: {run.analysis:.1f} CPU s, {number} of them", flush=True)
        print(f"whole model, two CPUs: {total / 2 / 60:.1f} minutes ({total:.0f} CPU s)")
        return
    parts: dict[str, list[dict[str, tuple[int, int]]]] = {
        "layers": [
            {f"model.layers.{i}.{name}.weight": shape for name, shape in LLAMA.items()}
            for i in range(WRITTEN)
        ],
        "embeddings": [{name: shape} for name, shape in EMBEDDINGS.items()],
    }
    spent = {}
    for part, shards in parts.items():
        target = Path(folder, part)
        target.mkdir()
        index = {}
        for number, shard in enumerate(shards, 1):
            name = f"model-{number:05}-of-{len(shards):05}.safetensors"
            apart(write_matrices, str(target / name), shard, "bfloat16", number)
            index |= dict.fromkeys(shard, name)
        (target / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
        started = time.perf_counter()
        run = measure(ours(str(target), "default", threads=2))
        spent[part] = (run.analysis, time.perf_counter() - started)
        print(f"  {part}: {run.layers} matrices, {spent[part][1]:.0f} s on the clock,", end=" ")
        print(f"{run.analysis:.0f} CPU s, {run.rss:.0f} MB", flush=True)
        for file in target.iterdir():
            file.unlink()
    cpu, clock = (DEPTH / WRITTEN * spent["layers"][i] + spent["embeddings"][i] for i in (0, 1))
    print(f"whole model, two CPUs: {clock / 60:.1f} minutes on the clock, {cpu / 2 / 60:.1f} by CPU seconds")


def estimated() -> tuple[float, float]:
    """Return the seconds on two CPUs that ``scan`` would announce for the whole model."""
    from rmtaudit.engine.resources.threads import one_thread_each
    from rmtaudit.engine.scan.cost import COSTS, Matrices, estimated_range, measured_rates

    shapes = [*LLAMA.values()] * DEPTH + [*EMBEDDINGS.values()]
    with one_thread_each():
        rates_here = measured_rates()
    matrices = [Matrices(shape, 1, narrow=True) for shape in shapes]
    return estimated_range(matrices, COSTS["default"], 2, rates_here)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peer-python", default=sys.executable, help="an interpreter with weightwatcher 0.7.7"
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes, at most 5 minutes in all")
    cases = ("size", "layers", "values", "header", "llama7b")
    parser.add_argument("--case", action="append", choices=cases, help="default: all but llama7b")
    options = parser.parse_args()
    os.environ |= ONE_THREAD
    chosen = options.case or cases[:-1]
    with tempfile.TemporaryDirectory() as folder:
        apart(rates, folder)
        measured = json.loads(Path(folder, "rates.json").read_text())
        flops, bandwidth = measured["flops"], measured["bytes"]
        print(f"{platform.machine()}, one thread: {flops / 1e9:.1f} GFlop/s in float64,", end=" ")
        print(f"{bandwidth / 1e9:.1f} GB/s of memory")
        for case, run, limit in (
            ("size", size, flops),
            ("layers", layers, flops),
            ("values", values, bandwidth),
            ("header", header, bandwidth),
        ):
            if case in chosen:
                run(folder, options, limit)
        if "llama7b" in chosen:
            llama7b(folder, options)


if __name__ == "__main__":
    main()
