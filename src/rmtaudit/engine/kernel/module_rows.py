"""The Jacobians by parameters of a module whose function is not known: of any module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.func import functional_call, vjp, vmap

from rmtaudit.engine.kernel.tracing import Call, only_tensor
from rmtaudit.kernels.ntk import Rows

_CHUNK = 1 << 22
"""Numbers of a batched derivative of one module, without what its steps hold: 32 MiB of float64, a choice."""


def module_rows(
    module: torch.nn.Module, values: Mapping[str, torch.Tensor], call: Call, gradient: torch.Tensor
) -> dict[str, Rows]:
    """Return Jacobians of the outputs of a network by parameters of one of its modules.

    The function of the module is run again on each sample's own row, and the gradients by its output are
    pulled back to the parameters: batched over samples and outputs.

    Parameters
    ----------
    module
        Returns one tensor, samples first.
    values
        The parameters, by their names in the module.
    call
        Its only call.
    gradient
        Of the outputs of the network by what it returned, shape ``(outputs, samples, …)``.
    """
    count = call.shape[0]
    slots = [*range(len(call.args)), *call.kwargs]
    given: list[Any] = [*call.args, *call.kwargs.values()]
    own = [isinstance(each, torch.Tensor) and each.ndim > 0 and each.shape[0] == count for each in given]
    sliced = [each.detach() for each, is_own in zip(given, own, strict=True) if is_own]

    def pulled(cotangents: torch.Tensor, *rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        parts = iter(rows)
        whole = [next(parts)[None] if is_own else each for each, is_own in zip(given, own, strict=True)]
        args = tuple(each for slot, each in zip(slots, whole, strict=True) if isinstance(slot, int))
        kwargs = {slot: each for slot, each in zip(slots, whole, strict=True) if isinstance(slot, str)}

        def run(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
            tensor = only_tensor(functional_call(module, parameters, args, kwargs))
            assert tensor is not None
            return tensor

        pullback: Any = vjp(run, dict(values))[1]
        (jacobians,) = vmap(lambda each: pullback(each[None]))(cotangents)
        return tuple(jacobians[name].flatten(1) for name in values)

    size = gradient.shape[0] * (sum(each.numel() for each in values.values()) + gradient[0, 0].numel())
    chunk = max(1, _CHUNK // max(1, size))
    result = vmap(pulled, chunk_size=chunk)(gradient.transpose(0, 1), *sliced)
    return {name: Rows(values=each.detach()) for name, each in zip(values, result, strict=True)}
