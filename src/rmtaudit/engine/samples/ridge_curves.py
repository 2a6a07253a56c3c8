"""Predicted errors of random-feature regression on grids of width, ridge and sample size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from rmtaudit.kernels.equivalents.feature_kernel import feature_kernel, feature_variances
from rmtaudit.kernels.equivalents.random_features import (
    RidgeErrors,
    RidgeProblem,
    ridge_errors,
    ridge_problem,
)

if TYPE_CHECKING:
    from rmtaudit.engine.samples.ridge_data import RidgeData

RIDGES = torch.logspace(-7, 1, 33, dtype=torch.float64)
"""A convention: ridges among which the best is chosen, four a decade."""
SUBSETS = 4
"""A convention: random parts of the training samples behind each smaller sample size."""
FRACTIONS = (0.125, 0.25, 0.5)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A test error: its mean over test samples, and what is known of each of them.

    Attributes
    ----------
    errors
        Shape ``(n',)``.
    ridge
        Where it is.
    spread
        Standard deviation over random parts of the training samples; 0 where there is one part.
    train
        The training error.
    """

    errors: torch.Tensor
    ridge: float
    train: float
    spread: float = 0.0

    @property
    def value(self) -> float:
        """The mean."""
        return float(self.errors.mean())

    @property
    def se(self) -> float:
        """Standard error of the choice of test samples and of the part of the training samples."""
        sampled = float(self.errors.std()) / len(self.errors) ** 0.5
        return float((sampled**2 + self.spread**2 / SUBSETS) ** 0.5)


@dataclass(frozen=True)
class Curves:
    """Predictions for one data set and activation, decomposed once."""

    data: RidgeData
    activation: str
    seed: int
    _kernel: torch.Tensor = field(init=False)
    _cross: torch.Tensor = field(init=False)
    _variances: torch.Tensor = field(init=False)
    _problems: dict[int, list[RidgeProblem]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        data = self.data
        cross = feature_kernel(self.activation, data.test_inputs, data.inputs)
        object.__setattr__(self, "_kernel", feature_kernel(self.activation, data.inputs))
        object.__setattr__(self, "_cross", cross)
        object.__setattr__(self, "_variances", feature_variances(self.activation, data.test_inputs))

    def at(self, width: int, ridge: float, samples: int | None = None) -> Estimate:
        """Return training and test error of one width and ridge."""
        return self._estimates(width, torch.tensor([ridge], dtype=torch.float64), samples)[0]

    def along(self, width: int, ridges: torch.Tensor) -> list[Estimate]:
        """Return the errors of all samples at several ridges."""
        return self._estimates(width, ridges, None)

    def best(self, width: int, samples: int | None = None) -> Estimate:
        """Return the errors at the ridge of :data:`RIDGES` with the least test error."""
        return min(self._estimates(width, RIDGES, samples), key=lambda one: one.value)

    def _estimates(self, width: int, ridges: torch.Tensor, samples: int | None) -> list[Estimate]:
        problems = self._of(len(self.data.inputs) if samples is None else samples)
        parts: list[RidgeErrors] = [ridge_errors(problem, width, ridges) for problem in problems]
        test = torch.stack([part.test for part in parts])
        train = torch.stack([part.train for part in parts]).mean(0)
        means = test.mean(2)
        spread = means.std(0) if len(parts) > 1 else torch.zeros(len(ridges))
        return [
            Estimate(errors=errors, ridge=float(ridge), train=float(left), spread=float(more))
            for errors, ridge, left, more in zip(test.mean(0), ridges, train, spread, strict=True)
        ]

    def _of(self, samples: int) -> list[RidgeProblem]:
        """Return the problem of all samples, or those of random parts."""
        if samples not in self._problems:
            count = len(self.data.inputs)
            generator = torch.Generator().manual_seed(self.seed + samples)
            chosen = [torch.arange(count)]
            if samples < count:
                chosen = []
                while len(chosen) < SUBSETS:  # disjoint as far as they can be
                    order = torch.randperm(count, generator=generator)
                    chosen += list(torch.split(order, samples))[: count // samples]
                chosen = chosen[:SUBSETS]
            self._problems[samples] = [
                ridge_problem(
                    self._kernel[part][:, part],
                    self.data.targets[part],
                    cross=self._cross[:, part],
                    variances=self._variances,
                    test_targets=self.data.test_targets,
                )
                for part in chosen
            ]
        return self._problems[samples]
