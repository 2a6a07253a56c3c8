"""From an adapter to its layer: one row a module, the spectrum of its whole update."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rmtaudit.matrices import factors
from rmtaudit.matrices.adapter_scale import UNSCALED, Scale, by_stored_alpha, stated_scale
from rmtaudit.matrices.adapters import Adapter, Method, Part
from rmtaudit.matrices.layers import Build, Layer, LayerKind
from rmtaudit.matrices.tensors import UNIT_ROUNDOFF, TensorSpec

if TYPE_CHECKING:
    import torch

    Given = Mapping[Part, torch.Tensor]
    Product = Callable[[Given], torch.Tensor]
    _Pair = Callable[[Given], factors.Product]

LARGEST = 16_000_000
"""Most entries of a product that is formed, or of the factors that stand for it."""

_COMPANIONS = (Part.ALPHA, Part.MAGNITUDE)


class AdapterError(ValueError):
    """The factors of an adapter make no update that can be looked at; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The update of a module and how it is made.

    Attributes
    ----------
    shape
        Outputs and inputs (times the size of the kernel) of the update.
    rank
        Of its factors; ``None`` where nothing is factored.
    words
        How it is made, for the view of the row.
    core
        From the tensors by their part to a matrix with the nonzero singular values of the update, float64.
    dense
        From the same to the update itself, float64, without its scale.
    stack
        Number of updates in a stack: each takes one entry of the first side of every tensor.
    """

    shape: tuple[int, int]
    rank: int | None
    words: str
    core: Callable[[Mapping[Part, torch.Tensor]], torch.Tensor]
    dense: Callable[[Mapping[Part, torch.Tensor]], torch.Tensor]
    stack: int | None = None


def layers_of_adapter(adapter: Adapter, config: Mapping[str, Any]) -> Iterator[Layer]:
    """Yield the layer of an adapter, or one for each matrix of a stack of them.

    Parameters
    ----------
    adapter
        The tensors of one update.
    config
        ``adapter_config.json``, where there is one.

    Raises
    ------
    AdapterError
        The shapes do not fit, or the product is too large to form.
    """
    update, scale = update_of(adapter, config)
    specs = list(adapter.parts.values())
    words = f"{update.words}; {scale.words}"
    if Part.MAGNITUDE in adapter.parts:
        words += f"; a DoRA magnitude of {adapter.parts[Part.MAGNITUDE].parameters} values is ignored"
    layer = Layer(
        name=adapter.name,
        tensor=specs[0].name,
        tensors=tuple(spec.name for spec in specs),
        kind=LayerKind.ADAPTER,
        view=words,
        shape=update.shape[::-1] if adapter.embedding else update.shape,
        matrices=1,
        parameters=sum(spec.parameters for spec in specs),
        dtype=_coarsest(adapter),
        build=_scaled(tuple(adapter.parts), update.core, scale),
    )
    if update.stack is None:
        yield layer
        return
    for index in range(update.stack):
        yield replace(
            layer,
            name=f"{layer.name}#{index}",
            view=f"update {index} of {update.stack}: {words}",
            parameters=layer.parameters // update.stack,
            band=(index, index + 1),
        )


def update_of(adapter: Adapter, config: Mapping[str, Any]) -> tuple[Update, Scale]:
    """Return the update of an adapter and its scale.

    Parameters
    ----------
    adapter, config
        As of :func:`layers_of_adapter`.

    Raises
    ------
    AdapterError
        The shapes do not fit, or the product is too large to form.
    """
    update = _UPDATES[adapter.method](adapter)
    scale = _scale(adapter, update, config)
    if update.stack is not None and any(part in adapter.parts for part in _COMPANIONS):
        raise AdapterError("a stack of updates with an alpha or a magnitude")
    return update, scale


def factor_of(scale: Scale, given: Given) -> float:
    """Return the number that an update is multiplied by, with the stored alpha where it takes part."""
    return scale.factor * float(given[Part.ALPHA]) if scale.times_alpha else scale.factor


def _scaled(parts: tuple[Part, ...], product: Product, scale: Scale) -> Build:
    def build(tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        given = dict(zip(parts, tensors, strict=True))
        return (product(given) * factor_of(scale, given),)

    return build


def _scale(adapter: Adapter, update: Update, config: Mapping[str, Any]) -> Scale:
    if Part.ALPHA in adapter.parts:
        return by_stored_alpha(update.rank)
    if update.rank is None or not config or adapter.method is not Method.LORA:
        return UNSCALED
    scale = stated_scale(config, adapter.stem, update.rank)
    stated = config.get("r")
    if config.get("target_parameters") and type(stated) is int and 0 < stated < update.rank:
        raise AdapterError(f"updates of rank {stated} of several experts in one factor")
    return scale


def _coarsest(adapter: Adapter) -> str:
    dtypes = [spec.dtype for part, spec in adapter.parts.items() if part not in _COMPANIONS]
    return max(dtypes, key=UNIT_ROUNDOFF.__getitem__)


def _low_rank(adapter: Adapter) -> Update:
    down, up = adapter.parts[Part.DOWN], adapter.parts[Part.UP]
    kernel = adapter.parts.get(Part.CORE)
    if kernel is not None:
        return _with_kernel(down, kernel, up)
    if len(down.shape) == len(up.shape) == 2:
        return _of_matrices(down.shape, up.shape, transposed=adapter.transposed)
    pointwise = math.prod(up.shape[2:]) == 1
    if pointwise and up.shape[1] == down.shape[0]:
        rank, shape = down.shape[0], (up.shape[0], down.parameters // down.shape[0])
        return _of_factors(shape, rank, _of_rank(rank), _straight)
    if len(down.shape) == len(up.shape) == 3 and down.shape[0] == up.shape[0]:
        single = _of_matrices(down.shape[1:], up.shape[1:], transposed=adapter.transposed)
        return replace(single, stack=down.shape[0])
    raise _misfit(down, up)


def _of_matrices(down: tuple[int, ...], up: tuple[int, ...], *, transposed: bool) -> Update:
    """Return the update of two matrices that have one side in common: the shortest that they have."""
    ways = [(False, False), (True, True), (True, False), (False, True)]
    if transposed:
        ways[:2] = ways[1::-1]
    fitting = [
        (down[down_turned], index, down_turned, up_turned)
        for index, (down_turned, up_turned) in enumerate(ways)
        if down[down_turned] == up[not up_turned]
    ]
    if not fitting:
        raise AdapterError(f"{_sides(down)} and {_sides(up)} have no side in common")
    rank, _, down_turned, up_turned = min(fitting)

    def pair(given: Given) -> factors.Product:
        a, b = given[Part.DOWN].reshape(down), given[Part.UP].reshape(up)
        return b.T if up_turned else b, a.T if down_turned else a

    stored = ", stored transposed" if down_turned or up_turned else ""
    shape = (up[up_turned], down[not down_turned])
    return _of_factors(shape, rank, _of_rank(rank) + stored, pair)


def _straight(given: Given) -> factors.Product:
    down, up = given[Part.DOWN], given[Part.UP]
    return up.reshape(len(up), -1), down.reshape(len(down), -1)


def _of_factors(shape: tuple[int, int], rank: int, words: str, pair: _Pair) -> Update:
    """Return the update that is the product of two factors."""
    return Update(
        shape=shape,
        rank=rank,
        words=words,
        core=lambda given: factors.core(*pair(given)),
        dense=lambda given: factors.dense(*pair(given)),
    )


def _with_kernel(down: TensorSpec, kernel: TensorSpec, up: TensorSpec) -> Update:
    """Return the update of a convolution whose kernel is a factor of its own (Tucker)."""
    pointwise = math.prod(up.shape[2:]) == math.prod(down.shape[2:]) == 1
    if not pointwise or kernel.shape[:2] != (up.shape[1], down.shape[0]):
        raise _misfit(down, kernel, up)
    size = math.prod(kernel.shape[2:])

    def pair(given: Given) -> factors.Product:
        right = factors.tucker(given[Part.CORE], given[Part.DOWN].flatten(1))
        return given[Part.UP].flatten(1), right

    rank = down.shape[0]
    words = f"B K A of rank {rank} with the kernel K {_sides(kernel.shape)}, by the core of their QR factors"
    return _of_factors((up.shape[0], down.shape[1] * size), rank, words, pair)


@dataclass(frozen=True, slots=True)
class _Factored:
    """One of the two matrices that LoHa and LoKr join, as two factors."""

    shape: tuple[int, int]
    rank: int
    pair: Callable[[Mapping[Part, torch.Tensor]], tuple[torch.Tensor, torch.Tensor]]

    @property
    def core_shape(self) -> tuple[int, int]:
        """The shape of the core."""
        rows, cols = self.shape
        return min(rows, self.rank), min(cols, self.rank)

    def core(self, given: Given) -> torch.Tensor:
        """Return a matrix with its nonzero singular values."""
        return factors.core(*self.pair(given))

    def dense(self, given: Given) -> torch.Tensor:
        """Return the matrix itself."""
        return factors.dense(*self.pair(given))


@dataclass(frozen=True, slots=True)
class _Whole:
    """One of the two matrices that LoKr joins, as a tensor of its own."""

    shape: tuple[int, int]
    part: Part
    rank: None = None

    @property
    def core_shape(self) -> tuple[int, int]:
        """The shape of the matrix."""
        return self.shape

    def core(self, given: Given) -> torch.Tensor:
        """Return the matrix itself."""
        return given[self.part].double().flatten(1)

    dense = core


def _factored(adapter: Adapter, a: Part, b: Part, kernel: Part | None) -> _Factored:
    if a not in adapter.parts or b not in adapter.parts:
        raise AdapterError(f"it lacks {b.value if a in adapter.parts else a.value}")
    left, right = adapter.parts[a], adapter.parts[b]
    middle = adapter.parts.get(kernel) if kernel else None
    if middle is None or kernel is None:
        if len(left.shape) != 2 or left.shape[1] != right.shape[0]:
            raise _misfit(left, right)
        shape = (left.shape[0], right.parameters // right.shape[0])
        return _Factored(shape, right.shape[0], lambda given: (given[a], given[b].flatten(1)))
    if len(left.shape) != 2 or len(right.shape) != 2 or middle.shape[:2] != (left.shape[0], right.shape[0]):
        raise _misfit(left, middle, right)
    shape = (left.shape[1], right.shape[1] * math.prod(middle.shape[2:]))
    return _Factored(
        shape, right.shape[0], lambda given: (given[a].T, factors.tucker(given[kernel], given[b]))
    )


def _one_or_two(adapter: Adapter, whole: Part, a: Part, b: Part, kernel: Part | None) -> _Factored | _Whole:
    spec = adapter.parts.get(whole)
    if spec is None:
        return _factored(adapter, a, b, kernel)
    return _Whole((spec.shape[0], spec.parameters // spec.shape[0]), whole)


def _entrywise(adapter: Adapter) -> Update:
    first = _factored(adapter, Part.HADA_1A, Part.HADA_1B, Part.HADA_1T)
    second = _factored(adapter, Part.HADA_2A, Part.HADA_2B, Part.HADA_2T)
    if first.shape != second.shape:
        raise AdapterError(f"{_sides(first.shape)} and {_sides(second.shape)} are not of one shape")
    joint = first.rank * second.rank
    formed = joint >= min(first.shape)
    size = math.prod(first.shape) if formed else joint * max(first.shape)
    if size > LARGEST:
        raise AdapterError(f"the entrywise product {_sides(first.shape)} is too large to form")

    def core(given: Given) -> torch.Tensor:
        return factors.entrywise_core(first.pair(given), second.pair(given))

    how = "formed" if formed else f"by its core of rank {joint}"
    words = f"entrywise product of two products of rank {first.rank} and {second.rank}, {how}"
    return Update(
        shape=first.shape,
        rank=first.rank,
        words=words,
        core=core,
        dense=lambda given: first.dense(given) * second.dense(given),
    )


def _kronecker(adapter: Adapter) -> Update:
    first = _one_or_two(adapter, Part.KRON_1, Part.KRON_1A, Part.KRON_1B, None)
    second = _one_or_two(adapter, Part.KRON_2, Part.KRON_2A, Part.KRON_2B, Part.KRON_2T)
    sides = (first.shape[0] * second.shape[0], first.shape[1] * second.shape[1])
    if math.prod(first.core_shape) * math.prod(second.core_shape) > LARGEST:
        raise AdapterError(f"the Kronecker product {_sides(sides)} is too large to form")

    def core(given: Given) -> torch.Tensor:
        import torch

        return torch.kron(first.core(given), second.core(given))

    def dense(given: Given) -> torch.Tensor:
        import torch

        return torch.kron(first.dense(given), second.dense(given))

    words = f"Kronecker product of {_sides(first.shape)} and {_sides(second.shape)}, by that of their cores"
    return Update(shape=sides, rank=second.rank or first.rank, words=words, core=core, dense=dense)


_UPDATES: Mapping[Method, Callable[[Adapter], Update]] = {
    Method.LORA: _low_rank,
    Method.LOHA: _entrywise,
    Method.LOKR: _kronecker,
}


def _of_rank(rank: int) -> str:
    return f"B A of rank {rank}, by the {rank} x {rank} core of their QR factors"


def _sides(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _misfit(*specs: TensorSpec) -> AdapterError:
    return AdapterError(f"the factors {', '.join(_sides(spec.shape) for spec in specs)} do not match")
