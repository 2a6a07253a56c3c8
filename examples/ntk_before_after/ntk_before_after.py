"""The spectra of neural tangent kernels before and after training, and what they look like near zero.

    OMP_NUM_THREADS=1 python examples/ntk_before_after/ntk_before_after.py runs [--figure ntk_before_after]

trains two small networks on scikit-learn's digits, has ``rmtaudit kernel ntk`` form their kernels before and
after, and fits the eigenvalues. What is in the folder already is not made again.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

import rmtaudit
from rmtaudit.linalg import htmp

WIDTH = 32
SAMPLES = 200  # training images in a kernel; ten outputs each make 2000 rows
TRAINED_ON = 1297  # of 1797 images; the others measure accuracy
EPOCHS, BATCH_SIZE, LEARNING_RATE = 40, 32, 1e-3
TIMES = ("before", "after")
FRACTIONS = (0.05, 0.2)
"""Of the lowest eigenvalues that laws near zero are fitted to; the first is the default of ``tails``."""


def cnn() -> nn.Module:
    """Return three convolutions and a linear layer: 20 106 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, WIDTH, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(4 * WIDTH, 10),
    )  # fmt: skip


class Block(nn.Module):
    """Self-attention with four heads, and a two-layer network."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the tokens after attention and the two-layer network."""
        given = self.first(x)
        parts = [
            each(given).unflatten(2, (4, -1)).transpose(1, 2) for each in (self.query, self.key, self.value)
        ]
        weights = torch.softmax(parts[0] @ parts[1].transpose(2, 3) / parts[0].shape[3] ** 0.5, 3)
        x = x + self.out((weights @ parts[2]).transpose(1, 2).flatten(2))
        changed: torch.Tensor = x + self.down(nn.functional.gelu(self.up(self.second(x))))
        return changed


class Transformer(nn.Module):
    """The eight rows of an image as tokens, two blocks, and a linear layer: 26 282 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, WIDTH)
        self.positions = nn.Parameter(torch.randn(8, WIDTH) / WIDTH**0.5)
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of images of shape ``(n, 1, 8, 8)``."""
        tokens = self.embed(images.flatten(1, 2)) + self.positions
        logits: torch.Tensor = self.head(self.blocks(tokens).mean(1))
        return logits


NETWORKS: dict[str, Callable[[], nn.Module]] = {"cnn": cnn, "transformer": Transformer}


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the digits of scikit-learn: float32 (1797, 1, 8, 8) in [0, 1], and labels."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return torch.from_numpy(images).float().reshape(-1, 1, 8, 8) / 16, torch.from_numpy(labels)


def train(folder: Path, name: str, seed: int, *, epochs: int = EPOCHS, samples: int = SAMPLES) -> float:
    """Write the state dicts ``before.pt`` and ``after.pt`` and the images of the kernel; return the accuracy.

    The accuracy is that on the images that are held out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = digits()
    torch.manual_seed(seed)
    network = NETWORKS[name]()
    shuffled = torch.randperm(len(images))
    kept, held = shuffled[:TRAINED_ON], shuffled[TRAINED_ON:]
    np.save(folder / "images.npy", images[kept[:samples]].numpy())
    torch.save(network.state_dict(), folder / "before.pt")
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    for _ in range(epochs):
        for batch in kept[torch.randperm(len(kept))].split(BATCH_SIZE):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    torch.save(network.state_dict(), folder / "after.pt")
    with torch.no_grad():
        return float((network(images[held]).argmax(1) == labels[held]).double().mean())


def eigenvalues(folder: Path, name: str, when: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the eigenvalues of the kernel on the images, ascending, in units of their mean."""
    import zarr

    factory = f"{Path(__file__).resolve()}:{NETWORKS[name].__name__}"
    array = folder / f"{when}.zarr"
    if not (folder / f"{when}.npy").exists():
        subprocess.run(
            [
                *(sys.executable, "-m", "rmtaudit", "kernel", "ntk", factory, "--allow-code"),
                *("--state", str(folder / f"{when}.pt"), "--data", str(folder / "images.npy")),
                *("--out", str(array), "--threads", "1", "--quiet"),
                *(["--resume"] if array.exists() else []),
            ],
            check=True,
        )
        kernel = torch.from_numpy(np.asarray(zarr.open_array(array, mode="r")))
        np.save(folder / f"{when}.npy", torch.linalg.eigvalsh(kernel).numpy())
    values = np.load(folder / f"{when}.npy")
    ordered: np.ndarray[tuple[int], np.dtype[np.float64]] = values / values.mean()
    return ordered


@dataclass(frozen=True, slots=True, kw_only=True)
class NearZero:
    """Laws of the lowest eigenvalues: ``x^-power e^(-rate/x)`` against ``x^(exponent - 1)``."""

    power: float
    power_se: float
    rate: float
    exponent: float
    gain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum:
    """The eigenvalues of one kernel, in units of their mean, and what is fitted to them."""

    network: str
    seed: int
    when: str
    values: np.ndarray[tuple[int], np.dtype[np.float64]]
    near_zero: dict[float, NearZero]
    lower_verdict: str
    inverse_kappa: float
    inverse_distance: float


def study(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], parameters: int, network: str, seed: int, when: str
) -> Spectrum:
    """Return the fits of a spectrum; ``parameters`` of the network are the longer side of its Jacobian."""
    near = {}
    for fraction in FRACTIONS:
        part = rmtaudit.tails(values, side="lower", fraction=fraction)["near_zero"]
        near[fraction] = NearZero(
            power=part["power"]["value"],
            power_se=part["power"]["se"],
            rate=part["rate"]["value"],
            exponent=part["exponent"]["value"],
            gain=part["gain"],
        )
    lower = rmtaudit.tails(values, side="lower")["lower"]
    inverse = torch.from_numpy(np.sort(1 / values))
    fit = htmp.fit_joint(inverse, len(values), parameters)
    return Spectrum(
        network=network,
        seed=seed,
        when=when,
        values=values,
        near_zero=near,
        lower_verdict=lower["verdict"]["status"] if lower["status"] == "ok" else lower["reason"],
        inverse_kappa=fit.kappa,
        inverse_distance=math.sqrt(len(values)) * htmp.distance(inverse, fit),
    )


def table(spectra: Sequence[Spectrum]) -> str:
    """Return the fits in Markdown, and the changes from before to after."""
    lines = [
        "| network | seed | when | 5 % quantile | power, lowest 5 % | gain | power, lowest 20 % | gain "
        "| kappa of 1/x | sqrt(N) D |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for each in spectra:
        few, many = (each.near_zero[fraction] for fraction in FRACTIONS)
        lines.append(
            f"| {each.network} | {each.seed} | {each.when} | {np.quantile(each.values, 0.05):.2g} "
            f"| {few.power:.1f} ± {few.power_se:.1f} | {few.gain:.1f} "
            f"| {many.power:.2f} ± {many.power_se:.2f} | {many.gain:.1f} "
            f"| {each.inverse_kappa:.3f} | {each.inverse_distance:.1f} |"
        )
    for network in dict.fromkeys(each.network for each in spectra):
        own = [each for each in spectra if each.network == network]
        pairs = list(zip(own[::2], own[1::2], strict=True))
        lines.append(f"\n{network}, after less before, mean over seeds ± standard error:\n")
        for title, get in CHANGES.items():
            lines.append(
                f"- {title}: {mean_and_error([get(after) - get(before) for before, after in pairs])}"
            )
    return "\n".join(lines)


CHANGES: dict[str, Callable[[Spectrum], float]] = {
    "log10 of the 5 % quantile": lambda each: math.log10(np.quantile(each.values, 0.05)),
    "gain on the lowest 5 %": lambda each: each.near_zero[0.05].gain,
    "gain on the lowest 20 %": lambda each: each.near_zero[0.2].gain,
    "power on the lowest 20 %": lambda each: each.near_zero[0.2].power,
    "log10 of the rate on the lowest 20 %": lambda each: math.log10(each.near_zero[0.2].rate),
    "kappa of 1/x": lambda each: each.inverse_kappa,
}


def mean_and_error(values: Sequence[float]) -> str:
    """Return a mean and its standard error in words."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:+.2f}"
    return f"{mean:+.2f} ± {statistics.stdev(values) / len(values) ** 0.5:.2f}"


def draw(spectra: Sequence[Spectrum], target: Path) -> None:
    """Write the figure as ``target.png`` and ``target.svg``: the densities, and the laws near zero."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams.update({"svg.hashsalt": "ntk-before-after", "font.size": 9})
    networks = list(dict.fromkeys(each.network for each in spectra))
    figure, axes = plt.subplots(1, len(networks), figsize=(9, 3.8), layout="constrained", squeeze=False)
    colours = {"before": "#0072B2", "after": "#D55E00"}
    first_seed = min(each.seed for each in spectra)
    for axis, network in zip(axes[0], networks, strict=True):
        own = [each for each in spectra if each.network == network]
        smallest, largest = min(each.values[0] for each in own), max(each.values[-1] for each in own)
        edges = np.geomspace(smallest, largest * 1.001, 41)
        for each in own:
            counts, _ = np.histogram(each.values, edges)
            centres = np.sqrt(edges[:-1] * edges[1:])
            density = counts / len(each.values) / np.log10(edges[1] / edges[0])
            shown = counts > 0
            label = f"{each.when} training" if each.seed == first_seed else None
            axis.plot(
                centres[shown], density[shown], color=colours[each.when], lw=0.9, alpha=0.7, label=label
            )
            if each.seed == first_seed:
                _draw_law(axis, each, each.when == "after")
        axis.set(xscale="log", yscale="log", xlabel="eigenvalue over the mean eigenvalue", title=network)
        axis.set_ylim(bottom=2e-4)
        axis.grid(linewidth=0.3)
    axes[0][0].set_ylabel("density of log10 of the eigenvalue")
    axes[0][0].legend(frameon=False, fontsize=8, loc="lower center")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target.with_suffix(".png"), dpi=150)
    figure.savefig(target.with_suffix(".svg"), metadata={"Date": None})
    plt.close(figure)


def _draw_law(axis: object, spectrum: Spectrum, named: bool) -> None:
    """Draw the inverse gamma law and the power law of the lowest eigenvalues, scaled to their share."""
    fraction = FRACTIONS[-1]
    law = spectrum.near_zero[fraction]
    threshold = float(np.quantile(spectrum.values, fraction))
    x = np.geomspace(spectrum.values[0] / 3, threshold, 400)
    steps = np.diff(np.log(x), prepend=math.log(x[0]) - math.log(x[1] / x[0]))
    laws = {
        "inverse gamma": (1 - law.power) * np.log(x) - law.rate / x,
        "power law": law.exponent * np.log(x),
    }
    for (name, logs), style in zip(laws.items(), ("-", ":"), strict=True):
        density = np.exp(logs - logs.max())
        density *= fraction / (density * steps).sum() * math.log(10)
        label = f"{name}, lowest {fraction:.0%}" if named else None
        axis.plot(x, density, "k", ls=style, lw=1.3, label=label)  # type: ignore[attr-defined]


def main() -> None:
    """Print the table; write the figure if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--figure", type=Path, help="write FIGURE.png and FIGURE.svg")
    given = parser.parse_args()
    torch.set_num_threads(1)
    spectra = []
    for name, make in NETWORKS.items():
        parameters = sum(each.numel() for each in make().parameters())
        for seed in range(given.seeds):
            folder = given.folder / f"{name}-{seed}"
            if not (folder / "after.pt").exists():
                print(f"{name}, seed {seed}: accuracy {train(folder, name, seed):.3f}", flush=True)
            for when in TIMES:
                spectra.append(study(eigenvalues(folder, name, when), parameters, name, seed, when))
    print(table(spectra))
    if given.figure:
        draw(spectra, given.figure)


if __name__ == "__main__":
    main()
