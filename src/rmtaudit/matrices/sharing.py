"""Tensors that view one storage: which elements each has that others have too.

A view is a set of positions in a storage: a slice, a transpose, a flat buffer of several weights. Positions
are compared exactly, as runs of neighbours.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, replace

from rmtaudit.matrices.tensors import TensorSpec

RUNS_CAP = 50_000
"""Most runs of the views of one storage that are compared; views of more count as if nothing were shared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageView:
    """Where the elements of a tensor lie: an ``alias`` that says more than whether two are equal.

    Attributes
    ----------
    storage
        Equal for tensors of one storage.
    dtype
        torch's name; views of different dtypes are not compared.
    offset
        Of the first element, in elements.
    shape, stride
        Sizes and steps in elements, outermost side first.
    """

    storage: Hashable
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shared:
    """How many elements of a tensor others have too that come before it, and the first of these."""

    elements: int
    first: str


def alias_within(place: Hashable, alias: Hashable | None) -> Hashable | None:
    """Return an alias that is unique among several places, such as files or components."""
    if type(alias) is StorageView:
        return replace(alias, storage=(place, alias.storage))
    return None if alias is None else (place, alias)


def shared_elements(specs: Iterable[TensorSpec]) -> dict[str, Shared]:
    """Return the tensors that share elements with others that count before them.

    Matrices count before vectors, and small ones before large ones, so that the parts of a buffer count and
    the buffer has what is left; equal ones count in stored order.

    Parameters
    ----------
    specs
        All tensors of a checkpoint. Those whose ``alias`` is no :class:`StorageView` share nothing here.
    """
    groups: defaultdict[tuple[Hashable, str], list[TensorSpec]] = defaultdict(list)
    for spec in specs:
        if type(spec.alias) is StorageView and spec.unreadable is None and spec.parameters:
            groups[spec.alias.storage, spec.alias.dtype].append(spec)
    shared: dict[str, Shared] = {}
    for group in groups.values():
        for cluster in _overlapping(group):
            shared.update(_shared_in(cluster))
    return shared


def _overlapping(group: list[TensorSpec]) -> Iterator[list[TensorSpec]]:
    """Yield the tensors, in stored order, whose extents in the storage overlap; none that is alone."""
    extents = sorted((*_extent(spec.alias), index) for index, spec in enumerate(group))  # type: ignore[arg-type]
    cluster: list[int] = []
    end = -1
    for start, stop, index in [*extents, (math.inf, math.inf, -1)]:
        if start >= end:
            if len(cluster) > 1:
                yield [group[each] for each in sorted(cluster)]
            cluster = []
        cluster.append(int(index))
        end = max(end, stop)  # type: ignore[assignment]


def _extent(view: StorageView) -> tuple[int, int]:
    last = sum((size - 1) * step for size, step in zip(view.shape, view.stride, strict=True))
    return view.offset, view.offset + last + 1


def _shared_in(cluster: list[TensorSpec]) -> Iterator[tuple[str, Shared]]:
    views = {spec.name: _runs_of(spec.alias) for spec in cluster}  # type: ignore[arg-type]
    if sum(runs.count for runs in views.values()) > RUNS_CAP:
        return
    taken: list[tuple[int, int, str]] = []  # disjoint runs in order, with the tensor that had each first
    for spec in sorted(cluster, key=lambda spec: (_is_vector(spec), spec.parameters)):
        runs = _merged(views[spec.name].starts(), views[spec.name].length)
        held = sum(stop - start for start, stop in runs)
        new, first = [], ""
        for start, stop in runs:
            rest, owner = _without(taken, start, stop)
            new += rest
            first = first or owner
        if first:
            fresh = sum(stop - start for start, stop in new)
            yield spec.name, Shared(spec.parameters - fresh, first)
        elif held < spec.parameters:  # a view that has elements twice
            yield spec.name, Shared(spec.parameters - held, spec.name)
        for start, stop in new:
            insort(taken, (start, stop, spec.name))


def _is_vector(spec: TensorSpec) -> bool:
    return sum(side > 1 for side in spec.shape) < 2


@dataclass(frozen=True, slots=True)
class _Runs:
    """Runs of neighbours of one length, at every sum of steps."""

    offset: int
    length: int
    outer: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        return math.prod(size for size, _ in self.outer)

    def starts(self) -> list[int]:
        steps = (range(0, size * step, step) if step else [0] for size, step in self.outer)
        return sorted(self.offset + sum(place) for place in itertools.product(*steps))


def _runs_of(view: StorageView) -> _Runs:
    sides = sorted((step, size) for size, step in zip(view.shape, view.stride, strict=True) if size > 1)
    length = 1
    while sides and sides[0][0] == length:
        length *= sides.pop(0)[1]
    return _Runs(view.offset, length, tuple((size, step) for step, size in sides))


def _merged(starts: list[int], length: int) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for start in starts:
        if runs and start <= runs[-1][1]:
            runs[-1] = (runs[-1][0], max(runs[-1][1], start + length))
        else:
            runs.append((start, start + length))
    return runs


def _without(taken: list[tuple[int, int, str]], start: int, stop: int) -> tuple[list[tuple[int, int]], str]:
    """Return what is left of a run without those that are taken, and who took the first of them."""
    low = bisect_right(taken, start, key=lambda run: run[1])
    high = bisect_left(taken, stop, key=lambda run: run[0])
    left, place, owner = [], start, ""
    for begin, end, name in taken[low:high]:
        owner = owner or name
        if place < begin:
            left.append((place, begin))
        place = max(place, end)
    if place < stop:
        left.append((place, stop))
    return left, owner
