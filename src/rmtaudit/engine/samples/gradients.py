"""What the document of a sample says of gradient norms: where they come from, and how they drift."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rmtaudit.errors import UsageError
from rmtaudit.matrices.gradient_log import ENDINGS, GradientSample


def describe(sample: GradientSample) -> dict[str, Any]:
    """Return where the norms come from, and how far those of the two halves of the steps differ."""
    return {
        "parameters": sample.parameters,
        "steps": list(sample.steps),
        "nonfinite": sample.nonfinite,
        "absent": sample.absent,
        "halves": _halves(sample.values),
    }


def _halves(values: torch.Tensor) -> dict[str, Any] | None:
    """Return the two-sample Kolmogorov-Smirnov distance of the halves, and their medians.

    There is no p-value: norms of neighbouring steps are not independent.
    """
    if len(values) < 2:
        return None
    halves = [half.sort().values for half in values.chunk(2)]
    first, second = (torch.searchsorted(half, values, right=True).double() / len(half) for half in halves)
    return {
        "ks_distance": float((first - second).abs().max()),
        "medians": [float(half.quantile(0.5)) for half in halves],
    }


def not_a_log(path: Path) -> UsageError:
    """Return the error for choosing from a file that has nothing to choose from."""
    return UsageError(
        "RA-US-406",
        "Parameters and steps can only be chosen from the log of a training run.",
        hint=f"Give a log that ends in {' or '.join(ENDINGS)}, or neither --parameter nor --window.",
        where=str(path),
    )
