"""The layers of a network whose inputs are measured, and which of them are given the same."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch

from rmtaudit.engine.activations.activation_functions import ActivationWatch
from rmtaudit.engine.networks import Network, Samples
from rmtaudit.engine.networks.maps import Map, map_of, patches
from rmtaudit.engine.networks.patterns import is_chosen
from rmtaudit.errors import UsageError
from rmtaudit.names import display_name, suggestion

KINDS = (Map.LINEAR, Map.TRANSPOSED, Map.CONVOLUTION)


class Unmeasured(StrEnum):
    """Why a layer is not measured."""

    NOT_RUN = "not run"
    NO_ROWS = "no row for each sample"
    MEMORY = "memory"
    SAMPLES = "too few samples"
    CONSTANT = "constant input"
    NOT_FINITE = "not finite"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationLayer:
    """A layer.

    Attributes
    ----------
    name, kind, module
        Of the network.
    outputs, inputs
        Sides of its weight as a matrix: of a convolution, ``inputs`` counts channels times the kernel.
    positions
        At which it is applied to each sample of the trial, padding included; 0 if it is not measured.
    runs
        How often it ran in one pass.
    activation
        Name of the function that its output goes into; ``None`` where that is not known.
    unmeasured
        Why it is not measured, or ``None``.
    """

    name: str
    kind: Map
    module: torch.nn.Module
    outputs: int
    inputs: int
    positions: int
    runs: int
    activation: str | None
    unmeasured: Unmeasured | None

    @property
    def weight(self) -> torch.Tensor:
        """The weight as a matrix, ``(outputs, inputs)``, float64, on the CPU."""
        weight: Any = self.module.weight
        matrix: torch.Tensor = weight.detach().cpu().double()
        return matrix.T if self.kind is Map.TRANSPOSED else matrix.reshape(self.outputs, self.inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Layers that are given the same tensor, in the same way: their activations are measured once.

    Attributes
    ----------
    layers
        At least one; the first one is watched.
    """

    layers: tuple[ActivationLayer, ...]

    @property
    def features(self) -> int:
        """Numbers of a row."""
        return self.layers[0].inputs


def chosen_names(network: Network, include: Sequence[str], exclude: Sequence[str]) -> dict[str, Map]:
    """Return names and kinds of the linear and convolution layers that the patterns leave.

    Raises
    ------
    UsageError
        RA-AC-002: there is none.
    """
    kinds = {name: map_of(module) for name, module in network.module.named_modules()}
    names = [name for name, kind in kinds.items() if kind in KINDS]
    if not names:
        raise UsageError("RA-AC-002", "The network has no linear or convolution layer.", where=network.name)
    kept = [name for name in names if is_chosen((name,), include, exclude)]
    if not kept:
        words = (*include, *exclude)
        shown = ", ".join(repr(display_name(each)) for each in words)
        raise UsageError(
            "RA-AC-002",
            f"No layer matches the patterns {shown}.{display_name(suggestion(words[0], names))}",
            hint="* matches any text: --include '*.mlp.*'.",
            where=network.name,
        )
    return {name: kinds[name] for name in kept}


def sites_of(network: Network, samples: Samples, chosen: dict[str, Map]) -> list[Site]:
    """Run a trial on up to two samples and return the layers by what they are given.

    Layers that are not measured have a site of their own, at the end.
    """
    batch = samples.batch(network, range(min(2, len(samples))))
    modules = dict(network.module.named_modules())
    given: dict[str, tuple[torch.Tensor | None, int]] = {}
    runs = dict.fromkeys(chosen, 0)
    watch = ActivationWatch()

    def noting(name: str) -> Any:
        def note(_module: torch.nn.Module, args: tuple[Any, ...], returned: Any) -> None:
            runs[name] += 1
            if runs[name] == 1:
                tensor = args[0] if args and isinstance(args[0], torch.Tensor) else None
                given[name] = (tensor, 0 if tensor is None else tensor._version)
                watch.note_output(name, returned)

        return note

    with ExitStack() as stack:
        for name in chosen:
            stack.callback(modules[name].register_forward_hook(noting(name)).remove)
        for module in modules.values():
            stack.callback(module.register_forward_pre_hook(watch.hook).remove)
        stack.enter_context(torch.no_grad())
        stack.enter_context(watch)
        network.output(batch)
    sites: list[list[ActivationLayer]] = []
    places: dict[Any, int] = {}
    apart: list[ActivationLayer] = []
    order = [*given, *(name for name in chosen if name not in given)]
    for name in order:
        tensor, version = given.get(name, (None, 0))
        layer = _layer(
            name,
            modules[name],
            chosen[name],
            given=tensor,
            runs=runs[name],
            activation=watch.functions.get(name),
            samples=len(batch),
        )
        if layer.unmeasured is not None:
            apart.append(layer)
            continue
        key = (id(tensor), version, layer.kind is Map.CONVOLUTION and name)
        if key not in places:
            places[key] = len(sites)
            sites.append([])
        sites[places[key]].append(layer)
    return [Site(layers=tuple(each)) for each in sites] + [Site(layers=(each,)) for each in apart]


def _layer(
    name: str,
    module: torch.nn.Module,
    kind: Map,
    *,
    given: torch.Tensor | None,
    runs: int,
    activation: str | None,
    samples: int,
) -> ActivationLayer:
    weight: Any = module.weight
    outputs, inputs = weight.shape[0], weight[0].numel()
    if kind is Map.TRANSPOSED:
        outputs, inputs = inputs, outputs
    unmeasured, positions = None, 0
    if not runs:
        unmeasured = Unmeasured.NOT_RUN
    elif given is None or given.ndim < 2 or len(given) != samples:
        unmeasured = Unmeasured.NO_ROWS
    else:
        positions = rows_by_sample(module, kind, given[:1]).shape[1]
    return ActivationLayer(
        name=name,
        kind=kind,
        module=module,
        outputs=outputs,
        inputs=inputs,
        positions=positions,
        runs=runs,
        activation=activation,
        unmeasured=unmeasured,
    )


def rows_by_sample(module: torch.nn.Module, kind: Map, given: torch.Tensor) -> torch.Tensor:
    """Return what the weight of a layer is applied to, shape ``(samples, positions, inputs)``."""
    if kind is Map.CONVOLUTION:
        return patches(module, given)
    return given.reshape(len(given), -1, given.shape[-1])
