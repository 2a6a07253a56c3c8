"""What the modules of a network are given and return while it runs on a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.autograd.graph import GradientEdge, get_gradient_edge


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a module.

    Attributes
    ----------
    name
        Of the module.
    args, kwargs
        What it was given.
    shape
        Of the tensor that it returned, alone or as the only tensor of a tuple.
    edge
        Where gradients by that tensor can be had, whatever is done to it in place afterwards; ``None`` where
        it returned something else, or something that has no gradient.
    versions
        How often the tensors that it was given had been changed in place.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    shape: tuple[int, ...]
    edge: GradientEdge | None
    versions: tuple[int, ...]

    @property
    def changed(self) -> bool:
        """Whether a tensor that it was given was changed in place since."""
        return self.versions != _versions(self.args, self.kwargs)


@dataclass(slots=True)
class Trace:
    """The calls of some modules, in their order.

    Attributes
    ----------
    samples
        Of the batch.
    widened
        Modules of one input that is the same for all samples, whose output is repeated for each: otherwise
        its gradient would be the sum over samples.
    calls
        So far.
    active
        Whether calls are noted.
    """

    samples: int
    widened: frozenset[str] = frozenset()
    calls: list[Call] = field(default_factory=list)
    active: bool = True


@contextmanager
def traced(
    modules: Mapping[str, torch.nn.Module], samples: int, widened: frozenset[str] = frozenset()
) -> Iterator[Trace]:
    """Note the calls of modules for as long as the block runs; arguments as of :class:`Trace`."""
    trace = Trace(samples, widened)
    handles = [
        module.register_forward_hook(_noting(trace, name), with_kwargs=True)
        for name, module in modules.items()
    ]
    try:
        yield trace
    finally:
        for handle in handles:
            handle.remove()


def _noting(trace: Trace, name: str) -> Any:
    def note(_module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], returned: Any) -> Any:
        if not trace.active:
            return None
        tensor, wide = only_tensor(returned), None
        if name in trace.widened and tensor is not None and tensor.shape[0] == 1 and trace.samples > 1:
            wide = tensor = tensor.expand(trace.samples, *tensor.shape[1:])
            args = tuple(each.expand(trace.samples, *each.shape[1:]) for each in args)
        trace.calls.append(
            Call(
                name=name,
                args=args,
                kwargs=dict(kwargs),
                shape=() if tensor is None else tuple(tensor.shape),
                edge=None if tensor is None or not tensor.requires_grad else get_gradient_edge(tensor),
                versions=_versions(args, kwargs),
            )
        )
        return wide

    return note


def only_tensor(returned: Any) -> torch.Tensor | None:
    """Return what a module returned, or the only tensor of the tuple that it returned."""
    if isinstance(returned, torch.Tensor):
        return returned
    if type(returned) is not tuple:
        return None
    tensors = [each for each in returned if isinstance(each, torch.Tensor)]
    others = [each for each in returned if each is not None and not isinstance(each, torch.Tensor)]
    return tensors[0] if len(tensors) == 1 and not others else None


def _versions(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(each._version for each in (*args, *kwargs.values()) if isinstance(each, torch.Tensor))


def output_gradients(
    outputs: torch.Tensor, places: Sequence[GradientEdge] | Sequence[torch.Tensor]
) -> list[torch.Tensor | None]:
    """Return the gradients of every output by some tensors, summed over samples.

    A sample's outputs depend on its own row of an activation only, so that the sum over samples holds the
    gradient of each: one backward pass for all outputs (``is_grads_batched``), or one an output where an
    operation cannot be batched.

    Parameters
    ----------
    outputs
        Shape ``(samples, outputs)``.
    places
        Activations or parameters.

    Returns
    -------
    list
        Of shape ``(outputs, *place)``; ``None`` where no output depends on it. The graph is kept.
    """
    samples, count = outputs.shape
    hot = torch.eye(count, dtype=outputs.dtype, device=outputs.device)
    cotangents = hot[:, None, :].expand(count, samples, count)
    inputs: Any = list(places)
    try:
        return list(
            torch.autograd.grad(
                outputs, inputs, cotangents, is_grads_batched=True, retain_graph=True, allow_unused=True
            )
        )
    except RuntimeError:  # an operation whose backward pass has no batching rule
        rows = [
            torch.autograd.grad(outputs, inputs, each, retain_graph=True, allow_unused=True)
            for each in cotangents.unbind()
        ]
        return [
            None if column[0] is None else torch.stack(list(column)) for column in zip(*rows, strict=True)
        ]
