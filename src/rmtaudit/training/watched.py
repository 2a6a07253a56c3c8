"""The weight matrices of a model in training: the layers that a scan of its checkpoint would list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from rmtaudit.engine.scan.selection import select_layers
from rmtaudit.matrices.layers import Layer
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import TensorSpec

_WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.")
"""What torch.compile and FSDP put into the names of parameters."""
_SHARDED = "the parameter is divided among processes: each holds a part of it"


@dataclass(frozen=True, slots=True)
class WatchedLayer:
    """A layer and the parameters that its matrix is made of."""

    layer: Layer
    parameters: tuple[nn.Parameter, ...]

    def stored(self) -> tuple[torch.Tensor, ...]:
        """Return copies of its tensors (its band of them) as they are now, on the CPU, in their dtype."""
        band = self.layer.band
        tensors = (parameter.detach() for parameter in self.parameters)
        parts = (tensor if band is None else tensor[slice(*band)] for tensor in tensors)
        return tuple(part.to("cpu", copy=True) for part in parts)

    def matrix(self, stored: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the matrix that its tensors make, float64."""
        (matrix,) = self.layer.build(tuple(tensor.double() for tensor in stored))
        return matrix


@dataclass(frozen=True, slots=True)
class NotWatched:
    """A tensor or layer that is not watched, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Watch:
    """What of a model is watched.

    Attributes
    ----------
    layers
        In the order of the model.
    skipped
        What is left out, apart from vectors.
    """

    layers: tuple[WatchedLayer, ...]
    skipped: tuple[NotWatched, ...]


def watch(
    model: nn.Module,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    least_side: int,
    config: Mapping[str, Any] | None = None,
) -> Watch:
    """Return the layers of a model, named and cut as by ``rmtaudit scan``, convolutions flattened.

    Parameters
    ----------
    model
        Its parameters are read, and may be on any device. Parameters that do not require gradients stay out.
    include, exclude
        Patterns of a shell for names of layers or tensors.
    least_side
        Matrices whose smaller side is shorter stay out.
    config
        The model's ``config.json`` as values, where there is one: it tells fused projections apart.

    Raises
    ------
    UsageError
        RA-US-114: no layer matches any pattern of ``include``.
    """
    parameters: dict[str, nn.Parameter] = {}
    skipped: list[NotWatched] = []
    for name, parameter in named_parameters(model):
        if not parameter.requires_grad:
            skipped.append(NotWatched(name, "the parameter is frozen"))
        elif is_sharded(parameter):
            skipped.append(NotWatched(name, _SHARDED))
        else:
            parameters[name] = parameter
    specs = [
        TensorSpec(name=name, shape=tuple(each.shape), dtype=str(each.dtype).removeprefix("torch."))
        for name, each in parameters.items()
    ]
    plan = plan_layers(specs, config=config)
    excluded = select_layers(plan, include, exclude).excluded
    layers: list[WatchedLayer] = []
    for index, layer in enumerate(plan.layers):
        if index in excluded:
            skipped.append(NotWatched(layer.name, excluded[index].sentence))
        elif min(layer.shape) < least_side:
            reason = f"a smaller side of {min(layer.shape)}, below the {least_side} of least_side"
            skipped.append(NotWatched(layer.name, reason))
        else:
            layers.append(WatchedLayer(layer, tuple(parameters[name] for name in layer.tensors)))
    skipped += [NotWatched(each.spec.name, each.reason) for each in plan.skipped if each.weight]
    return Watch(tuple(layers), tuple(skipped))


def named_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters under the names that they have in a checkpoint."""
    for name, parameter in model.named_parameters():
        for wrapper in _WRAPPERS:
            name = name.replace(wrapper, "")
        yield name.removeprefix("module."), parameter


def is_sharded(parameter: torch.Tensor) -> bool:
    """Whether a process holds but a part of a parameter: a ``DTensor``, or one that DeepSpeed has taken."""
    return hasattr(parameter, "device_mesh") or hasattr(parameter, "ds_id")
