"""A matrix source for rmtaudit: `exp(-|i - j| / length)`, of any order, never stored."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch

from rmtaudit.errors import UsageError
from rmtaudit.plugins import Ground, Known, MatrixSource, Reach, SourceOpener

_TEXT = re.compile(r"toeplitz:(?P<order>[0-9]{1,9})(?::(?P<length>[0-9.eE+-]{1,20}))?")


class Toeplitz(MatrixSource):
    """The covariance of an Ornstein-Uhlenbeck process at whole times."""

    kind = "toeplitz"

    def __init__(self, order: int, length: float) -> None:
        self.name, self.shape = f"toeplitz of length {length:g}", (order, order)
        self.length = length
        self.symmetric, self.ground, self.symmetry = True, Ground.CONSTRUCTION, "by construction"
        self.semidefinite = True
        self.reach = frozenset({Reach.DENSE, Reach.BLOCK, Reach.PRINCIPAL, Reach.MATMUL})

    def known(self) -> Known:
        """Return the bounds of the spectrum and of the rounding.

        The eigenvalues lie between the extremes of the symbol `(1 - r²) / (1 - 2 r cos θ + r²)` with
        `r = exp(-1 / length)`. An entry `exp(-x)` is off by one rounding of the quotient, which moves it by
        `x exp(-x) u < u / 2`, and by at most two of the exponential function: less than 4 in units of `u`,
        the diagonal being 1. A source that returns nothing here gets no margin.
        """
        r = math.exp(-1 / self.length)
        return Known(
            smallest=(1 - r) / (1 + r),
            largest=(1 + r) / (1 - r),
            smallest_from="the symbol of the Toeplitz matrix",
            rounding=4.0,
        )

    def details(self) -> Mapping[str, Any]:
        """Return the length, for the JSON."""
        return {"length": self.length}

    def block_into(self, rows: range, cols: range, out: torch.Tensor) -> None:
        """Write the entries of some rows and columns."""
        out.copy_(self._entries(torch.tensor(rows)[:, None] - torch.tensor(cols)[None, :]))

    def principal(self, indices: torch.Tensor) -> torch.Tensor:
        """Return a principal submatrix."""
        return self._entries(indices[:, None] - indices[None, :])

    def _entries(self, lags: torch.Tensor) -> torch.Tensor:
        return torch.exp(lags.abs().to(torch.float64) / -self.length)


class ToeplitzOpener(SourceOpener):
    """Opens `toeplitz:ORDER` and `toeplitz:ORDER:LENGTH`."""

    name = "toeplitz"
    usage = "toeplitz:ORDER:LENGTH"

    def opens(self, text: str) -> bool:
        """Whether it begins with the scheme."""
        return text.startswith("toeplitz:")

    def open(self, text: str) -> Toeplitz:
        """Return the matrix that the text describes."""
        match = _TEXT.fullmatch(text)
        order = int(match["order"]) if match else 0
        try:
            length = float(match["length"] or 9.0) if match else 0.0
        except ValueError:
            length = 0.0
        if not (order > 0 and 0 < length < math.inf):
            raise UsageError("TOE-001", f"{text!r} is no Toeplitz matrix.", hint=f"{self.usage}, positive.")
        return Toeplitz(order, length)
