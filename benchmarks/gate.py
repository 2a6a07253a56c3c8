"""Whether a policy of ``rmtaudit gate --init`` holds, and what a gate costs.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/gate.py --reruns 100 MODEL...
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/gate.py --speed REPORT.json

``--reruns`` makes a policy of each model and gates the unchanged model so many times: each time with another
seed, with 1, 2 or 4 threads in turn, and from another container (as it is, safetensors, PyTorch, NumPy).
What does not pass is counted by its outcome. ``--speed`` gates a saved report in processes of their own, and
prints their CPU seconds (user + system).
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import rmtaudit
from rmtaudit.engine.gate.init import BASELINE, POLICY, write_gate

THREADS = (1, 2, 4)


def containers(model: Path, folder: Path) -> list[Path]:
    """Return the model as it is, and its tensors in other containers."""
    with rmtaudit.open_checkpoint(model) as checkpoint:
        state = {spec.name: checkpoint.read(spec.name).contiguous() for spec in checkpoint.tensors}
    paths = [model, folder / "model.safetensors", folder / "model.pt", folder / "model.npz"]
    save_file({name: tensor.clone() for name, tensor in state.items()}, paths[1])
    torch.save(state, paths[2])
    np.savez(paths[3], **{name: tensor.numpy() for name, tensor in state.items()})
    return paths


def reruns(model: Path, count: int) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_gate(model, folder / "gate", threads=1)
        ways = itertools.cycle(itertools.product(THREADS, containers(model, folder)))
        for seed, (threads, path) in zip(range(1, count + 1), ways, strict=False):
            report = rmtaudit.scan(path, seed=seed, threads=threads)
            result = rmtaudit.gate(
                report, policy=folder / "gate" / POLICY, baseline=folder / "gate" / BASELINE
            )
            outcomes[result.outcome] += 1
            for check in result.subjects[0].checks:
                if check.outcome != "passed":
                    print(f"{path.name}, seed {seed}, {threads} threads: {check.rule}: {check.message}")
    return outcomes


def speed(report: Path, repeats: int) -> list[float]:
    command = [sys.executable, "-m", "rmtaudit", "gate", str(report), "--baseline", str(report), "-q"]
    seconds = []
    for _ in range(repeats):
        before = os.times()
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        after = os.times()
        user, system = (
            after.children_user - before.children_user,
            after.children_system - before.children_system,
        )
        seconds.append(user + system)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--reruns", type=int, default=0)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    for path in arguments.paths:
        if arguments.speed:
            seconds = speed(path, arguments.repeat)
            median, least = statistics.median(seconds), min(seconds)
            print(f"{path.name}: {median:.2f} CPU s (median of {len(seconds)}), least {least:.2f}")
        if arguments.reruns:
            print(f"{path.name}: {dict(reruns(path, arguments.reruns))}", flush=True)


if __name__ == "__main__":
    main()
