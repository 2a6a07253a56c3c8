"""The features that a layer makes, against those of random weights: the conjugate kernel."""

from __future__ import annotations

import math
import zlib
from typing import Any

import torch

from rmtaudit.engine.activations.layers import ActivationLayer
from rmtaudit.engine.activations.settings import FEWEST, MOST_FEATURES
from rmtaudit.kernels.equivalents.activations import ACTIVATIONS, Activation
from rmtaudit.kernels.equivalents.feature_kernel import FEATURES, feature_kernel
from rmtaudit.kernels.equivalents.hermite import hermite_coefficients
from rmtaudit.kernels.equivalents.inversion import estimate_population
from rmtaudit.kernels.equivalents.kernels import conjugate_kernel
from rmtaudit.kernels.equivalents.population import population

ROWS = 256
"""Rows whose kernel is computed at most: a convention."""
_DRAWS = 5
"""Random weights that are drawn to check the prediction. A convention."""
_MOST_A_UNIT = MOST_FEATURES
"""Rows a unit at most: beyond, the correction for the width was not checked."""


def conjugate_facts(layer: ActivationLayer, rows: torch.Tensor, seed: int) -> dict[str, Any] | None:
    """Return effective ranks of the features ``φ(Wx + b)``: predicted for random weights, and as they are.

    Parameters
    ----------
    layer
        With the activation function that follows.
    rows
        What it is given, shape ``(n, inputs)``, float64; the first 256 are used, fewer for few units.
    seed
        Of the random weights.

    Returns
    -------
    dict or None
        ``None`` where the activation function is not known. Ranks are entropy ranks of the kernel between the
        rows about its mean, corrected for the number of units where units are finite.
    """
    name = layer.activation
    if name is None or name not in FEATURES:
        return None
    weight, bias = layer.weight, _bias(layer)
    rows = rows[: min(ROWS, int(_MOST_A_UNIT * len(weight)))]
    if not bool(torch.isfinite(weight).all()) or len(rows) < FEWEST:
        return None
    function: Activation = ACTIVATIONS[name]
    spread, shift = float(weight.square().mean().sqrt()), float(bias.square().mean().sqrt())
    extended = torch.cat([spread * rows, torch.full((len(rows), 1), shift, dtype=rows.dtype)], dim=1)
    scale = float(extended.square().sum(1).mean().sqrt())  # of the preactivations of random weights
    if not scale > 0:
        return None
    try:
        coefficients = hermite_coefficients(lambda x: function(scale * x))
    except ValueError:
        return None
    gram = _centred(extended @ extended.T / scale**2)
    linear = _values(gram)
    exact = _values(_centred(feature_kernel(name, extended)))
    if not float(exact.max()) > 0 or not float(linear.max()) > 0:
        return None
    generator = torch.Generator().manual_seed((seed + zlib.crc32(layer.name.encode())) % 2**63)
    draws = []
    for _ in range(_DRAWS):
        drawn = torch.randn(len(weight), extended.shape[1], dtype=torch.float64, generator=generator)
        draws.append(_corrected_rank(function(extended @ drawn.T)))
    mean = sum(draws) / _DRAWS
    two_terms = conjugate_kernel(population(linear / linear.mean()), coefficients)
    shares = two_terms.values / two_terms.mean
    return {
        "activation": name,
        "scale": scale,
        "hermite": [float(each) for each in coefficients.values],
        "second_moment": coefficients.second_moment,
        "linear_fraction": coefficients.linear_fraction,
        "rows": len(rows),
        "units": len(weight),
        "effective_rank": {
            "predicted": _rank(exact),
            "predicted_two_terms": len(linear)
            * math.exp(-float((two_terms.weights * torch.xlogy(shares, shares)).sum())),
            "random_mean": mean,
            "random_sd": math.sqrt(sum((each - mean) ** 2 for each in draws) / (_DRAWS - 1)),
            "random_draws": _DRAWS,
            "measured": _corrected_rank(function(rows @ weight.T + bias)),
        },
    }


def _bias(layer: ActivationLayer) -> torch.Tensor:
    bias: Any = getattr(layer.module, "bias", None)
    if bias is None:
        return torch.zeros(layer.outputs, dtype=torch.float64)
    value: torch.Tensor = bias.detach().cpu().double()
    return value


def _centred(kernel: torch.Tensor) -> torch.Tensor:
    about: torch.Tensor = kernel - kernel.mean(0) - kernel.mean(1)[:, None] + kernel.mean()
    return about


def _values(kernel: torch.Tensor) -> torch.Tensor:
    """Return the eigenvalues of a centred kernel without the one that centring makes 0."""
    values: torch.Tensor = torch.linalg.eigvalsh(kernel).clamp(min=0)
    return values[1:]


def _rank(values: torch.Tensor) -> float:
    shares = values / values.sum()
    return math.exp(-float(torch.xlogy(shares, shares).sum()))


def _corrected_rank(features: torch.Tensor) -> float:
    """Return the rank of the kernel of infinitely many such units, from some: units are the samples here."""
    units = features.shape[1]
    values = _values(_centred(features @ features.T / units))
    if not float(values.max()) > 0:
        return 0.0
    return estimate_population(values, units).effective_rank
