"""The first noun: random unit vectors whose mean outer product is the identity over n."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from rmtaudit.kernels.counter import normals, signs

_PROBES = 1
"""The stream of the counter-based generator that probes are of; other uses have other numbers."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """Probe vectors, each fixed by the seed and its number alone.

    Attributes
    ----------
    seed
        0 to 2^64 - 1.
    kind
        ``rademacher`` (random signs; exact on diagonal matrices) or ``sphere`` (uniform directions; the law
        of a quadratic form does not depend on the basis).
    """

    seed: int
    kind: Literal["rademacher", "sphere"] = "rademacher"

    def unit(self, probes: range, size: int) -> torch.Tensor:
        """Return the probes of these numbers as rows of length 1, shape ``(len(probes), size)``, float64."""
        if self.kind == "rademacher":
            return signs(self.seed, _PROBES, probes, size).div_(size**0.5)
        rows = normals(self.seed, _PROBES, probes, size)
        rows /= torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        return rows
