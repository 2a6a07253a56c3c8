"""Which tensors are weight matrices, of what kind, as how many matrices and in which view."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rmtaudit.matrices import roles, views
from rmtaudit.matrices.adapter_layers import AdapterError, layers_of_adapter
from rmtaudit.matrices.adapters import Adapter, find_adapters
from rmtaudit.matrices.forms import decides_alone, name_forms
from rmtaudit.matrices.fused import Architecture, architecture, fused_layers
from rmtaudit.matrices.layers import (
    CONVOLUTIONS,
    Build,
    ConvPolicy,
    Layer,
    LayerKind,
    convolution,
    part,
    rows_split,
    whole,
)
from rmtaudit.matrices.layouts import LONGEST_KERNEL, Layout, layout, names_kernel
from rmtaudit.matrices.parametrised import (
    NOT_UNDONE,
    Parametrised,
    is_original,
    layers_of_weight,
    parametrised_weights,
)
from rmtaudit.matrices.refusals import NotAnalysed, refusal
from rmtaudit.matrices.sharing import Shared, StorageView, shared_elements
from rmtaudit.matrices.skips import Skip, SkipReason
from rmtaudit.matrices.stated import layers_of_role
from rmtaudit.matrices.tensors import TensorSpec


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """Every tensor of a checkpoint, as a layer or as not analysed.

    ``shared``: by the name of the tensor, how many of its elements other tensors have that are counted before
    it: slices and transposes of one storage.
    """

    layers: tuple[Layer, ...]
    skipped: tuple[NotAnalysed, ...]
    shared: Mapping[str, int] = field(default_factory=dict)

    def counted(self, spec: TensorSpec) -> int:
        """Return the number of elements of a tensor that no other tensor has that is counted before it."""
        return spec.parameters - self.shared.get(spec.name, 0)


def plan_layers(
    specs: Iterable[TensorSpec],
    *,
    conv: ConvPolicy = "flattened",
    config: Mapping[str, Any] | None = None,
    adapter_config: Mapping[str, Any] | None = None,
) -> LayerPlan:
    """Decide what every tensor of a checkpoint is, from names, shapes and dtypes alone.

    Parameters
    ----------
    specs
        All tensors, in stored order.
    conv
        ``flattened``: a kernel is one matrix, out x (in kh kw). ``slices-pooled``: one matrix out x in a
        kernel position, their eigenvalues pooled in one row. ``slices``: a row a position.
    config
        The model's ``config.json``, where there is one.
    adapter_config
        The ``adapter_config.json`` of a low-rank adapter, where there is one.

    Returns
    -------
    LayerPlan
        In stored order. Every tensor is in exactly one of: the ``tensors`` of a layer, ``skipped``; only
        the vectors of a spectral norm are in both: the layer takes them, and they are no parameters.
    """
    planned = plan_tensors(specs, conv=conv, config=config, adapter_config=adapter_config)
    layers: list[Layer] = []
    skipped: list[NotAnalysed] = []
    for spec, outcome in planned.outcomes:
        layers.extend(outcome.layers_of(spec))
        skipped.extend(outcome.skipped_of(spec))
    return LayerPlan(tuple(layers), tuple(skipped), planned.shared)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What becomes of a tensor, and of every other that differs from it in the numbers of its name alone.

    Attributes
    ----------
    layers
        Its layers, under its name; empty where it is not analysed or is part of a layer of another tensor.
    skipped
        What is not analysed: the tensor, or every tensor of an update or of a weight.
    """

    layers: tuple[Layer, ...] = ()
    skipped: tuple[NotAnalysed, ...] = ()

    def layers_of(self, spec: TensorSpec) -> Iterator[Layer]:
        """Yield the layers under the name of a tensor of this outcome."""
        for layer in self.layers:
            yield layer if layer.tensor == spec.name else _renamed(layer, spec)

    def skipped_of(self, spec: TensorSpec) -> Iterator[NotAnalysed]:
        """Yield what is not analysed, with a tensor of this outcome in place of the first."""
        for each in self.skipped:
            shared = len(self.skipped) == 1 and each.spec.name != spec.name
            yield replace(each, spec=spec) if shared else each


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """Every tensor of a checkpoint with its outcome, in stored order; tensors that are alike share one.

    ``shared`` is that of :class:`LayerPlan`.
    """

    outcomes: tuple[tuple[TensorSpec, Outcome], ...]
    shared: Mapping[str, int]


def plan_tensors(
    specs: Iterable[TensorSpec],
    *,
    conv: ConvPolicy = "flattened",
    config: Mapping[str, Any] | None = None,
    adapter_config: Mapping[str, Any] | None = None,
) -> TensorPlan:
    """Decide what every tensor of a checkpoint is; as :func:`plan_layers`.

    The decision on most tensors takes their name, shape and dtype alone, and in the name no number between
    dots matters: those of a model of a hundred thousand tensors are taken a few dozen times.
    """
    by_name = {spec.name: spec for spec in specs}
    known = architecture(by_name, config or {})
    shared = shared_elements(by_name.values())
    originals = _originals(by_name.values()) | {
        name: each.first for name, each in shared.items() if each.elements == by_name[name].parameters
    }
    adapters = {next(iter(each.parts.values())).name: each for each in find_adapters(by_name)}
    taken = {spec.name for each in adapters.values() for spec in each.parts.values()}
    made = {
        name: each
        for name, each in parametrised_weights(by_name).items()
        if not originals.keys() & each.tensors
    }
    taken |= {name for each in made.values() for name in each.tensors[1:]}
    state = {name for each in made.values() for name in each.state}
    stored = {**by_name, **{each.weight.name: each.weight for each in made.values()}} if made else by_name

    def outcome_of(spec: TensorSpec) -> Outcome:
        if spec.name in adapters:
            return _of_adapter(adapters[spec.name], adapter_config or {}, originals)
        if spec.name in taken:
            skip = Skip(SkipReason.BUFFER)
            vector = NotAnalysed(spec=spec, skip=skip, weight=False, learned=False)
            return Outcome(skipped=(vector,) if spec.name in state else ())
        if spec.name in originals:
            return Outcome(skipped=(_tied(spec, originals[spec.name]),))
        refused = refusal(spec, by_name)
        if refused is not None:
            return Outcome(skipped=(refused,))
        planned = tuple(_layers_of(spec, stored, conv, known, made.get(spec.name)))
        if all(_is_vector(layer) for layer in planned):
            skip = _vector(spec, planned)
            parts = made[spec.name].parameters if spec.name in made else (spec.name,)
            return Outcome(
                skipped=tuple(NotAnalysed(spec=by_name[name], skip=skip, weight=True) for name in parts)
            )
        return Outcome(layers=tuple(_counted_once(planned, by_name, shared)))

    special = taken | adapters.keys() | originals.keys() | made.keys() | shared.keys()
    outcomes: list[tuple[TensorSpec, Outcome]] = []
    alike: dict[tuple[str, tuple[int, ...], str], Outcome] = {}
    for spec, form in zip(by_name.values(), name_forms(by_name), strict=True):
        if spec.name in special or spec.role is not None or spec.unreadable is not None:
            outcomes.append((spec, outcome_of(spec)))
            continue
        key = (form, spec.shape, spec.dtype)
        outcome = alike.get(key)
        if outcome is None:
            outcome = outcome_of(spec)
            if decides_alone(form, len(spec.shape)):
                alike[key] = outcome
        outcomes.append((spec, outcome))
    return TensorPlan(tuple(outcomes), {name: each.elements for name, each in shared.items()})


def _renamed(layer: Layer, spec: TensorSpec) -> Layer:
    """Return the layer of a tensor that is alike to that of a layer."""
    name = f"{spec.name}{layer.name[len(layer.tensor) :]}"
    return replace(layer, name=name, tensor=spec.name, tensors=(spec.name,), encoding=spec.encoding)


def _counted_once(
    layers: Iterable[Layer], by_name: Mapping[str, TensorSpec], shared: Mapping[str, Shared]
) -> Iterator[Layer]:
    """Yield the layers without the parameters that those of other tensors count."""
    for layer in layers:
        elements = sum(shared[name].elements for name in layer.tensors if name in shared)
        if not elements:
            yield layer
            continue
        stored = sum(by_name[name].parameters for name in layer.tensors)
        view = f"{layer.view}; shares {elements} of {stored} elements with other tensors"
        yield replace(layer, parameters=layer.parameters * (stored - elements) // stored, view=view)


def _originals(specs: Iterable[TensorSpec]) -> dict[str, str]:
    """Return the first name of the same bytes, by each name that is not the first."""
    first_of: dict[object, str] = {}
    originals = {}
    for spec in specs:
        if type(spec.alias) is StorageView and spec.unreadable is None:
            continue  # compared by their elements
        if spec.alias is not None and (first := first_of.setdefault(spec.alias, spec.name)) != spec.name:
            originals[spec.name] = first
    return originals


def _tied(spec: TensorSpec, original: str) -> NotAnalysed:
    skip = Skip.of(SkipReason.TIED, what="storage", original=original)
    return NotAnalysed(spec=spec, skip=skip, weight=len(spec.shape) > 1, counted=False)


def _of_adapter(adapter: Adapter, config: Mapping[str, Any], originals: Mapping[str, str]) -> Outcome:
    """Return the layers of an adapter, or the reason why there are none for each of its tensors."""
    specs = adapter.parts.values()
    if all(spec.name in originals for spec in specs if len(spec.shape) > 1):
        skip = Skip.of(SkipReason.ADAPTER, problem="part of an update that is tied")
        return Outcome(
            skipped=tuple(
                _tied(spec, originals[spec.name])
                if spec.name in originals
                else NotAnalysed(spec=spec, skip=skip, weight=False)
                for spec in specs
            )
        )
    try:
        return Outcome(layers=tuple(layers_of_adapter(adapter, config)))
    except AdapterError as error:
        problem = f"{adapter.method.value} update that cannot be analysed: {error}"
        skip = Skip.of(SkipReason.ADAPTER, problem=problem)
        return Outcome(
            skipped=tuple(NotAnalysed(spec=spec, skip=skip, weight=len(spec.shape) > 1) for spec in specs)
        )


def _vector(spec: TensorSpec, layers: Sequence[Layer]) -> Skip:
    sides = " x ".join(map(str, spec.shape))
    if sum(side > 1 for side in spec.shape) < 2 or not layers:
        return Skip.of(SkipReason.VECTOR, sides=sides)
    rows, cols = layers[0].shape
    return Skip.of(SkipReason.VECTOR_VIEW, sides=sides, rows=rows, cols=cols, view=layers[0].view)


def _is_vector(layer: Layer) -> bool:
    return min(layer.shape) < 2 and layer.matrices == 1


def _layers_of(
    spec: TensorSpec,
    by_name: Mapping[str, TensorSpec],
    conv: ConvPolicy,
    known: Architecture,
    parametrised: Parametrised | None,
) -> Iterator[Layer]:
    """Yield the layers of a tensor, or of the weight that it makes with others."""
    if parametrised is not None:
        parameters = sum(by_name[name].parameters for name in parametrised.parameters)
        planned = _layers_of(parametrised.weight, by_name, conv, known, None)
        yield from layers_of_weight(parametrised, planned, parameters)
        return
    fused = list(fused_layers(spec, known)) if spec.role is None else []
    for layer in fused or _of_tensor(spec, by_name, conv):
        yield replace(layer, view=f"{layer.view}{NOT_UNDONE}") if is_original(spec.name) else layer


def _of_tensor(spec: TensorSpec, by_name: Mapping[str, TensorSpec], conv: ConvPolicy) -> Iterator[Layer]:
    if spec.role is not None:
        yield from layers_of_role(spec, spec.role, conv)
        return
    long_sides = tuple(side for side in spec.shape if side > 1)
    if len(spec.shape) == 2:
        yield from _two_dimensional(spec, spec.shape, by_name)
    elif len(long_sides) == 2 and _is_no_kernel(spec):
        kind = LayerKind.EMBEDDING if roles.is_embedding(spec.name) else LayerKind.DENSE
        yield whole(spec, kind, "as stored, sides of length 1 left out", long_sides, views.squeezed)
    elif len(spec.shape) in CONVOLUTIONS:
        yield from _of_three_to_five(spec, layout(spec, by_name), conv)
    elif len(spec.shape) > 5:
        sides = (spec.shape[0], spec.parameters // spec.shape[0])
        view = f"flattened {sides[0]} x {sides[1]} (no known layout has {len(spec.shape)} sides)"
        yield whole(spec, LayerKind.STACKED, view, sides, views.flattened)


def _is_no_kernel(spec: TensorSpec) -> bool:
    """Whether a tensor with two sides longer than 1 is the matrix of these two, and no convolution.

    A batch side of 1 in front of two others says so, as position tables carry it, and a last side too long
    for a kernel.
    """
    if roles.names_convolution(spec.name) or names_kernel(spec.name):
        return False
    batch = len(spec.shape) == 3 and spec.shape[0] == 1
    return batch or max(spec.shape[2:]) > LONGEST_KERNEL


def _of_three_to_five(spec: TensorSpec, order: Layout, conv: ConvPolicy) -> Iterator[Layer]:
    shape = spec.shape
    if order is Layout.HEADS_LAST:
        sides = (shape[0], shape[1] * shape[2])
        yield whole(spec, LayerKind.DENSE, "in x heads*width", sides, views.flattened)
    elif order is Layout.HEADS_FIRST:
        sides = (shape[0] * shape[1], shape[2])
        yield whole(spec, LayerKind.DENSE, "heads*width x out", sides, views.leading_merged)
    elif order is Layout.KERNEL_FIRST:
        stored = replace(spec, shape=(shape[-1], shape[-2], *shape[:-2]))
        yield from _rearranged(convolution(stored, stored.shape, conv), views.kernel_last)
    elif order is Layout.DEPTHWISE:
        stored = replace(spec, shape=(shape[-1] * shape[-2], 1, *shape[:-2]))
        yield from _rearranged(convolution(stored, stored.shape, conv), views.depthwise_last)
    elif len(shape) == 3 and _is_stack(spec):
        kind = LayerKind.EXPERTS if roles.names_experts(spec.name) else LayerKind.STACKED
        for index in range(shape[0]):
            view = f"matrix {index} of {shape[0]}"
            yield part(spec, kind, str(index), view, shape[1:], band=(index, index + 1))
    else:
        yield from convolution(spec, shape, conv)


def _rearranged(layers: Iterator[Layer], first: Callable[[Build], Build]) -> Iterator[Layer]:
    for layer in layers:
        yield replace(layer, view=f"{layer.view}, stored kernel first", build=first(layer.build))


def _is_stack(spec: TensorSpec) -> bool:
    """Whether three sides are a stack of matrices.

    The name says so, or the last side is too long for a kernel or not the shortest. A side of 1 in the middle
    is that of a depthwise convolution.
    """
    if roles.names_experts(spec.name):
        return True
    first, second, kernel = spec.shape
    shortest = kernel <= min(first, second) or second == 1
    names = roles.names_convolution(spec.name) or names_kernel(spec.name)
    return not names and not (kernel <= LONGEST_KERNEL and shortest)


def _two_dimensional(
    spec: TensorSpec, shape: tuple[int, ...], by_name: Mapping[str, TensorSpec]
) -> Iterator[Layer]:
    rows, cols = shape
    gates = roles.gate_count(spec, by_name)
    if gates is not None:
        yield from rows_split(spec, LayerKind.RECURRENT, roles.GATES.get(gates, ()), rows, cols)
    elif roles.is_in_projection(spec):
        yield from rows_split(spec, LayerKind.ATTENTION, ("q", "k", "v"), rows, cols)
    else:
        kind = LayerKind.EMBEDDING if roles.is_embedding(spec.name) else LayerKind.DENSE
        yield whole(spec, kind, "as stored", (rows, cols), views.as_stored)
