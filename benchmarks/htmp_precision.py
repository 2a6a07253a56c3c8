"""kappa of layers stored in low precision: the estimate of ``htmp`` beside one that ignores the precision.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/htmp_precision.py [--draws 20] [--seed 2026]

Each spectrum is a draw of the beta-Laguerre ensemble; the matrix has random singular vectors, rounded to
the dtype. "ignored" takes all singular values of the rounded matrix (float64 SVD) at face value.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace

import numpy as np
import torch

from rmtaudit.analyzers.contract import layer_input
from rmtaudit.analyzers.htmp import HTMPFit, HTMPOptions
from rmtaudit.kernels.htmp.ensemble import Ensemble
from rmtaudit.kernels.htmp.estimate import fit_joint
from rmtaudit.kernels.spectra.eigenvalues import singular_values
from rmtaudit.matrices.tensors import UNIT_ROUNDOFF

ROWS = (
    (0.3, 512, 512, "float32"),
    (0.3, 256, 256, "float32"),
    (0.3, 256, 384, "float32"),
    (1.0, 256, 256, "float16"),
    (3.0, 256, 256, "float32"),
    (3.0, 256, 320, "bfloat16"),
    (10.0, 128, 128, "bfloat16"),
    (30.0, 300, 300, "float32"),
    (256.0, 256, 256, "float16"),
)


def directions(rows: int, cols: int, generator: torch.Generator) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(rows, cols, generator=generator, dtype=torch.float64)).Q


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seed", type=int, default=2026)
    given = parser.parse_args()
    torch.set_num_threads(1)
    generator, started = torch.Generator().manual_seed(given.seed), time.process_time()
    analyzer = HTMPFit(HTMPOptions(compare=False))
    print(
        "| kappa, shape, dtype | ignored: median | htmp: median | bias / spread of log kappa | in the 95 % ",
        end="",
    )
    print("interval | censored, median | rejected at 0.01 |\n|---|---:|---:|---|---:|---:|---:|")
    for kappa, size, longer, name in ROWS:
        ignored, found, inside, censored, rejected = [], [], 0, [], 0
        for _ in range(given.draws):
            values = torch.from_numpy(Ensemble(kappa, size, longer).draw(generator))
            left, right = (directions(side, size, generator) for side in (size, longer))
            matrix = ((left * values.sqrt()) @ right.T).to(getattr(torch, name)).float()
            ignored.append(fit_joint(singular_values(matrix).eigenvalues, size, longer).kappa)
            layer = replace(layer_input(matrix), epsilon=UNIT_ROUNDOFF[name])
            answer = analyzer.analyze(layer)
            estimate, method = answer["kappa_full"], str(answer["kappa_method"].value)
            found.append(estimate.value)
            inside += estimate.ci[0] <= kappa <= estimate.ci[1]
            digits = [int(word) for word in method.split() if word.isdigit()]
            censored.append(digits[0] if digits else 0)
            rejected += answer["htmp_p_value"].value < 0.01
        logs = np.log(found) - math.log(kappa)
        print(
            f"| {kappa:g}, {size} x {longer}, {name} | {np.median(ignored):.3g} | {np.median(found):.3g} "
            f"| {logs.mean():+.3f}/{logs.std(ddof=1):.3f} | {inside} of {given.draws} "
            f"| {np.median(censored):.0f} | {rejected} |",
            flush=True,
        )
    print(f"\n{time.process_time() - started:.0f} CPU seconds")


if __name__ == "__main__":
    main()
