"""Matrices of a known phase, by construction: those that set the thresholds, and others that test them.

The two families share no shape, no strength, no exponent, and, but for plain Gaussian noise and products of
low rank, no mechanism. Nothing here calls the code that is tested.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class Drawn:
    """A matrix of a known phase, and how it was made."""

    phase: str
    mechanism: str
    matrix: torch.Tensor


class Source:
    """Random numbers from one generator: scalars and tensors, float64."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float = 0.0, high: float = 1.0, size: tuple[int, ...] = ()) -> torch.Tensor:
        drawn = torch.rand(size, generator=self.generator, dtype=torch.float64)
        return low + (high - low) * drawn

    def between(self, low: float, high: float) -> float:
        return float(self.uniform(low, high))

    def whole(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def pick(self, *choices: object) -> object:
        return choices[self.whole(0, len(choices) - 1)]

    def normal(self, *size: int) -> torch.Tensor:
        return torch.randn(size, generator=self.generator, dtype=torch.float64)

    def gamma(self, shape: float, *size: int) -> torch.Tensor:
        """Gamma of any shape, from NumPy: torch's own takes no generator."""
        return torch.from_numpy(np.random.default_rng(self.whole(0, 2**62)).standard_gamma(shape, size))

    def directions(self, side: int, number: int) -> torch.Tensor:
        return torch.linalg.qr(self.normal(side, number)).Q

    def signs(self, *size: int) -> torch.Tensor:
        return 1 - 2 * torch.randint(0, 2, size, generator=self.generator, dtype=torch.float64)


Maker = Callable[[int, int, Source], torch.Tensor]


def coloured(spectrum: torch.Tensor, cols: int, source: Source) -> torch.Tensor:
    """``Σ^{1/2} G`` with the eigenvalues ``spectrum`` of Σ and random eigenvectors.

    With a diagonal Σ it would be noise with rows of different scale, which has no phase.
    """
    rows = len(spectrum)
    return source.directions(rows, rows) @ (spectrum.sqrt()[:, None] * source.normal(rows, cols))


def additive_spikes(rows: int, cols: int, reach: torch.Tensor, source: Source) -> torch.Tensor:
    """Noise and a few fixed directions whose eigenvalues come to ``1 + reach`` edges of the bulk.

    Benaych-Georges, Nadakuditi 2012: strength x comes to ``(x + 1/x)(x + c/x)``.
    """
    c = rows / cols
    y2 = (1 + reach) * (1 + math.sqrt(c)) ** 2 - 1 - c
    strength = torch.sqrt((y2 + torch.sqrt(y2**2 - 4 * c)) / 2)
    left, right = source.directions(rows, len(reach)), source.directions(cols, len(reach))
    return source.normal(rows, cols) + math.sqrt(cols) * (left * strength) @ right.T


def population_spikes(rows: int, cols: int, reach: torch.Tensor, source: Source) -> torch.Tensor:
    """Noise whose covariance has a few large eigenvalues; ``1 + l`` comes to ``(1 + l)(1 + c/l)``."""
    c = rows / cols
    b = (1 + reach) * (1 + math.sqrt(c)) ** 2 - 1 - c
    spectrum = torch.ones(rows, dtype=torch.float64)
    spectrum[: len(reach)] += (b + torch.sqrt(b**2 - 4 * c)) / 2
    return coloured(spectrum, cols, source)


def _calibration() -> dict[str, dict[str, Maker]]:
    def ranks(p: int) -> torch.Tensor:
        return (torch.arange(p, dtype=torch.float64) + 0.5) / p

    def crowd(p: int, n: int, s: Source) -> torch.Tensor:
        return additive_spikes(p, n, 0.02 + 0.6 * s.uniform(size=(p // 8,)) ** 2, s)

    return {
        "random-like": {"Gaussian": lambda p, n, s: s.normal(p, n)},
        "bleeding-out": {
            "additive spikes": lambda p, n, s: additive_spikes(
                p, n, s.uniform(0.05, 0.1, (s.whole(1, 4),)), s
            )
        },
        "bulk+spikes": {
            "additive spikes": lambda p, n, s: additive_spikes(
                p, n, s.uniform(0.3, 2.0, (s.whole(1, 12),)), s
            )
        },
        "bulk-decay": {
            "lognormal Σ, s = 0.3": lambda p, n, s: coloured(torch.exp(0.3 * s.normal(p)), n, s),
            "Σ = i^-0.2 (alpha 6)": lambda p, n, s: coloured(ranks(p) ** -0.2, n, s),
            "p/8 additive spikes": crowd,
        },
        "heavy-tailed": {
            "Σ = i^-0.5 (alpha 3)": lambda p, n, s: coloured(ranks(p) ** -0.5, n, s),
            "Σ = i^-0.8 (alpha 2.25)": lambda p, n, s: coloured(ranks(p) ** -0.8, n, s),
        },
        "rank-collapse": {
            "product, rank 0.5 p": lambda p, n, s: s.normal(p, p // 2) @ s.normal(p // 2, n),
            "product, rank 0.95 p": lambda p, n, s: s.normal(p, int(0.95 * p)) @ s.normal(int(0.95 * p), n),
        },
    }


def _fresh() -> dict[str, dict[str, Maker]]:
    def product(p: int, n: int, s: Source) -> torch.Tensor:
        rank = round(p * s.between(0.05, 0.97))
        return (s.normal(p, rank) @ s.normal(rank, n)).float().double()

    def crowd(p: int, n: int, s: Source) -> torch.Tensor:
        number = round(p * s.between(0.12, 0.2))
        scale = s.between(0.15, 0.25)
        return population_spikes(p, n, 0.02 - scale * torch.log(s.uniform(size=(number,))), s)

    return {
        "random-like": {
            "Gaussian": lambda p, n, s: s.normal(p, n),
            "uniform": lambda p, n, s: s.uniform(-1, 1, (p, n)),
            "signs": lambda p, n, s: s.signs(p, n),
        },
        "bleeding-out": {
            "spikes of Σ, 1.05 to 1.11 edges": lambda p, n, s: population_spikes(
                p, n, s.uniform(0.05, 0.11, (s.whole(1, 8),)), s
            )
        },
        "bulk+spikes": {
            "spikes of Σ, 1.25 to 4 edges": lambda p, n, s: population_spikes(
                p, n, s.uniform(0.25, 3.0, (s.whole(1, 20),)), s
            )
        },
        "bulk-decay": {
            "gamma Σ, shape 4 to 9": lambda p, n, s: coloured(s.gamma(s.between(4, 9), p), n, s),
            "Pareto Σ, alpha 5 to 7": lambda p, n, s: coloured(
                s.uniform(size=(p,)) ** (-1 / (s.between(5, 7) - 1)), n, s
            ),
            "12 % to 20 % spikes of Σ": crowd,
        },
        "heavy-tailed": {
            "Pareto Σ, alpha 1.8 to 3.3": lambda p, n, s: coloured(
                s.uniform(size=(p,)) ** (-1 / (s.between(1.8, 3.3) - 1)), n, s
            ),
            "inverse gamma Σ, alpha 1.8 to 3.3": lambda p, n, s: coloured(
                1 / s.gamma(s.between(0.8, 2.3), p), n, s
            ),
        },
        "rank-collapse": {
            "3 % to 30 % zeroed": lambda p, n, s: _zeroed(p, n, s.between(0.03, 0.3), s),
            "product, rank 5 % to 97 %": product,
        },
    }


def _between() -> dict[str, Maker]:
    return {
        "spikes of Σ at 1.12 to 1.25 edges": lambda p, n, s: population_spikes(
            p, n, s.uniform(0.12, 0.25, (s.whole(1, 8),)), s
        ),
        "Student t entries, ν = 1.2": lambda p, n, s: s.normal(p, n) / torch.sqrt(s.gamma(0.6, p, n) / 0.6),
        "Student t entries, ν = 3": lambda p, n, s: s.normal(p, n) / torch.sqrt(s.gamma(1.5, p, n) / 1.5),
        "Student t entries, ν = 2": lambda p, n, s: s.normal(p, n) / torch.sqrt(s.gamma(1, p, n)),
        "lognormal Σ, s = 0.6": lambda p, n, s: coloured(torch.exp(0.6 * s.normal(p)), n, s),
        "lognormal Σ, s = 1": lambda p, n, s: coloured(torch.exp(s.normal(p)), n, s),
        "Pareto Σ, alpha 4": lambda p, n, s: coloured(s.uniform(size=(p,)) ** (-1 / 3), n, s),
        "sparse noise, 90 % zeros": lambda p, n, s: s.normal(p, n) * (s.uniform(size=(p, n)) < 0.1),
        "noise, half of the rows twice as large": lambda p, n, s: (
            s.normal(p, n) * torch.linspace(1, 2.99, p, dtype=torch.float64).floor()[:, None]
        ),
        "2 % zeroed": lambda p, n, s: _zeroed(p, n, 0.02, s),
        "orthogonal rows": lambda p, n, s: s.directions(n, p).T.contiguous(),
    }


def _zeroed(p: int, n: int, share: float, source: Source) -> torch.Tensor:
    """Noise with a share of its directions projected out."""
    lost = source.directions(p, round(p * share))
    matrix = source.normal(p, n)
    return (matrix - lost @ (lost.T @ matrix)).float().double()


CALIBRATION = _calibration()
"""Makers of ``p x n`` matrices, ``p <= n``, by phase and mechanism: those that set the thresholds."""
CALIBRATION_SHAPES = ((256, 512), (500, 1000), (512, 2048), (768, 768), (800, 1000))
FRESH = _fresh()
"""Those that were held out."""
BETWEEN = _between()
"""Spectra between two phases: no answer is right."""


def calibration_shape(source: Source) -> tuple[int, int]:
    return CALIBRATION_SHAPES[source.whole(0, len(CALIBRATION_SHAPES) - 1)]


def fresh_shape(source: Source, low: int = 520, high: int = 760) -> tuple[int, int]:
    """A smaller side from ``low`` to ``high`` and an aspect ratio from 1 to 4; square in one case of five."""
    p = source.whole(low, high)
    return p, p if source.between(0, 1) < 0.2 else round(p * source.between(1.05, 4))


def draw(phase: str, family: dict[str, dict[str, Maker]], shape: tuple[int, int], source: Source) -> Drawn:
    """Return one matrix of a phase, by one of its mechanisms, in either orientation and any unit."""
    mechanisms = family[phase]
    name = list(mechanisms)[source.whole(0, len(mechanisms) - 1)]
    matrix = mechanisms[name](*shape, source) * 10 ** source.between(-3, 3)
    return Drawn(phase, name, matrix.T if source.between(0, 1) < 0.5 else matrix)
