"""The Jacobians of modules whose Jacobians have a short form."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from rmtaudit.engine.networks.maps import Map, map_of, patches
from rmtaudit.kernels.ntk import Factors, Lookup, Piece, Rows

__all__ = ["Map", "bias_piece", "map_of", "weight_piece"]


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
            return Factors(inputs=patches(module, given), gradients=flat.transpose(2, 3))
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
