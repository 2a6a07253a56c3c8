"""Where the edge of real layers lies under random signs, beside the one that the lower bound of spikes takes.

``python benchmarks/spike_bound.py FOLDER ...`` prints, for every layer below the folders with both sides from
32 to 4096: the largest squared entry as a share of the edge, the largest eigenvalue of two draws of random
signs, in widths from the edge, and the bound. The Tracy-Widom law has mean -1.21 and standard deviation 1.27.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path

import torch

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import RmtauditError
from rmtaudit.kernels.noise.sign_flip import flipped_gram
from rmtaudit.kernels.noise.spike_bound import equalised_squares, noise_ceiling
from rmtaudit.kernels.noise.tracy_widom import soft_edge
from rmtaudit.kernels.noise.variance_profile import equalised_gram, sinkhorn
from rmtaudit.kernels.spectra.gram import eigenvalues, tall
from rmtaudit.matrices.plan import plan_layers

LEAST, MOST, DRAWS = 32, 4096, 2


def layers(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        if path.suffix not in (".safetensors", ".pt", ".pth", ".th", ".bin"):
            continue
        try:
            checkpoint = open_checkpoint(path)
        except RmtauditError:
            continue
        with checkpoint:
            for layer in plan_layers(checkpoint.tensors).layers:
                if layer.matrices == 1 and min(layer.shape) >= LEAST and max(layer.shape) <= MOST:
                    (matrix,) = layer.build(tuple(checkpoint.read(name) for name in layer.tensors))
                    if torch.isfinite(matrix).all():
                        yield f"{path.name} {layer.name}", matrix


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--every", type=int, default=1, help="take one layer of so many")
    given = parser.parse_args()
    seen: list[tuple[float, float]] = []
    found = (one for folder in given.folders for one in layers(folder))
    for number, (name, stored) in enumerate(found):
        if number % given.every:
            continue
        matrix = tall(stored.float())
        profile = sinkhorn(matrix)
        n, p = max(profile.support), min(profile.support)
        if p < LEAST:
            continue
        values = eigenvalues(equalised_gram(matrix, profile))
        largest, total = equalised_squares(matrix, profile)
        variance = total / (n * p)
        centre, width = soft_edge(n, p)
        share = largest / variance / centre
        generator = torch.Generator().manual_seed(0)
        tops = [float(eigenvalues(flipped_gram(matrix, profile, generator))[-1]) for _ in range(DRAWS)]
        away = [(top / variance - centre) / width for top in tops]
        seen.extend((share, each) for each in away)
        ceiling = noise_ceiling(matrix, profile, level=0.01, draws=4, generator=generator)
        bound = int((values > ceiling).sum())
        print(f"{name} {n} x {p}: entry {share:.3f}, edge {away[0]:+.1f} {away[1]:+.1f}, at least {bound}")
    print(
        "| largest squared entry over the edge | draws | widths from the edge | mean | standard deviation |"
    )
    print("|---|---:|---|---:|---:|")
    for low, high in ((0.0, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 1e9)):
        these = [away for share, away in seen if low <= share < high]
        if len(these) > 1:
            spread = f"{statistics.mean(these):+.2f} | {statistics.stdev(these):.2f}"
            print(
                f"| {low:g} to {high:g} | {len(these)} | {min(these):+.1f} to {max(these):+.1f} | {spread} |"
            )


if __name__ == "__main__":
    main()
