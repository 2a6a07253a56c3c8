"""The norms of the gradients of a model, parameter by parameter, kept on their device until written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from rmtaudit.training.watched import is_sharded, named_parameters


class GradientNorms:
    """Measures the norm of every gradient; :meth:`flush` returns what was measured since the last call.

    Attributes
    ----------
    names
        The parameters, in the order of the norms: those that require gradients and are not divided among
        processes.
    """

    def __init__(self, model: nn.Module) -> None:
        watched = [
            (name, parameter)
            for name, parameter in named_parameters(model)
            if parameter.requires_grad and not is_sharded(parameter)
        ]
        self.names = tuple(name for name, _ in watched)
        self._parameters = tuple(parameter for _, parameter in watched)
        self._waiting: list[tuple[int, tuple[int, ...], torch.Tensor]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def measure(self, step: int) -> bool:
        """Measure the Euclidean norms of the gradients as they are; false if no parameter has one."""
        with torch.no_grad():
            present, gradients = [], []
            for index, parameter in enumerate(self._parameters):
                gradient = parameter.grad
                if gradient is None:
                    continue
                present.append(index)
                gradients.append(gradient.coalesce().values() if gradient.is_sparse else gradient)
            if not gradients:
                return False
            norms = torch._foreach_norm(gradients, 2, dtype=torch.float32)
            device = norms[0].device
            stacked = torch.stack([norm if norm.device == device else norm.to(device) for norm in norms])
        self._waiting.append((step, tuple(present), stacked))
        return True

    def flush(self) -> Iterator[dict[str, Any]]:
        """Yield a record a measured step: ``norms`` in the order of ``names``.

        A parameter without a gradient has ``null``, and so has one whose norm is not finite; those are
        listed in ``nonfinite`` by their place.
        """
        waiting, self._waiting = self._waiting, []
        for step, present, stacked in waiting:
            norms: list[float | None] = [None] * len(self.names)
            nonfinite = []
            for index, norm in zip(present, stacked.tolist(), strict=True):
                if math.isfinite(norm):
                    norms[index] = norm
                else:
                    nonfinite.append(index)
            record: dict[str, Any] = {"kind": "gradients", "step": step, "norms": norms}
            yield {**record, "nonfinite": nonfinite} if nonfinite else record
