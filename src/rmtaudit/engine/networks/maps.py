"""What a module's weights do to its input: the kinds of maps that are recognised."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import torch
from torch.nn import functional


class Map(StrEnum):
    """The kinds of maps."""

    LINEAR = "linear"
    TRANSPOSED = "transposed linear"
    CONVOLUTION = "convolution"
    TABLE = "table"
    NORM = "normalisation"
    OTHER = "other"


def map_of(module: torch.nn.Module) -> Map:
    """Return the kind of a module: by the function that it runs, so that a subclass with its own is other."""
    if "forward" in vars(module):
        return Map.OTHER
    forward = type(module).forward
    if isinstance(module, torch.nn.Linear) and forward is torch.nn.Linear.forward:
        return Map.LINEAR
    if isinstance(module, torch.nn.Conv1d | torch.nn.Conv2d) and module.groups == 1:
        own = (torch.nn.Conv1d.forward, torch.nn.Conv2d.forward)
        return Map.CONVOLUTION if forward in own else Map.OTHER
    if isinstance(module, torch.nn.Embedding) and forward is torch.nn.Embedding.forward:
        plain = module.max_norm is None and not module.scale_grad_by_freq and not module.sparse
        return Map.TABLE if plain else Map.OTHER
    if _is_transposed_linear(module):
        return Map.TRANSPOSED
    if forward in _NORMS and isinstance(module, torch.nn.LayerNorm | torch.nn.GroupNorm | _BatchNorm):
        calibrated = not isinstance(module, _BatchNorm) or module.track_running_stats
        return Map.NORM if calibrated else Map.OTHER
    return Map.OTHER


_BatchNorm = torch.nn.modules.batchnorm._BatchNorm
_NORMS = (torch.nn.LayerNorm.forward, torch.nn.GroupNorm.forward, _BatchNorm.forward)


def _is_transposed_linear(module: torch.nn.Module) -> bool:
    """Whether it is the ``Conv1D`` of transformers (GPT-2): a linear map with weight ``(in, out)``."""
    kind = type(module)
    return kind.__name__ == "Conv1D" and kind.__module__ == "transformers.pytorch_utils"


def patches(module: Any, given: torch.Tensor) -> torch.Tensor:
    """Return what the filters of a convolution see at each position: ``(samples, positions, inputs)``."""
    pads = module._reversed_padding_repeated_twice
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = functional.pad(given, pads, mode=mode) if any(pads) else given
    kernel, dilation, stride = module.kernel_size, module.dilation, module.stride
    if given.ndim == 3:
        padded, kernel, dilation, stride = padded[:, :, None], (1, *kernel), (1, *dilation), (1, *stride)
    return functional.unfold(padded, kernel, dilation=dilation, stride=stride).transpose(1, 2)
