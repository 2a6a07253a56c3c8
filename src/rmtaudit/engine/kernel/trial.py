"""The routes of a network, tried on a few samples and compared with autograd."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from rmtaudit.engine.kernel.features import Features, Forming
from rmtaudit.engine.kernel.layers import Map
from rmtaudit.engine.kernel.readout import Readout, readout_of
from rmtaudit.engine.kernel.routes import Parameter, Route, Routes, routes_of
from rmtaudit.engine.kernel.settings import KernelSettings
from rmtaudit.engine.kernel.tracing import output_gradients
from rmtaudit.engine.networks import Network, Samples
from rmtaudit.errors import UsageError
from rmtaudit.kernels.ntk import jacobian
from rmtaudit.names import display_name

_AGREEMENT = {torch.float64: 1e-9, torch.float32: 2e-3, torch.bfloat16: 0.3}
"""Relative difference of two routes that is rounding: a hundred thousand to a few times the round-off of the
dtype. A route that is wrong differs by its own size."""
_ROUNDING = 16
"""Units of round-off of the whole Jacobian below which a difference is rounding (a choice)."""
_TOGETHER = 1 << 26
"""Numbers of Jacobians that are compared at a time: 512 MiB of float64."""


def forming_for(network: Network, samples: Samples, settings: KernelSettings) -> Forming:
    """Return what forms features, its routes tried on the first samples.

    Raises
    ------
    UsageError
        RA-KN-002, RA-KN-003 as :func:`~rmtaudit.engine.kernel.readout.readout_of` and
        :func:`~rmtaudit.engine.kernel.routes.routes_of`. RA-KN-005: the outputs of a sample depend on the
        samples beside it, or on chance.
    """
    few = [index % len(samples) for index in range(3)]
    trials = [samples.batch(network, few[:2]), samples.batch(network, few)]
    readout = readout_of(network, trials[0], settings)
    _check_independent(network, samples, readout, few)
    routes = routes_of(network, trials)
    forming = Forming(network=network, samples=samples, readout=readout, routes=routes)
    try:
        features = forming.features(few[:2])
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        modules = routes.of(Route.MODULE)
        if not modules:
            raise
        reason = f"derivatives of its layer cannot be batched: {display_name(str(error), longest=100)}"
        routes = routes.moved({each.name: reason for each in modules})
        forming = replace(forming, routes=routes)
        features = forming.features(few[:2])
    wrong = _disagreements(forming, features, few[:2])
    kept = frozenset(features.pieces) - wrong.keys()
    return replace(forming, routes=routes.moved(wrong) if wrong else routes, factored=kept)


def _check_independent(network: Network, samples: Samples, readout: Readout, few: list[int]) -> None:
    with torch.no_grad():
        together = readout(network, samples.batch(network, few))
        alone = torch.cat([readout(network, samples.batch(network, [index])) for index in few])
    limit = _AGREEMENT[network.dtype] * float(together.abs().max().clamp(min=1e-30))
    if not float((together - alone).abs().max()) <= limit:
        raise UsageError(
            "RA-KN-005",
            "The outputs of a sample depend on the other samples of its batch or on random "
            "numbers, or are not finite.",
            hint="Batch statistics and dropout must be turned off for a kernel.",
            where=network.name,
        )


def _disagreements(forming: Forming, features: Features, few: list[int]) -> dict[str, str]:
    """Return the parameters whose Jacobian, of the last of some samples, is not that of autograd."""
    network, last = forming.network, len(few) - 1
    rows = dict(_own_rows(forming, features, last))
    outputs = forming.readout(network, forming.samples.batch(network, few[-1:]))
    differences: dict[str, tuple[float, float]] = {}
    for group in _groups(forming.routes, forming.readout.outputs):
        gradients = output_gradients(outputs, [each.value for each in group])
        for parameter, gradient in zip(group, gradients, strict=True):
            own = rows[parameter.name]
            true = torch.zeros_like(own) if gradient is None else gradient.reshape(own.shape).to(own.dtype)
            differences[parameter.name] = (float((own - true).norm()), float(true.norm()))
    # the exact Jacobian may be 0, as by the bias of keys: rounding is then relative to the others
    whole = math.hypot(*(size for _, size in differences.values()))
    relative, rounding = _AGREEMENT[network.dtype], _ROUNDING * torch.finfo(network.dtype).eps * whole
    return {
        name: "its Jacobian computed from the layers differs from that of autograd"
        for name, (difference, size) in differences.items()
        if not difference <= relative * size + rounding
    }


def _own_rows(forming: Forming, features: Features, place: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the Jacobian of one sample by each parameter, shape ``(outputs, numbers)``."""
    start = 0
    for parameter in forming.routes.parameters:
        if parameter.route is Route.SAMPLES:
            continue
        total = None
        for piece in features.pieces.get(parameter.name, ()):
            values = jacobian(piece, rows=parameter.value.shape[0]).values[place]
            total = values if total is None else total + values
        if total is None:
            stop = start + parameter.value.numel()
            total, start = features.rows[place, :, start:stop], stop
        holder = parameter.holders[0]
        if holder.kind is Map.TRANSPOSED and parameter.value.ndim == 2:
            inputs, width = parameter.value.shape
            total = total.view(-1, width, inputs).transpose(1, 2).flatten(1)
        yield parameter.name, total


def _groups(routes: Routes, outputs: int) -> Iterator[list[Parameter]]:
    group: list[Parameter] = []
    size = 0
    for parameter in routes.parameters:
        if parameter.route is Route.SAMPLES:
            continue
        if group and size + outputs * parameter.value.numel() > _TOGETHER:
            yield group
            group, size = [], 0
        group.append(parameter)
        size += outputs * parameter.value.numel()
    if group:
        yield group
