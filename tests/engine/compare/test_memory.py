"""The memory of a comparison: that of a scan and one layer more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

SIDE = 2048
LAYER = 8 * SIDE**2
"""Bytes of one layer in float64."""

FIXED = 48 << 20
"""Bytes for what does not grow with the matrices: modules loaded on the way, blocks, subspaces."""

RUN = """
import re, sys
import rmtaudit, rmtaudit.engine.compare.run, rmtaudit.engine.scan.run, rmtaudit.checkpoints.safetensors
import torch, numpy

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])

before = peak()
if len(sys.argv) == 2:
    rmtaudit.scan(sys.argv[1], preset="fast", threads=1)
else:
    rmtaudit.compare(sys.argv[1], sys.argv[2], threads=1)
print(peak() - before)
"""


def _growth(*files: Path) -> int:
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # What is held is measured, not what the allocator keeps of what was freed.
    one |= {"MALLOC_MMAP_THRESHOLD_": str(1 << 20), "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", RUN, *map(str, files)]
    return int(
        subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | one).stdout
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read on Linux")
def test_a_comparison_takes_the_memory_of_a_scan_and_one_layer_more(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(2)
    weight = 0.02 * torch.randn(SIDE, SIDE, generator=generator)
    base, candidate = tmp_path / "base.safetensors", tmp_path / "candidate.safetensors"
    save_file({"q_proj.weight": weight}, base)
    save_file({"q_proj.weight": weight + 0.002 * torch.randn(SIDE, SIDE, generator=generator)}, candidate)

    scan = _growth(base)
    assert scan > LAYER  # the Gram matrix alone: it was measured
    assert _growth(base, candidate) <= scan + LAYER + FIXED
