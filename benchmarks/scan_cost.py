"""What a scan takes by the shapes of its layers: refits the constants of ``rmtaudit.engine.scan.cost``.

    OMP_NUM_THREADS=1 python benchmarks/scan_cost.py fit [--preset fast …]
    OMP_NUM_THREADS=1 python benchmarks/scan_cost.py check MODEL… [--preset default …]

``fit`` scans layers of several shapes: with signal (noise plus a product of two Gaussian factors) and without
(noise with scales of columns, whose noise model is accepted after every test), in float32 and, where float32
serves the spectrum, in bfloat16. It prints the constants of ``fixed + entries * n p + products * 2 n p² / R
+ eigenvalues * p³ / E`` (non-negative least squares of the relative errors; ``R`` and ``E`` are measured
before and after each scan). All presets take three to four minutes.

``check`` compares the estimate with what scans take, of models and of layers that were not fitted: the names
``signal4096``, ``noise4096``, ``signal4096-bf16``, ``noise4096-bf16``, ``mpnet`` (shapes alone) and ``llama``
(one layer of each shape of Llama-2-7B, bfloat16) stand for those. CPU seconds of one thread, which other work
on the machine changes least; imports are not counted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from scipy.optimize import nnls

import rmtaudit
from rmtaudit.analyzers.registry import build_all
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.memory import StateDictCheckpoint
from rmtaudit.engine.resources.threads import one_thread_each
from rmtaudit.engine.scan.cost import COSTS, Cost, Matrices, Rates, estimated_range, measured_rates
from rmtaudit.engine.scan.spectra import narrow_expected
from rmtaudit.engine.scan.worker import LayerWork
from rmtaudit.engine.settings.presets import preset_settings
from rmtaudit.matrices.plan import plan_layers

Shapes = tuple[tuple[int, int, int], ...]

WIDE: Shapes = (
    (64, 64, 6), (384, 384, 3), (1536, 384, 3), (16384, 384, 1), (768, 768, 2), (3072, 768, 1), 
    (1024, 1024, 1), (4096, 1024, 1), (2048, 2048, 1), (3072, 3072, 1),
)  # fmt: skip
NARROW: Shapes = ((2048, 1024, 1), (8192, 1024, 1), (2048, 2048, 1), (3072, 3072, 1))
"""Rows, columns and number of the layers that are fitted, by the precision of their spectrum."""

LLAMA = ((4096, 4096), (11008, 4096), (32000, 4096))


def with_signal(n: int, p: int, generator: torch.Generator) -> torch.Tensor:
    """Return noise plus a product of two Gaussian factors of rank a 32nd of the smaller side, ``n x p``."""
    short = min(n, p)
    rank = max(short // 32, 1)
    weight = torch.randn(n, p, generator=generator) / short**0.5
    left = torch.randn(n, rank, generator=generator)
    return weight.addmm_(left, torch.randn(rank, p, generator=generator), alpha=1 / short)


def noise_alone(n: int, p: int, generator: torch.Generator) -> torch.Tensor:
    """Return noise with a scale of each column."""
    return torch.randn(n, p, generator=generator) * (torch.randn(p, generator=generator) * 0.3).exp() * 0.02


KINDS = {"least": with_signal, "most": noise_alone}


@contextmanager
def clock() -> Iterator[list[tuple[float, Rates]]]:
    """Yield a list that gets the CPU seconds, and the rates during them."""
    spent: list[tuple[float, Rates]] = []
    with one_thread_each():
        before = measured_rates()
        cpu = time.process_time()
        yield spent
        seconds = time.process_time() - cpu
        after = measured_rates()
        spent.append((seconds, max((before, after), key=lambda rates: rates.float64.products)))


def fit(preset: str) -> None:
    """Print the cost of each shape, and the constants that fit them."""
    lines = []
    generator = torch.Generator().manual_seed(0)
    for kind, make in KINDS.items():
        if preset == "fast" and kind == "most":
            continue  # nothing is judged
        wide = fitted(preset, make, WIDE, torch.float32, generator, known=None)
        narrow = fitted(preset, make, NARROW, torch.bfloat16, generator, known=wide)
        lines += [f"{kind}={literal(wide)},", f"narrow_{kind}={literal(narrow)},"]
    print(f"{preset}:", *lines, sep="\n    ", flush=True)


def fitted(
    preset: str,
    make: Callable[[int, int, torch.Generator], torch.Tensor],
    shapes: Shapes,
    dtype: torch.dtype,
    generator: torch.Generator,
    *,
    known: Cost | None,
) -> Cost:
    """Return the constants for layers of these shapes; fixed costs and those of entries are ``known``."""
    rows, seconds = [], []
    for n, p, count in shapes:
        weights = {f"l{index}.weight": make(n, p, generator).to(dtype) for index in range(count)}
        with clock() as spent:
            rmtaudit.scan(weights, preset=preset, threads=1)
        took, rates = spent[0]
        speed = rates.float64 if known is None else rates.float32
        rows.append([1.0, n * p, 2 * n * p * p / speed.products, p**3 / speed.eigenvalues])
        seconds.append(took / count)
    units, measured = np.array(rows), np.array(seconds)
    rest = measured.copy()
    if known is not None:
        rest -= units[:, :2] @ [known.fixed, known.entries]
    free = units if known is None else units[:, 2:]
    solved, _ = nnls(free / measured[:, None], rest / measured)
    constants = solved if known is None else np.array([known.fixed, known.entries, *solved])
    for (n, p, _), took, unit in zip(shapes, measured, units, strict=True):
        print(
            f"  {preset} {dtype} {n:5} x {p:<5} {took:7.3f} s, fitted {unit @ constants / took:.2f}",
            flush=True,
        )
    return Cost(*(float(each) for each in constants))


def literal(cost: Cost) -> str:
    return f"Cost({cost.fixed:.2g}, {cost.entries:.2g}, {cost.products:.3g}, {cost.eigenvalues:.3g})"


def check(subject: str, preset: str) -> None:
    """Print the estimate for a model next to what its scan takes."""
    weights = made(subject)
    target = subject if weights is None else weights
    with open_checkpoint(subject) if weights is None else StateDictCheckpoint(weights) as checkpoint:
        plan = plan_layers(checkpoint.tensors, conv="flattened", config=checkpoint.config)
    settings = preset_settings(preset).settings
    work = LayerWork(
        analyzers=build_all(settings.analyzers, settings.options),
        solver=settings.solver,
        precision=settings.precision,
        device=torch.device("cpu"),
        seed=0,
    )
    layers = [Matrices(each.shape, each.matrices, narrow_expected(each, work)) for each in plan.layers]
    with clock() as spent:
        rmtaudit.scan(target, preset=preset, threads=1)
    took, rates = spent[0]
    least, most = estimated_range(layers, COSTS[preset], 1, rates)
    print(
        f"{subject}, {preset}: estimated {least:.1f} to {most:.1f} CPU s, measured {took:.1f}; "
        f"estimated / measured {least / took:.2f} to {most / took:.2f}",
        flush=True,
    )


def made(subject: str) -> dict[str, torch.Tensor] | None:
    """Return the layers that a name stands for."""
    generator = torch.Generator().manual_seed(1)
    dtype = torch.bfloat16 if subject.endswith("-bf16") else torch.float32
    match subject.removesuffix("-bf16"):
        case "signal4096":
            return {"layer.weight": with_signal(4096, 4096, generator).to(dtype)}
        case "noise4096":
            return {"layer.weight": noise_alone(4096, 4096, generator).to(dtype)}
        case "mpnet":
            shapes = [(768, 768)] * 4 + [(3072, 768)] + [(768, 3072)]
            return {f"{i}.weight": with_signal(*shape, generator) for i, shape in enumerate(shapes)}
        case "llama":
            weights = [with_signal(*shape, generator).bfloat16() for shape in LLAMA]
            return {f"{i}.weight": weight for i, weight in enumerate(weights)}
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("fit", "check"))
    parser.add_argument("models", nargs="*")
    parser.add_argument("--preset", nargs="+", default=list(COSTS))
    options = parser.parse_args()
    for preset in options.preset:  # imports
        rmtaudit.scan({"a.weight": torch.eye(64) + torch.ones(64, 64)}, preset=preset, threads=1)
    for preset in options.preset:
        if options.what == "fit":
            fit(preset)
            continue
        for model in options.models:
            check(model, preset)


if __name__ == "__main__":
    main()
