"""What a scan takes by the shapes of its layers: refits the constants of ``rmtaudit.engine.scan.cost``.

    OMP_NUM_THREADS=1 python benchmarks/scan_cost.py fit [--preset fast …]
    OMP_NUM_THREADS=1 python benchmarks/scan_cost.py check MODEL… [--preset default …]

``fit`` scans layers of several shapes: noise plus a product of Gaussian factors, whose noise models a block
rejects, and noise with scales of columns, whose noise model is accepted after every test; in float32 and,
where float32 serves the spectrum, in bfloat16. It prints the constants of
``fixed + entries * n p + products * 2 n p² / R + eigenvalues * p³ / E`` (non-negative least squares of the
relative errors; ``R`` and ``E`` are measured before and after each scan). The constants of a preset are those
of ``fast`` and what it takes beyond. It takes two minutes a preset.

``check`` compares the estimate with what scans take, of models and of layers other than those fitted: the
names ``signal4096``, ``noise4096``, ``signal4096-bf16``, ``noise4096-bf16``, ``mpnet`` (shapes alone) and
``llama`` (one layer of each shape of Llama-2-7B, bfloat16) stand for those. CPU seconds of one thread, which
other work on the machine changes least; imports are not counted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from operator import itemgetter

import numpy as np
import torch
from scipy.optimize import nnls

import rmtaudit
from rmtaudit.analyzers.registry import build_all
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.memory import StateDictCheckpoint
from rmtaudit.engine.resources.threads import one_thread_each
from rmtaudit.engine.scan.cost import (
    COSTS,
    Cost,
    Matrices,
    PresetCost,
    Rates,
    estimated_range,
    measured_rates,
)
from rmtaudit.engine.scan.spectra import narrow_expected
from rmtaudit.engine.scan.worker import LayerWork
from rmtaudit.engine.settings.presets import preset_settings
from rmtaudit.matrices.plan import plan_layers

Shapes = tuple[tuple[int, int, int], ...]

WIDE: Shapes = (
    (64, 64, 6), (384, 384, 3), (1536, 384, 3), (16384, 384, 1), (768, 768, 2), (3072, 768, 1),
    (1024, 1024, 1), (4096, 1024, 1), (2048, 2048, 1), (3072, 3072, 1), (4096, 4096, 1),
)  # fmt: skip
NARROW: Shapes = (
    (2048, 1024, 1),
    (8192, 1024, 1),
    (2048, 2048, 1),
    (8192, 2048, 1),
    (4096, 4096, 1),
    (3072, 3072, 1),
)
"""Rows, columns and number of the layers that are fitted, by the precision of their spectrum."""

REPEATS = 2
NOTHING = Cost(0.0, 0.0, 0.0, 0.0)
LLAMA = ((4096, 4096), (11008, 4096), (32000, 4096))


def with_signal(n: int, p: int, generator: torch.Generator) -> torch.Tensor:
    """Return noise plus a product of two Gaussian factors of rank a 32nd of the smaller side, ``n x p``."""
    return noise_and_product(n, p, max(min(n, p) // 32, 1), 1.0, generator)


def noise_and_product(n: int, p: int, rank: int, strength: float, generator: torch.Generator) -> torch.Tensor:
    short = min(n, p)
    weight = torch.randn(n, p, generator=generator) / short**0.5
    left = torch.randn(n, rank, generator=generator)
    return weight.addmm_(left, torch.randn(rank, p, generator=generator), alpha=strength / short)


def noise_alone(n: int, p: int, generator: torch.Generator) -> torch.Tensor:
    """Return noise with a scale of each column."""
    return torch.randn(n, p, generator=generator) * (torch.randn(p, generator=generator) * 0.3).exp() * 0.02


def structured(n: int, p: int, generator: torch.Generator) -> torch.Tensor:
    """Return noise plus a product of two Gaussian factors of rank a quarter of the smaller side."""
    return noise_and_product(n, p, max(min(n, p) // 4, 1), 2.0, generator)


KINDS = {"signal": structured, "noise": noise_alone}


def fit(preset: str, fast: PresetCost) -> PresetCost:
    """Print the cost of each shape, and the constants that fit them; presets do all that ``fast`` does."""
    generator = torch.Generator().manual_seed(0)
    costs = {}
    for kind, make in KINDS.items():
        if preset == "fast" and kind == "noise":
            costs |= {"noise": costs["signal"], "narrow_noise": costs["narrow_signal"]}
            continue  # nothing is judged
        base, narrow_base = (NOTHING, NOTHING) if preset == "fast" else (fast.signal, fast.narrow_signal)
        wide = fitted(preset, make, WIDE, torch.float32, generator, base=base)
        narrow_base = replace(narrow_base, fixed=wide.fixed, entries=wide.entries)
        narrow = fitted(preset, make, NARROW, torch.bfloat16, generator, base=narrow_base)
        costs |= {kind: wide, f"narrow_{kind}": narrow}
    print(
        f"{preset}:", *(f"{kind}={literal(cost)}," for kind, cost in costs.items()), sep="\n    ", flush=True
    )
    return PresetCost(**costs)


def fitted(
    preset: str,
    make: Callable[[int, int, torch.Generator], torch.Tensor],
    shapes: Shapes,
    dtype: torch.dtype,
    generator: torch.Generator,
    *,
    base: Cost,
) -> Cost:
    """Return ``base`` and what layers of these shapes take beyond it; of bfloat16 the last two constants."""
    rows, seconds = [], []
    for n, p, count in shapes:
        weights = {f"l{index}.weight": make(n, p, generator).to(dtype) for index in range(count)}
        took, rates = min((cost_of(weights, preset) for _ in range(REPEATS)), key=itemgetter(0))
        speed = rates.float64 if dtype == torch.float32 else rates.float32
        rows.append([1.0, n * p, 2 * n * p * p / speed.products, p**3 / speed.eigenvalues])
        seconds.append(took / count)
    units, measured = np.array(rows), np.array(seconds)
    constants = np.array([base.fixed, base.entries, base.products, base.eigenvalues])
    free = slice(0, 4) if dtype == torch.float32 else slice(2, 4)
    solved, _ = nnls(units[:, free] / measured[:, None], 1 - units @ constants / measured)
    constants[free] += solved
    for (n, p, _), took, unit in zip(shapes, measured, units, strict=True):
        ratio = unit @ constants / took
        print(f"  {preset} {dtype} {n:5} x {p:<5} {took:7.3f} s, fitted {ratio:.2f}", flush=True)
    return Cost(*(float(each) for each in constants))


def cost_of(target: dict[str, torch.Tensor] | str, preset: str) -> tuple[float, Rates]:
    """Return the CPU seconds of a scan, and the rates during it."""
    with one_thread_each():
        before = measured_rates()
        started = time.process_time()
        rmtaudit.scan(target, preset=preset, threads=1)
        seconds = time.process_time() - started
        return seconds, max((before, measured_rates()), key=lambda rates: rates.float64.products)


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
    took, rates = cost_of(target, preset)
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
    fast = COSTS["fast"]
    for preset in options.preset:
        if options.what == "fit":
            costs = fit(preset, fast)
            fast = costs if preset == "fast" else fast
            continue
        for model in options.models:
            check(model, preset)


if __name__ == "__main__":
    main()
