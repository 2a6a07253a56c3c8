"""Activation functions by name."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn import functional

Activation = Callable[[torch.Tensor], torch.Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "abs": torch.abs,
    "cos": torch.cos,
    "elu": functional.elu,
    "erf": torch.erf,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "hardswish": functional.hardswish,
    "hardtanh": functional.hardtanh,
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.01),
    "linear": lambda x: x,
    "mish": functional.mish,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": torch.relu,
    "relu2": lambda x: torch.relu(x).square(),
    "relu6": functional.relu6,
    "selu": functional.selu,
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "silu": functional.silu,
    "sin": torch.sin,
    "softplus": functional.softplus,
    "tanh": torch.tanh,
}
"""By the names of ``torch`` and ``transformers``. ``leaky_relu`` has the slope 0.01."""


def activation(name: str) -> Activation:
    """Return the activation function of a name. Raises ``ValueError`` for a name that is not known."""
    if name not in ACTIVATIONS:
        raise ValueError(f"{name!r} is not one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def normal_density(x: torch.Tensor) -> torch.Tensor:
    """Return the standard normal density."""
    return torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
