r"""The weights of a base model with the updates of an adapter added: ``W + s B A``.

With a DoRA magnitude ``m`` the sum is scaled to it: :math:`m (W + s B A) / \lVert W + s B A \rVert`, with
the norm of each output (Liu et al. 2024, equation 5), or of each input where the magnitude has their number
(LyCORIS).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rmtaudit.matrices.adapter_bases import BaseIndex, Place
from rmtaudit.matrices.adapter_layers import AdapterError, Update, factor_of, update_of
from rmtaudit.matrices.adapter_scale import Scale
from rmtaudit.matrices.adapters import Adapter, Part, find_adapters
from rmtaudit.matrices.fused import Architecture, architecture, stores_inputs_first
from rmtaudit.matrices.layers import Layer
from rmtaudit.matrices.plan import LayerPlan
from rmtaudit.matrices.stated import order_of
from rmtaudit.matrices.tensors import TensorSpec

if TYPE_CHECKING:
    import torch

    Read = Callable[[str], torch.Tensor]

PREFIX = "merged"
"""What the name of a merged weight begins with, before a colon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """A weight of the base and the updates that are added to it.

    Attributes
    ----------
    name
        Of the merged weight: ``merged:`` and the name of the base's tensor.
    base
        The tensor of the base.
    words
        What is added, for the view of the row.
    additions
        What each update does to the stored tensor, in order.
    """

    name: str
    base: TensorSpec
    words: str
    additions: tuple[_Addition, ...]

    def apply(self, weight: torch.Tensor, read: Read) -> torch.Tensor:
        """Return the merged weight, of the shape of the base's tensor: float32, or float64 where that is.

        Parameters
        ----------
        weight
            The values of the base's tensor; not changed.
        read
            Reads a tensor of the adapter by its name.
        """
        import torch

        merged = weight if weight.dtype == torch.float64 else weight.float()
        for addition in self.additions:
            merged = addition.apply(merged, read)
        return merged


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmerged:
    """An update that cannot be merged, and why; ``shape`` is that of the update where it is known."""

    name: str
    shape: tuple[int, ...]
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Merges:
    """All updates of an adapter, merged and not merged, and the tensors of the base that have one."""

    merged: tuple[Merge, ...]
    unmerged: tuple[Unmerged, ...]
    updated: frozenset[str]


class MergeError(ValueError):
    """An update does not belong to a weight, or does not fit it; the message says why."""


_Matrix = Callable[["torch.Tensor", Callable[["torch.Tensor"], "torch.Tensor"]], "torch.Tensor"]
"""From a stored tensor, and what is done to the matrix outputs x inputs in it, to the changed tensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Addition:
    adapter: Adapter
    update: Update
    scale: Scale
    part: str
    matrix: _Matrix
    per_input: bool

    def apply(self, weight: torch.Tensor, read: Read) -> torch.Tensor:
        given = {part: read(spec.name) for part, spec in self.adapter.parts.items()}
        factor = factor_of(self.scale, given)
        if self.update.stack is not None:
            return self._applied_to_stack(weight, given, factor)
        delta = (self.update.dense(given) * factor).to(weight.dtype)
        delta = delta.T if self.adapter.embedding else delta

        def added(matrix: torch.Tensor) -> torch.Tensor:
            merged = matrix + delta
            magnitude = given.get(Part.MAGNITUDE)
            if magnitude is None:
                return merged
            norms = merged.norm(dim=0 if self.per_input else 1, keepdim=True)
            scaled: torch.Tensor = merged * (magnitude.to(merged.dtype).reshape(norms.shape) / norms)
            return scaled

        return self.matrix(weight, added)

    def _applied_to_stack(
        self, weight: torch.Tensor, given: Mapping[Part, torch.Tensor], factor: float
    ) -> torch.Tensor:
        import torch

        merged = []
        for index, one in enumerate(weight):
            delta = (
                self.update.dense({part: each[index : index + 1] for part, each in given.items()}) * factor
            )
            merged.append(self.matrix(one, delta.to(weight.dtype).add))
        return torch.stack(merged)


def find_merges(
    adapter: Iterable[TensorSpec],
    base: Sequence[TensorSpec],
    plan: LayerPlan,
    *,
    adapter_config: Mapping[str, Any],
    config: Mapping[str, Any],
) -> Merges:
    """Return every update of an adapter with the weight of the base that it belongs to.

    Parameters
    ----------
    adapter
        The tensors of the adapter.
    base
        The tensors of the base.
    plan
        That of the base, its convolutions flattened.
    adapter_config
        The ``adapter_config.json`` of the adapter, or what stands for it.
    config
        The ``config.json`` of the base.
    """
    specs = {spec.name: spec for spec in base}
    target = _Base(
        specs=specs,
        index=BaseIndex(name for name, spec in specs.items() if len(spec.shape) > 1),
        plan=plan,
        known=architecture(specs, config),
    )
    groups: dict[tuple[str, str], list[_Addition]] = {}
    unmerged = []
    for each in find_adapters({spec.name: spec for spec in adapter}):
        shape: tuple[int, ...] = ()
        try:
            update, scale = update_of(each, adapter_config)
            shape = update.shape if update.stack is None else (update.stack, *update.shape)
            spec, addition = _placed(each, update, scale, target, adapter_config)
            group = groups.setdefault((spec.name, each.label), [])
            _check_apart(addition, group)
        except (AdapterError, MergeError) as error:
            name = f"{PREFIX}:{each.name}"
            unmerged.append(Unmerged(name=name, shape=shape, problem=str(error)))
        else:
            group.append(addition)
    return Merges(
        merged=tuple(_merge(specs[tensor], label, group) for (tensor, label), group in groups.items()),
        unmerged=tuple(unmerged),
        updated=frozenset(tensor for tensor, _ in groups),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """A base model: its tensors by name, where its modules keep their weights, its plan and architecture."""

    specs: Mapping[str, TensorSpec]
    index: BaseIndex
    plan: LayerPlan
    known: Architecture

    def layers_of(self, tensor: str) -> list[Layer]:
        """Return the layers of a tensor. Raises ``MergeError`` where it is none."""
        layers = [layer for layer in self.plan.layers if layer.tensor == tensor]
        if not layers:
            reasons = (each.reason for each in self.plan.skipped if each.spec.name == tensor)
            reason = next(reasons, "its weight is stored as several tensors")
            raise MergeError(f"the weight of the base is not analysed: {reason}")
        if any(len(layer.tensors) > 1 for layer in layers):
            raise MergeError("the base stores the weight as several tensors (weight norm, spectral norm)")
        return layers


def _placed(
    adapter: Adapter, update: Update, scale: Scale, base: _Base, adapter_config: Mapping[str, Any]
) -> tuple[TensorSpec, _Addition]:
    """Return the tensor of the base that an update is for, and what is added to it."""
    if not (scale.stated or adapter.by_convention):
        raise MergeError(f"nothing states the scale of the update ({scale.words})")
    place = base.index.find(adapter.stem)
    if isinstance(place, str):
        raise MergeError(place)
    spec, layers = base.specs[place.tensor], base.layers_of(place.tensor)
    shape = update.shape[::-1] if adapter.embedding else update.shape
    inputs_first = adapter_config.get("fan_in_fan_out") is True or stores_inputs_first(spec, base.known)
    if place.part:
        matrix = _of_part(spec, place, layers, shape)
    else:
        matrix = _of_whole(spec, shape, update.stack, inputs_first=inputs_first)
    return spec, _Addition(
        adapter=adapter,
        update=update,
        scale=scale,
        part=place.part,
        matrix=matrix,
        per_input=_per_input(adapter, shape),
    )


def _check_apart(addition: _Addition, group: Sequence[_Addition]) -> None:
    """Raise ``MergeError`` if another update is for the same entries of the weight."""
    if any(not addition.part or other.part in {"", addition.part} for other in group):
        raise MergeError("another update belongs to the same weight of the base")


def _merge(spec: TensorSpec, label: str, additions: list[_Addition]) -> Merge:
    words = "; ".join(_words(addition) for addition in additions)
    name = f"{PREFIX}{f'[{label}]' if label else ''}:{spec.name}"
    return Merge(name=name, base=spec, words=f"base weight + {words}", additions=tuple(additions))


def _words(addition: _Addition) -> str:
    rank = addition.update.rank
    words = f"{addition.adapter.method.value} update" + (f" of rank {rank}" if rank else "")
    words += f" of {addition.part}" if addition.part else ""
    words += f", {addition.scale.words}"
    if Part.MAGNITUDE in addition.adapter.parts:
        words += ", with its DoRA magnitude per " + ("input" if addition.per_input else "output")
    return words


def _of_part(spec: TensorSpec, place: Place, layers: Sequence[Layer], shape: tuple[int, int]) -> _Matrix:
    """Return the matrix that is a part of a fused weight; its entries are found by their positions."""
    layer = next((each for each in layers if each.name == f"{spec.name}#{place.part}"), None)
    if layer is None:
        raise MergeError("the base fuses the weight with others, and config.json does not state how")
    if layer.shape != shape:
        raise _misfit(shape, layer.shape)

    def change(weight: torch.Tensor, added: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        import torch

        positions = torch.arange(weight.numel()).reshape(weight.shape)
        positions = positions if layer.band is None else positions[slice(*layer.band)]
        (chosen,) = layer.build((positions,))
        flat = weight.reshape(-1).clone()
        flat[chosen] = added(flat[chosen])
        return flat.reshape(weight.shape)

    return change


def _of_whole(spec: TensorSpec, shape: tuple[int, int], stack: int | None, *, inputs_first: bool) -> _Matrix:
    """Return the matrix that is all of a tensor, outputs first, or of each entry of a stack."""
    sides = spec.shape
    axes = spec.role.axes if spec.role is not None else ""
    if stack is not None:
        if sides[0] != stack or len(sides) != 3:
            raise _misfit((stack, *shape), sides)
        sides, axes = sides[1:], axes.removeprefix("E")
    order = order_of(axes) if axes else _order(sides, shape, inputs_first=inputs_first)
    ordered = tuple(sides[side] for side in order)
    rows = ordered[0] * (ordered[1] if "M" in axes else 1)
    if (rows, math.prod(ordered) // max(rows, 1)) != shape or "E" in axes:
        raise _misfit(shape, spec.shape)
    back = sorted(range(len(order)), key=order.__getitem__)

    def change(weight: torch.Tensor, added: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        return added(weight.permute(order).reshape(shape)).reshape(ordered).permute(back).contiguous()

    return change


def _order(sides: tuple[int, ...], shape: tuple[int, int], *, inputs_first: bool) -> tuple[int, ...]:
    """Return the order of the sides with the outputs first, where the container does not state it."""
    stored = tuple(range(len(sides)))
    if len(sides) != 2 or sides == shape != sides[::-1]:
        return stored
    return stored[::-1] if inputs_first or sides != shape else stored


def _per_input(adapter: Adapter, shape: tuple[int, int]) -> bool:
    """Whether a DoRA magnitude has a value for each input, not for each output."""
    magnitude = adapter.parts.get(Part.MAGNITUDE)
    if magnitude is None:
        return False
    sides = magnitude.shape
    if adapter.embedding:
        raise MergeError("a DoRA magnitude of an embedding")
    per_output = magnitude.parameters == shape[0]
    of_inputs = len(sides) > 1 and sides[0] == 1 and not magnitude.name.startswith(f"{adapter.stem}.lora_")
    if of_inputs and magnitude.parameters == shape[1]:
        return True
    if per_output:
        return False
    raise MergeError(f"a DoRA magnitude of shape {_text(sides)} for a weight {_text(shape)}")


def _misfit(update: tuple[int, ...], weight: tuple[int, ...]) -> MergeError:
    return MergeError(f"the update is {_text(update)}, the weight of the base {_text(weight)}")


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def without_update(layers: Iterable[Layer], merges: Merges) -> Iterator[str]:
    """Yield the tensors of the base's layers that no update is added to, each once, in stored order."""
    yield from dict.fromkeys(layer.tensor for layer in layers if layer.tensor not in merges.updated)
