"""Round-to-nearest quantisation, as the libraries do it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

Quantise = Callable[..., torch.Tensor]


@pytest.fixture(scope="session")
def quantise() -> Quantise:
    """Return a function that rounds a matrix to a uniform grid and back."""

    def rounded(
        W: torch.Tensor, bits: int, unit: str = "row", *, group: int | None = None, symmetric: bool = True
    ) -> torch.Tensor:
        lines = W.T if unit == "column" else W
        shape = lines.shape
        if group is not None:
            lines = lines.reshape(-1, group)
        elif unit == "tensor":
            lines = lines.reshape(1, -1)
        if symmetric:
            top = 2 ** (bits - 1) - 1
            step = lines.abs().amax(1, keepdim=True) / top
            lines = (lines / step).round().clamp(-top, top) * step
        else:
            low, high = lines.amin(1, keepdim=True), lines.amax(1, keepdim=True)
            top = 2**bits - 1
            step = (high - low) / top
            zero = (-low / step).round()
            lines = (((lines / step).round() + zero).clamp(0, top) - zero) * step
        lines = lines.reshape(shape)
        return (lines.T if unit == "column" else lines).contiguous()

    return rounded
