"""What a module's weights do to its input: the kinds of maps whose Jacobians have a short form."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import torch
from torch.nn import functional

from rmtaudit.kernels.ntk import Factors, Lookup, Piece, Rows


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


def weight_piece(module: torch.nn.Module, kind: Map, given: torch.Tensor, gradients: torch.Tensor) -> Piece:
    """Return the Jacobian by the weight of a module.

    Parameters
    ----------
    module, kind
        Any kind but ``OTHER``.
    given
        What it was given, samples first.
    gradients
        Of the outputs of the network by what it returned, shape ``(outputs, samples, …)``.
    """
    by_sample = gradients.transpose(0, 1)
    samples, outputs = by_sample.shape[:2]
    match kind:
        case Map.LINEAR | Map.TRANSPOSED:
            return Factors(
                inputs=given.reshape(samples, -1, given.shape[-1]),
                gradients=by_sample.reshape(samples, outputs, -1, by_sample.shape[-1]),
            )
        case Map.CONVOLUTION:
            flat = by_sample.flatten(3)
            return Factors(inputs=_patches(module, given), gradients=flat.transpose(2, 3))
        case Map.TABLE:
            padding = getattr(module, "padding_idx", None)
            rows = given.reshape(samples, -1).to(torch.int64)
            if padding is not None:
                rows = torch.where(rows == padding, -1, rows)
            return Lookup(rows=rows, gradients=by_sample.reshape(samples, outputs, -1, by_sample.shape[-1]))
        case Map.NORM:
            return Rows(values=_channel_sums(module, by_sample * _normalised(module, given).unsqueeze(1)))
        case _:
            raise ValueError(f"no Jacobian in short form of a module of kind {kind}")


def bias_piece(module: torch.nn.Module, kind: Map, gradients: torch.Tensor) -> Rows:
    """Return the Jacobian by the bias of a module: the gradients summed over positions."""
    by_sample = gradients.transpose(0, 1)
    if kind is Map.NORM:
        return Rows(values=_channel_sums(module, by_sample))
    if kind is Map.CONVOLUTION:
        return Rows(values=by_sample.flatten(3).sum(3))
    return Rows(values=by_sample.reshape(*by_sample.shape[:2], -1, by_sample.shape[-1]).sum(2))


def _patches(module: Any, given: torch.Tensor) -> torch.Tensor:
    """Return what the filters of a convolution see at each position: ``(samples, positions, inputs)``."""
    pads = module._reversed_padding_repeated_twice
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = functional.pad(given, pads, mode=mode) if any(pads) else given
    kernel, dilation, stride = module.kernel_size, module.dilation, module.stride
    if given.ndim == 3:
        padded, kernel, dilation, stride = padded[:, :, None], (1, *kernel), (1, *dilation), (1, *stride)
    return functional.unfold(padded, kernel, dilation=dilation, stride=stride).transpose(1, 2)


def _normalised(module: Any, given: torch.Tensor) -> torch.Tensor:
    """Return the input of a norm before its weight and bias."""
    if isinstance(module, torch.nn.LayerNorm):
        return functional.layer_norm(given, module.normalized_shape, eps=module.eps)
    if isinstance(module, torch.nn.GroupNorm):
        return functional.group_norm(given, module.num_groups, eps=module.eps)
    return functional.batch_norm(
        given, module.running_mean, module.running_var, training=False, eps=module.eps
    )


def _channel_sums(module: torch.nn.Module, values: torch.Tensor) -> torch.Tensor:
    """Return sums over everything but samples, outputs and what the weight of a norm has."""
    if isinstance(module, torch.nn.LayerNorm):
        sides = len(module.normalized_shape)
        return (
            values.flatten(2, -1 - sides).sum(2).flatten(2) if values.ndim > 2 + sides else values.flatten(2)
        )
    return values.flatten(3).sum(3) if values.ndim > 3 else values
