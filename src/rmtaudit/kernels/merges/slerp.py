"""Spherical interpolation of two models, tensor by tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

_COLINEAR = 0.9995
"""Cosine above which implementations interpolate linearly: the default of mergekit's ``slerp``."""

_RESOLUTION = 1e-13
"""Share of a squared norm that differences of float64 sums resolve: 2^-53 times a few hundred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slerp:
    """The best spherical interpolation of one tensor.

    Attributes
    ----------
    fraction
        The position ``t`` between the first parent (0) and the second (1).
    residual
        Sum of squared differences of the target from it.
    resolution
        Sums of squares below this are not resolved.
    angle
        Between the two parents, in radians.
    """

    fraction: float
    residual: float
    resolution: float
    angle: float


def fit_slerp(target: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> Slerp | None:
    """Fit ``sin((1 - t) a) / sin(a) A + sin(t a) / sin(a) B`` to a target (Shoemake 1985).

    ``a`` is the angle between the parents as vectors. Parents at a cosine above .9995 are interpolated
    linearly, as the programs do.

    Parameters
    ----------
    target, first, second
        Three tensors of one shape, real floating dtype, finite: the weights themselves, not their changes.

    Returns
    -------
    Slerp or None
        ``None`` where the parents are equal or one is zero.
    """
    vectors = torch.stack([tensor.reshape(-1).double() for tensor in (target, first, second)])
    G = (vectors @ vectors.T).cpu()
    norms = G.diagonal().sqrt()
    if float(norms[1:].min()) == 0:
        return None
    cosine = float(G[1, 2] / norms[1] / norms[2])
    determinant = float(G[1, 1] * G[2, 2] - G[1, 2] ** 2)
    if determinant <= _RESOLUTION * float(G[1, 1] * G[2, 2]):
        return None
    a = float(G[0, 1] * G[2, 2] - G[0, 2] * G[1, 2]) / determinant
    b = float(G[0, 2] * G[1, 1] - G[0, 1] * G[1, 2]) / determinant
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    if cosine > _COLINEAR:
        t = b / (a + b) if a + b else 0.0
        weights = (1 - t, t)
    else:
        t = math.atan2(b * math.sin(angle), a + b * math.cos(angle)) / angle
        weights = (math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle))
    row = torch.tensor([1.0, -weights[0], -weights[1]], dtype=torch.float64)
    return Slerp(
        fraction=t,
        residual=max(0.0, float(row @ G @ row)),
        resolution=_RESOLUTION * float(G[0, 0]),
        angle=angle,
    )
