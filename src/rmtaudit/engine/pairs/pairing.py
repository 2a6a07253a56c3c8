"""Which tensors of two checkpoints correspond: by name, by ending, by place, by shape, by content."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.engine.pairs.content import by_content
from rmtaudit.engine.pairs.names import (
    Couple,
    Named,
    block_of,
    by_likeliest_suffix,
    by_name,
    by_role,
    by_suffix,
    place_of,
)
from rmtaudit.engine.pairs.presentation import presented_alike
from rmtaudit.engine.pairs.refs import TensorRef, refs_of
from rmtaudit.names import display_name


class Match(StrEnum):
    """What two references were matched by."""

    NAME = "name"
    SUFFIX = "suffix"
    ROLE = "role"
    SHAPE = "shape"
    CONTENT = "content"


class Layout(StrEnum):
    """How the candidate's tensor lies, as against the base's."""

    SAME = "same"
    TRANSPOSED = "transposed"
    SPLIT = "split"
    """The candidate keeps apart what the base fuses in one tensor."""
    FUSED = "fused"
    """The candidate fuses in one tensor what the base keeps apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two references that correspond.

    Attributes
    ----------
    name
        The name in the base.
    base, candidate
        The two references; ``rows`` of one says which of its rows are meant where it fuses several.
    how
        What they were matched by.
    layout
        How the candidate lies. The reader undoes it: both matrices come in the base's orientation.
    """

    name: str
    base: TensorRef
    candidate: TensorRef
    how: Match
    layout: Layout = Layout.SAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """The correspondence of two checkpoints.

    Attributes
    ----------
    pairs
        In the stored order of the base.
    only_base, only_candidate
        What nothing corresponds to.
    notes
        What a reader of the comparison should know, one printable sentence each.
    """

    pairs: tuple[Pair, ...]
    only_base: tuple[TensorRef, ...]
    only_candidate: tuple[TensorRef, ...]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Matching:
    """A matching under way: what is left on either side, and what was matched."""

    base: dict[str, TensorRef]
    candidate: dict[str, TensorRef]
    pairs: list[Pair]

    def take(self, couples: Iterable[Couple], how: Match) -> None:
        for ref, other in list(couples):
            layout = Layout.SAME if ref.shape == other.shape else Layout.TRANSPOSED
            self.pairs.append(Pair(name=ref.name, base=ref, candidate=other, how=how, layout=layout))
            del self.base[ref.name], self.candidate[other.name]


def paired(base: Checkpoint, candidate: Checkpoint, *, content: bool = True) -> Pairing:
    """Return which tensors of two opened checkpoints correspond.

    Layers are matched by name, then by name under another prefix, by their place in a block (query, key,
    value, gate …, also where one side fuses them), by content, and last by shape where a shape occurs once
    on either side. The first three read no values.

    Parameters
    ----------
    base, candidate
        The opened checkpoints; they stay open. Where only one has a ``config.json``, it says for both how
        fused weights lie.
    content
        Whether what names do not match is read and compared by content.

    Raises
    ------
    InputError
        A tensor that is compared by content cannot be read.
    """
    refs, lost = refs_of(base, config=base.config or candidate.config)
    others, lost_too = refs_of(candidate, config=candidate.config or base.config)
    refs, others = presented_alike(refs, others, base, candidate, content=content)
    matching = _Matching({ref.name: ref for ref in refs}, {ref.name: ref for ref in others}, [])
    by_names: tuple[tuple[Match, Callable[[Named, Named], Iterator[Couple]]], ...] = (
        (Match.NAME, by_name),
        (Match.SUFFIX, by_suffix),
        (Match.ROLE, by_role),
    )
    for how, match in by_names:
        matching.take(match(matching.base, matching.candidate), how)
    _match_fused(matching)
    if content and matching.base and matching.candidate:
        matching.take(by_content(base, candidate, matching.base, matching.candidate), Match.CONTENT)
    matched = [(pair.base, pair.candidate) for pair in matching.pairs]
    matching.take(by_likeliest_suffix(matching.base, matching.candidate, matched), Match.SUFFIX)
    matching.take(_by_unique_shape(matching.base, matching.candidate), Match.SHAPE)
    place = {ref.name: index for index, ref in enumerate(refs)}
    first = {pair.name: place.get(pair.name, place.get(pair.base.spec.name, 0)) for pair in matching.pairs}
    return Pairing(
        pairs=tuple(sorted(matching.pairs, key=lambda pair: first[pair.name])),
        only_base=tuple(matching.base.values()),
        only_candidate=tuple(matching.candidate.values()),
        notes=(*_unreadable("base", lost), *_unreadable("candidate", lost_too)),
    )


def _unreadable(side: str, names: tuple[str, ...]) -> Iterator[str]:
    if names:
        shown = ", ".join(f"'{display_name(name, longest=60)}'" for name in names[:3])
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"Tensors of the {side} whose values cannot be read were skipped: {shown}{more}."


def _by_unique_shape(base: Named, candidate: Named) -> Iterator[Couple]:
    """Yield weight matrices whose shape occurs once on either side."""
    left, right = _by_shape(base), _by_shape(candidate)
    for shape, refs in left.items():
        others = right.get(shape, ())
        if len(refs) == 1 and len(others) == 1:
            yield refs[0], others[0]


def _by_shape(refs: Named) -> dict[tuple[int, ...], list[TensorRef]]:
    shapes: dict[tuple[int, ...], list[TensorRef]] = {}
    for ref in refs.values():
        if ref.layer is not None:
            shapes.setdefault(tuple(sorted(ref.shape)), []).append(ref)
    return shapes


_TOGETHER = (("query", "key", "value"), ("gate", "up"))
"""Roles that checkpoints fuse in one weight, in the order in which they follow one another."""


def _match_fused(matching: _Matching) -> None:
    """Match a weight that one side fuses with the weights that the other keeps apart."""
    for pair in _fused(matching.base, matching.candidate):
        matching.pairs.append(replace(pair, layout=Layout.FUSED))
    for pair in _fused(matching.candidate, matching.base):
        swapped = replace(pair, base=pair.candidate, candidate=pair.base, name=pair.candidate.name)
        matching.pairs.append(replace(swapped, layout=Layout.SPLIT))


def _fused(apart: dict[str, TensorRef], fused: dict[str, TensorRef]) -> Iterator[Pair]:
    """Yield the matches of weights that are apart with the rows of fused ones, and take both away."""
    groups: dict[tuple[str, str], dict[str, TensorRef]] = {}
    for name, ref in apart.items():
        place = place_of(name)
        if place is not None:
            groups.setdefault((place[0], place[2]), {})[place[1]] = ref
    for (block, leaf), members in groups.items():
        for roles in _TOGETHER:
            parts = [members[role] for role in roles if role in members]
            whole = _whole_of(parts, fused, block, leaf) if len(parts) == len(roles) else None
            if whole is None:
                continue
            start = 0
            for part in parts:
                rows = (start, start + part.shape[0])
                start = rows[1]
                cut = replace(
                    whole, name=f"{whole.name}#rows {rows[0]}:{rows[1]}", shape=part.shape, rows=rows
                )
                yield Pair(name=part.name, base=part, candidate=cut, how=Match.ROLE)
                del apart[part.name]
            del fused[whole.name]


def _whole_of(
    parts: list[TensorRef], fused: Mapping[str, TensorRef], block: str, leaf: str
) -> TensorRef | None:
    """Return the only reference of a block that has as many rows as the parts together."""
    rows, cols = sum(part.shape[0] for part in parts), parts[0].shape[1]
    if any(part.shape[1] != cols for part in parts):
        return None
    fitting = [
        ref
        for ref in fused.values()
        if ref.shape == (rows, cols)
        and _block_and_leaf(ref.name) == (block, leaf)
        and (ref.layer is None or ref.layer.matrices == 1)
    ]
    return fitting[0] if len(fitting) == 1 else None


def _block_and_leaf(name: str) -> tuple[str, str]:
    leaf = name.rpartition(".")[2]
    return block_of(name), "bias" if leaf.endswith("bias") else "weight"
