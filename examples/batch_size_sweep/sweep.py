"""What the spectra of the networks of ``train.py`` say of the batch size: a table and a figure.

OMP_NUM_THREADS=1 python examples/batch_size_sweep/sweep.py runs [--figure docs/images/batch_size_sweep]
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch

import rmtaudit
from rmtaudit.kernels.htmp.estimate import fit_joint
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues

LAYERS = ("0.weight", "2.weight")
SERIES = {"0.weight": ("first layer", "#0072B2", "o"), "2.weight": ("second layer", "#D55E00", "s")}


@dataclass(frozen=True, slots=True)
class Point:
    """One layer of one network."""

    batch_size: int
    seed: int
    layer: str
    accuracy: float
    kappa: float
    kappa_se: float
    size: int
    alpha: float
    alpha_se: float
    phase: str


def measure(folder: Path) -> list[Point]:
    """Return the points of every network in the folder, largest batches first."""
    accuracies = json.loads((folder / "accuracy.json").read_text(encoding="utf-8"))
    points = []
    for name, accuracy in accuracies.items():
        batch_size, seed = map(int, re.findall(r"\d+", name))
        path = folder / f"{name}.pt"
        weights = torch.load(path, weights_only=True)
        report = rmtaudit.scan(path, analyzers=["powerlaw", "phase"])
        for layer in LAYERS:
            metrics = next(row.metrics for row in report.layers if row.name == layer)
            weight = weights[layer]
            fit = fit_joint(gram_eigenvalues(weight).eigenvalues, *weight.shape)
            points.append(
                Point(
                    batch_size,
                    seed,
                    layer,
                    accuracy,
                    fit.kappa,
                    fit.se or 0.0,
                    fit.size,
                    float(metrics["alpha"].value),
                    float(metrics["alpha"].se),
                    str(metrics["phase"].value),
                )
            )
    return sorted(points, key=lambda point: (-point.batch_size, point.seed))


def falls(points: Sequence[Point], layer: str, seed: int, name: str) -> bool:
    """Whether a statistic falls with every step to a smaller batch, for one layer and seed."""
    values = [getattr(point, name) for point in points if (point.layer, point.seed) == (layer, seed)]
    return all(smaller < larger for larger, smaller in pairwise(values))


def table(points: Sequence[Point]) -> str:
    """Return the table in Markdown: per layer and batch size, the mean over seeds and its spread."""
    lines = []
    seeds = sorted({point.seed for point in points})
    for layer in LAYERS:
        own = [point for point in points if point.layer == layer]
        lines += [
            f"{SERIES[layer][0]}, N = {own[0].size}:\n",
            "| batch size | test accuracy | kappa, by seed | se/kappa | alpha, by seed | phase, by seed |",
            "|---:|---:|---|---:|---|---|",
        ]
        for batch_size in dict.fromkeys(point.batch_size for point in own):
            here = [point for point in own if point.batch_size == batch_size]
            lines.append(
                f"| {batch_size} | {sum(point.accuracy for point in here) / len(here):.3f} "
                f"| {', '.join(f'{point.kappa:.3g}' for point in here)} "
                f"| {max(point.kappa_se / point.kappa for point in here):.0%} "
                f"| {', '.join(f'{point.alpha:.1f}' for point in here)} "
                f"| {', '.join(point.phase for point in here)} |"
            )
        for name in ("kappa", "alpha"):
            falling = [str(seed) for seed in seeds if falls(points, layer, seed, name)]
            lines.append(
                f"\n{name} falls at every step for {len(falling)} of {len(seeds)} seeds; "
                f"Spearman with the batch size {spearman(own, name):.3f}."
            )
        lines.append("")
    return "\n".join(lines)


def spearman(points: Sequence[Point], name: str) -> float:
    """Return the rank correlation of a statistic and the batch size, over all seeds."""
    from scipy.stats import spearmanr

    result = spearmanr([point.batch_size for point in points], [getattr(point, name) for point in points])
    return float(result.statistic)


def draw(points: Sequence[Point], target: Path) -> None:
    """Write the figure as ``target.png`` and ``target.svg``."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcParams.update({"svg.hashsalt": "batch-size-sweep", "font.size": 9})
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
    for layer, (label, colour, marker) in SERIES.items():
        own = [point for point in points if point.layer == layer]
        left.axhline(own[0].size, color=colour, linewidth=0.8, linestyle=":")
        for seed in sorted({point.seed for point in own}):
            line = [point for point in own if point.seed == seed]
            sizes = [point.batch_size for point in line]
            style = {"color": colour, "marker": marker, "markersize": 3.5, "linewidth": 0.9, "alpha": 0.8}
            name = label if seed == line[0].seed == min(point.seed for point in own) else None
            left.errorbar(
                sizes,
                [point.kappa for point in line],
                [point.kappa_se for point in line],
                label=name,
                elinewidth=0.7,
                **style,
            )
            right.errorbar(
                sizes,
                [point.alpha for point in line],
                [point.alpha_se for point in line],
                elinewidth=0.7,
                **style,
            )
    for axis, what in ((left, "kappa, joint maximum likelihood"), (right, "alpha, power-law fit")):
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(sorted({point.batch_size for point in points}))
        axis.xaxis.set_major_formatter("{x:.0f}")
        axis.set_xlabel("batch size")
        axis.set_ylabel(what)
        axis.grid(linewidth=0.3)
    right.set_yticks([2, 3, 5, 10, 20])
    right.yaxis.set_major_formatter("{x:.0f}")
    right.yaxis.set_minor_formatter("")
    left.text(0.98, 0.02, "dotted: kappa = N of Gaussian noise", transform=left.transAxes, ha="right")
    left.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.0, 0.93))
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target.with_suffix(".png"), dpi=150)
    figure.savefig(target.with_suffix(".svg"), metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Print the table; write the figure if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--figure", type=Path, help="write FIGURE.png and FIGURE.svg")
    given = parser.parse_args()
    torch.set_num_threads(1)
    points = measure(given.folder)
    print(table(points))
    if given.figure:
        draw(points, given.figure)


if __name__ == "__main__":
    main()
