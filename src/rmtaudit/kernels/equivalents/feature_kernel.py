"""The kernel of random features on given inputs: ``K(x, x') = E_w[φ(wᵀx) φ(wᵀx')]``, ``w`` normal."""

from __future__ import annotations

import math

import torch

from rmtaudit.kernels.equivalents.activations import ACTIVATIONS
from rmtaudit.kernels.equivalents.hermite import fixed_nodes, hermite_functions

_ORDER = 64
"""A convention: terms of the Hermite series. What they leave is at most ``|ρ|^65`` of the rest of the
variance, ``ρ`` the cosine between two inputs; on the diagonal the rest is added."""
_BLOCK = 64
"""Inputs whose kernel is computed for its diagonal."""
_SLOPES = {"relu": 0.0, "leaky_relu": 0.01, "abs": -1.0, "linear": 1.0}
"""Piecewise linear functions by their slope below 0; above it is 1."""
_SMOOTH = (
    "elu", "gelu", "gelu_tanh", "mish", "quick_gelu", "relu2", "selu", "sigmoid", "silu", "softplus", "tanh",
)  # fmt: skip
FEATURES = tuple(sorted((*_SLOPES, "erf", "sign", "sin", "cos", *_SMOOTH)))
"""Activations whose kernel is known: those with kinks at 0 at most."""


def feature_kernel(activation: str, inputs: torch.Tensor, others: torch.Tensor | None = None) -> torch.Tensor:
    """Return the kernel between two sets of inputs, shape ``(n, m)``, float64.

    In closed form for piecewise linear functions, ``erf``, ``sign``, ``sin`` and ``cos``; by a Hermite series
    in the cosine between inputs, with coefficients for the length of each, for the others.

    Parameters
    ----------
    activation
        One of :data:`FEATURES`.
    inputs, others
        Shapes ``(n, p)`` and ``(m, p)``; ``others`` are ``inputs`` where ``None``.

    Raises
    ------
    ValueError
        For another activation, or inputs that do not go together.

    References
    ----------
    Cho, Saul, *Kernel methods for deep learning*, NeurIPS 2009 (piecewise linear); Williams, *Computing with
    infinite networks*, NeurIPS 1996 (erf); Couillet, Liao (2022), table 5.1.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import equivalents
    >>> equivalents.feature_kernel("relu", torch.eye(2)).tolist()[0][0]  # E relu(ξ)²
    0.5
    """
    if activation not in FEATURES:
        raise ValueError(f"{activation!r} is not one of {', '.join(FEATURES)}")
    first = inputs.double()
    second = first if others is None else others.double()
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError("inputs must be matrices with the same number of columns")
    product = first @ second.T
    lengths, widths = first.square().sum(1).sqrt()[:, None], second.square().sum(1).sqrt()
    if activation == "sin":
        return torch.exp(-(lengths**2 + widths**2) / 2) * torch.sinh(product)
    if activation == "cos":
        return torch.exp(-(lengths**2 + widths**2) / 2) * torch.cosh(product)
    if activation == "erf":
        scale = (1 + 2 * lengths**2).sqrt() * (1 + 2 * widths**2).sqrt()
        return 2 / math.pi * torch.asin(2 * product / scale)
    cosine = (product / (lengths * widths).clamp(min=1e-300)).clamp(-1, 1)
    if activation == "sign":
        return 2 / math.pi * torch.asin(cosine)
    if activation in _SLOPES:
        slope = _SLOPES[activation]
        angle = (1 - cosine.square()).sqrt() + cosine * torch.asin(cosine)
        size = 2 / math.pi * lengths * widths * angle  # E|u||v|
        return ((1 + slope) / 2) ** 2 * product + ((1 - slope) / 2) ** 2 * size
    return _series(activation, lengths[:, 0], widths, cosine, same=others is None)


def feature_variances(activation: str, inputs: torch.Tensor) -> torch.Tensor:
    """Return ``K(x, x)`` of each input, shape ``(n,)``. Parameters and errors as :func:`feature_kernel`.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import equivalents
    >>> equivalents.feature_variances("relu", torch.eye(2)).tolist()
    [0.5, 0.5]
    """
    if activation in _SMOOTH:
        return _coefficients(activation, inputs.double().square().sum(1).sqrt())[1]
    return torch.cat([feature_kernel(activation, part).diagonal() for part in torch.split(inputs, _BLOCK)])


def _series(
    activation: str, lengths: torch.Tensor, widths: torch.Tensor, cosine: torch.Tensor, *, same: bool
) -> torch.Tensor:
    left, second = _coefficients(activation, lengths)
    right = left if same else _coefficients(activation, widths)[0]
    kernel = left[-1][:, None] * right[-1]
    for k in range(_ORDER - 1, -1, -1):
        kernel = kernel.mul_(cosine).add_(left[k][:, None] * right[k])
    if same:
        kernel.diagonal().copy_(second)
    return kernel


def _coefficients(activation: str, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``E φ(sξ) he_k(ξ)``, shape ``(order + 1, n)``, and ``E φ(sξ)²`` for each length ``s``."""
    x, weights = (part.to(lengths.device) for part in fixed_nodes())
    basis = hermite_functions(x, _ORDER) * weights
    value = ACTIVATIONS[activation](lengths[:, None] * x)
    return basis @ value.T, value.square() @ weights
