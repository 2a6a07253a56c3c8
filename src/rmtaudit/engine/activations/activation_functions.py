"""Which activation function a layer's output goes into, as the network runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_FUNCTIONS: dict[Any, str] = {
    functional.relu: "relu",
    torch.relu: "relu",
    torch.relu_: "relu",
    torch.Tensor.relu: "relu",
    torch.Tensor.relu_: "relu",
    functional.silu: "silu",
    functional.mish: "mish",
    functional.selu: "selu",
    torch.tanh: "tanh",
    torch.Tensor.tanh: "tanh",
    functional.tanh: "tanh",
    torch.sigmoid: "sigmoid",
    torch.Tensor.sigmoid: "sigmoid",
    functional.sigmoid: "sigmoid",
    torch.erf: "erf",
    torch.sin: "sin",
    torch.cos: "cos",
    torch.abs: "abs",
}
"""Functions without arguments of their own, by the names of the kernels."""
_MODULES = {
    "FastGELUActivation": "gelu_tanh",
    "NewGELUActivation": "gelu_tanh",
    "PytorchGELUTanh": "gelu_tanh",
    "GELUTanh": "gelu_tanh",
    "QuickGELUActivation": "quick_gelu",
    "ReLUSquaredActivation": "relu2",
}
"""Modules of ``transformers`` that compute their function in several steps."""


class ActivationWatch(TorchFunctionMode):
    """Notes which of some tensors are given to an activation function, while it is the current mode.

    Attributes
    ----------
    functions
        From names of layers to names of functions, in the words of
        :data:`rmtaudit.kernels.equivalents.feature_kernel.FEATURES`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.functions: dict[str, str] = {}
        self._outputs: list[tuple[torch.Tensor, str]] = []

    def note_output(self, layer: str, output: Any) -> None:
        """Remember what a layer returned."""
        if isinstance(output, torch.Tensor):
            self._outputs.append((output, layer))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function of torch, and note it where it is an activation function."""
        del types
        if args and isinstance(args[0], torch.Tensor):
            name = _name_of(func, args, kwargs or {})
            if name is not None:
                self._note(args[0], name)
        return func(*args, **(kwargs or {}))

    def hook(self, module: torch.nn.Module, args: tuple[Any, ...]) -> None:
        """Note a module of ``transformers`` that is an activation function: a forward pre-hook."""
        name = _MODULES.get(type(module).__name__)
        if name is not None and args and isinstance(args[0], torch.Tensor):
            self._note(args[0], name)

    def _note(self, given: torch.Tensor, name: str) -> None:
        for output, layer in reversed(self._outputs):
            if output is given:
                self.functions.setdefault(layer, name)
                return


def _name_of(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    if func is functional.gelu:
        kind = kwargs.get("approximate", args[1] if len(args) > 1 else "none")
        return "gelu_tanh" if kind == "tanh" else "gelu"
    if func is functional.leaky_relu:
        slope = kwargs.get("negative_slope", args[1] if len(args) > 1 else 0.01)
        return "leaky_relu" if slope == 0.01 else None
    if func is functional.elu:
        alpha = kwargs.get("alpha", args[1] if len(args) > 1 else 1.0)
        return "elu" if alpha == 1.0 else None
    if func is functional.softplus:
        plain = len(args) == 1 and kwargs.get("beta", 1) == 1
        return "softplus" if plain else None
    try:
        return _FUNCTIONS.get(func)
    except TypeError:  # something that has no hash
        return None
