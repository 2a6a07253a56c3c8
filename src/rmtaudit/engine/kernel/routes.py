"""By which route the Jacobian of each parameter is had, decided by a trial and checked against autograd."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch

from rmtaudit.engine.kernel.layers import Map, map_of
from rmtaudit.engine.kernel.tracing import Call, traced
from rmtaudit.engine.networks import Batch, Network
from rmtaudit.errors import InputError, UsageError


class Route(StrEnum):
    """How the Jacobian of a parameter is had."""

    FACTORS = "factors"
    """Inputs and output gradients of the layers that hold it."""
    MODULE = "module"
    """Derivatives of the smallest module around it that has a row for each sample, batched over samples."""
    SAMPLES = "samples"
    """Autograd, one sample at a time: right for whatever a network does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A module that holds a parameter, itself or in a module within it, and under which name of its own."""

    module: str
    attribute: str
    kind: Map


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of a network, which may be held by several modules.

    Attributes
    ----------
    name
        The first of its names.
    value
        The parameter.
    holders
        Modules that hold it.
    route
        How its Jacobian is had.
    why
        Why it is not had from factors; empty where it is.
    """

    name: str
    value: torch.nn.Parameter
    holders: tuple[Holder, ...]
    route: Route
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """The parameters of a network with their routes.

    Attributes
    ----------
    parameters
        Those that require gradients.
    modules
        Modules whose calls are noted, by name.
    calls
        How often each of them is called.
    widened
        As of :class:`~rmtaudit.engine.kernel.tracing.Trace`.
    """

    parameters: tuple[Parameter, ...]
    modules: Mapping[str, torch.nn.Module]
    calls: Mapping[str, int]
    widened: frozenset[str] = frozenset()

    def of(self, route: Route) -> tuple[Parameter, ...]:
        """Return the parameters of one route."""
        return tuple(each for each in self.parameters if each.route is route)

    def count(self) -> int:
        """Return the number of numbers in all parameters."""
        return sum(each.value.numel() for each in self.parameters)

    def moved(self, why: Mapping[str, str]) -> Routes:
        """Return routes with some parameters, by name, moved to the one that is always right."""
        parameters = tuple(
            Parameter(
                name=each.name,
                value=each.value,
                holders=each.holders,
                route=Route.SAMPLES,
                why=why[each.name],
            )
            if each.name in why
            else each
            for each in self.parameters
        )
        return _with_modules(parameters, self.modules, self.calls, self.widened)


def routes_of(network: Network, trials: Sequence[Batch]) -> Routes:
    """Return the routes that the calls of two batches of different sizes allow.

    Parameters
    ----------
    network
        Parameters that require no gradient are left out.
    trials
        Two batches of different numbers of samples.

    Raises
    ------
    UsageError
        RA-KN-003: no parameter requires a gradient.
    """
    modules = dict(network.module.named_modules(remove_duplicate=True))
    holders = {
        name: each for name, each in modules.items() if any(True for _ in each.parameters(recurse=False))
    }
    tables = frozenset(name for name, each in holders.items() if map_of(each) is Map.TABLE)
    widened, observed = tables, []
    try:
        observed = [_calls(network, modules, batch, tables) for batch in trials]
    except InputError:  # what takes the output of a table does not take it repeated
        widened = frozenset()
        observed = [_calls(network, modules, batch, widened) for batch in trials]
    sizes = [len(batch) for batch in trials]

    def fits(name: str, kind: Map) -> str:
        return _fits([calls.get(name, []) for calls in observed], sizes, kind)

    held: dict[int, list[Holder]] = {}
    first: dict[int, tuple[str, torch.nn.Parameter]] = {}
    for name, module in holders.items():
        for attribute, value in module.named_parameters(recurse=False, remove_duplicate=False):
            if not value.requires_grad or not value.is_floating_point():
                continue
            held.setdefault(id(value), []).append(
                Holder(module=name, attribute=attribute, kind=map_of(module))
            )
            first.setdefault(id(value), (f"{name}.{attribute}".lstrip("."), value))
    if not first:
        raise UsageError("RA-KN-003", "No parameter of the network requires a gradient.", where=network.name)
    used = _used(network, trials[-1], [value for _, value in first.values()])
    parameters = []
    for key, (name, value) in first.items():
        route, why = _route(held[key], fits)
        alone = route is Route.SAMPLES and len(held[key]) == 1 and key in used
        around = _around(held[key][0], fits) if alone else None
        if around is not None:
            route, held[key] = Route.MODULE, [around]
        parameters.append(Parameter(name=name, value=value, holders=tuple(held[key]), route=route, why=why))
    calls = {name: len(each) for name, each in observed[0].items()}
    return _with_modules(tuple(parameters), modules, calls, widened)


def _with_modules(
    parameters: tuple[Parameter, ...],
    modules: Mapping[str, torch.nn.Module],
    calls: Mapping[str, int],
    widened: frozenset[str],
) -> Routes:
    wanted = {
        holder.module for each in parameters if each.route is not Route.SAMPLES for holder in each.holders
    }
    return Routes(
        parameters=parameters,
        modules={name: module for name, module in modules.items() if name in wanted},
        calls={name: calls.get(name, 0) for name in modules if name in wanted},
        widened=widened & wanted,
    )


def _used(network: Network, batch: Batch, values: list[torch.nn.Parameter]) -> frozenset[int]:
    """Return the identities of the parameters on which what the network returns for a batch depends."""
    total = network.output(batch).sum()
    gradients = torch.autograd.grad(total, values, allow_unused=True)
    return frozenset(
        id(value) for value, gradient in zip(values, gradients, strict=True) if gradient is not None
    )


def _calls(
    network: Network, modules: Mapping[str, torch.nn.Module], batch: Batch, widened: frozenset[str]
) -> dict[str, list[Call]]:
    with traced(modules, len(batch), widened) as trace:
        network.output(batch)
    calls: dict[str, list[Call]] = {}
    for call in trace.calls:
        calls.setdefault(call.name, []).append(call)
    return calls


def _fits(observed: Sequence[list[Call]], sizes: Sequence[int], kind: Map) -> str:
    """Return why the calls of a module do not give its Jacobian, or nothing.

    In every call each sample must have a row of its own, in what is given and in what is returned.
    """
    counts = Counter(len(calls) for calls in observed)
    if len(counts) > 1:
        return "how often the layer runs depends on the samples"
    if 0 in counts:
        return "the layer never runs: its parameter is used elsewhere, or not at all"
    for calls, size in zip(observed, sizes, strict=True):
        for call in calls:
            if call.edge is None:
                return "the layer returns no tensor that has a gradient"
            if not call.shape or call.shape[0] != size:
                return "the layer's output has no row for each sample"
            given = [each for each in (*call.args, *call.kwargs.values()) if isinstance(each, torch.Tensor)]
            if not given or given[0].ndim == 0 or given[0].shape[0] != size:
                return "the layer's input has no row for each sample"
            if call.changed:
                return "the layer's input is changed in place"
            if kind is Map.OTHER and not _simple(call):
                return "the layer takes something other than tensors and settings"
    if kind is Map.OTHER and counts != {1: len(observed)}:
        return "a layer of no known kind runs more than once"
    return ""


def _simple(call: Call) -> bool:
    plain = (torch.Tensor, bool, int, float, str, type(None))
    return all(isinstance(each, plain) for each in (*call.args, *call.kwargs.values()))


def _around(holder: Holder, fits: Callable[[str, Map], str]) -> Holder | None:
    """Return the smallest module around a parameter's own whose calls give its Jacobian."""
    path = holder.module.split(".") if holder.module else []
    attribute = holder.attribute
    while path:
        attribute = f"{path.pop()}.{attribute}"
        if not fits(".".join(path), Map.OTHER):
            return Holder(module=".".join(path), attribute=attribute, kind=Map.OTHER)
    return None


def _route(holders: Sequence[Holder], fits: Callable[[str, Map], str]) -> tuple[Route, str]:
    reasons = [fits(each.module, each.kind) for each in holders]
    if any(reasons):
        return Route.SAMPLES, next(filter(None, reasons))
    kinds = {each.kind for each in holders}
    if Map.OTHER not in kinds:
        if Map.TRANSPOSED in kinds and len(kinds) > 1:
            return Route.SAMPLES, "it is shared by layers of different orientation"
        if len({each.attribute for each in holders}) > 1:
            return Route.SAMPLES, "it is shared as a weight and as a bias"
        return Route.FACTORS, ""
    if len(holders) > 1:
        return Route.SAMPLES, "it is shared by layers of no known kind"
    return Route.MODULE, "its layer is of no known kind"
