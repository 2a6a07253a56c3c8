"""Whether a layer reads where its input varies: its singular directions against the covariance."""

from __future__ import annotations

import zlib
from typing import Any

import torch

from rmtaudit.engine.activations.layers import ActivationLayer
from rmtaudit.engine.activations.moments import Moments
from rmtaudit.kernels.alignment import overlap, random_overlap, share_below

_DIRECTIONS = 10
"""Singular directions at either end at most, and no more than a quarter of all, so that the ends differ: a
convention."""
_DRAWS = 199
"""Random frames behind the share below: a resolution of half a per cent. A convention."""


def alignment(
    layer: ActivationLayer, moments: Moments, eigenvalues: torch.Tensor, seed: int
) -> dict[str, Any] | None:
    """Return the overlap of the top and the lowest right singular directions of a layer's weight.

    ``eigenvalues`` are those of the covariance of the rows; zeros may be left out.
    ``None`` where the weight has fewer than 4 singular values, is not finite, or is 0.
    """
    weight = layer.weight
    side = min(weight.shape)
    if side < 4 or not bool(torch.isfinite(weight).all()) or not bool(weight.any()):
        return None
    count = min(_DIRECTIONS, side // 4)
    right = _right_directions(weight)
    trace, size = float(eigenvalues.sum()), moments.features
    null = random_overlap(eigenvalues, size, count)
    result: dict[str, Any] = {"directions": count, "random": {"mean": null.mean, "sd": null.deviation}}
    for name, directions in (("top", right[:, -count:]), ("lowest", right[:, :count])):
        value = overlap(moments.along(directions), trace, size)
        generator = torch.Generator().manual_seed(
            (seed + zlib.crc32(f"{layer.name}\0{name}".encode())) % 2**63
        )
        result[name] = {
            "overlap": value,
            "z": (value - null.mean) / null.deviation if null.deviation > 0 else None,
            "share_below": share_below(
                value, eigenvalues, size=size, directions=count, draws=_DRAWS, generator=generator
            ),
        }
    return result


def _right_directions(weight: torch.Tensor) -> torch.Tensor:
    """Return the right singular vectors, by ascending singular value, as columns."""
    if weight.shape[0] >= weight.shape[1]:
        vectors: torch.Tensor = torch.linalg.eigh(weight.T @ weight).eigenvectors
        return vectors
    rows: torch.Tensor = torch.linalg.svd(weight, full_matrices=False).Vh
    return rows.flip(0).T
