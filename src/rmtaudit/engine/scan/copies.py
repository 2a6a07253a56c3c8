"""Copied layers: one that should differ from the others, or a sub-network that is stored twice.

A target or teacher network is a copy of another by design, and so is a block that depth up-scaling repeated.
A single layer that equals its neighbour in a stack of different layers is not.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from rmtaudit.analyzers.base import Observation
from rmtaudit.finding_kind import Severity
from rmtaudit.report.model import LayerResult

_TOKEN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_ROLES = frozenset({
    "anchor", "averaged", "avg", "backup", "clone", "copy", "delayed", "ema", "frozen", "momentum", "old",
    "online", "polyak", "prev", "previous", "ref", "reference", "shadow", "siamese", "slow", "student", "swa",
    "target", "teacher", "tgt",
})  # fmt: skip
"""Words for a network that is kept as a copy of another, by the papers and libraries that do so: deep Q
networks and actor-critics (target, polyak), self-distillation and mean teachers (teacher, student, ema,
online, momentum), weight averaging (swa, shadow), preference tuning (ref)."""

_LEAST = 2
"""Layers that make a sub-network."""

_LEAST_SIBLINGS = 3


class CopyKind(Enum):
    """Why a layer equals another one."""

    NAMED = "a network whose name says that it is a copy"
    SUBNETWORK = "a sub-network that is stored twice"
    SHARED = "a layer that all its siblings share"
    PARTIAL = "a layer that two sub-networks share while their other layers differ"
    BLOCK = "a block of a stack that repeats another block"
    SINGLE = "a single layer that repeats another"


@dataclass(frozen=True, slots=True)
class _Substitution:
    """``name`` is the name of the original with the words ``was`` after ``prefix`` replaced by ``now``."""

    prefix: tuple[str, ...]
    was: tuple[str, ...]
    now: tuple[str, ...]
    suffix: tuple[str, ...]

    @property
    def of_numbers(self) -> bool:
        """Whether one number takes the place of another."""
        return all(len(words) == 1 and words[0].isdigit() for words in (self.was, self.now))

    @property
    def names_a_copy(self) -> bool:
        """Whether a word, and no number, distinguishes the network from the one that is kept as a copy."""
        numbers = [[word for word in words if word.isdigit()] for words in (self.was, self.now)]
        return bool(_ROLES & {*self.was, *self.now}) and numbers[0] == numbers[1]


def copied_layers(rows: Sequence[LayerResult], copies: Mapping[int, str]) -> dict[int, list[Observation]]:
    """Return observations RA-MO-001, by the place of the row.

    Parameters
    ----------
    rows
        All rows of the model.
    copies
        By the place of the row, the tensor that has the very same values.
    """
    return {
        index: [_observation(copies[index], kind)] for index, kind in kinds_of_copies(rows, copies).items()
    }


def kinds_of_copies(rows: Sequence[LayerResult], copies: Mapping[int, str]) -> dict[int, CopyKind]:
    """Return why each copied row equals its original, from the names of all rows alone.

    A copy is *named* if a word such as target, teacher or ema distinguishes its name from the original's, and
    all layers that the word distinguishes, in all blocks, are copies; otherwise it is *partial*. A copy
    belongs to a *sub-network* if under some part of its name all rows that have a counterpart are copies of
    that counterpart, and there are at least two; it is partial too if at least two layers are copies under
    one change of the name, and others are not. If the two names differ in a number only, the sub-network is
    a *block* of a stack, and a partial copy of one is so many *single* copies. If a layer is the same for
    every number in its place, of at least three, it is *shared*, as the heads of a detector are.
    """
    words = {index: _words(row.tensor) for index, row in enumerate(rows)}
    by_words = {tokens: index for index, tokens in words.items()}
    changes = {index: _substitution(words[index], _words(original)) for index, original in copies.items()}
    groups: defaultdict[_Substitution, dict[int, tuple[str, ...]]] = defaultdict(dict)
    for index, change in changes.items():
        groups[replace(change, suffix=())][index] = change.suffix
    whole: set[int] = set()
    for group, members in groups.items():
        root, source = (*group.prefix, *group.now), (*group.prefix, *group.was)
        inside = {
            tokens[len(root) :]
            for tokens in by_words
            if _under(tokens, root, source) and (*source, *tokens[len(root) :]) in by_words
        }
        whole.update(_in_whole_subtrees(members, inside))
    several = {index for members in groups.values() if len(members) >= _LEAST for index in members}
    originals = {words[index]: _words(original) for index, original in copies.items()}
    words_for_a_copy = {_in_any_block(change): change for change in changes.values() if change.names_a_copy}
    networks = {
        key for key, change in words_for_a_copy.items() if _is_copied_throughout(change, by_words, originals)
    }
    return {
        index: CopyKind.NAMED
        if _in_any_block(change) in networks
        else _kind(change, index in whole, index in several, _is_shared(change, by_words, originals))
        for index, change in changes.items()
    }


def _in_any_block(change: _Substitution) -> _Substitution:
    return replace(change, prefix=_masked(change.prefix), suffix=())


def _is_copied_throughout(
    change: _Substitution,
    names: Collection[tuple[str, ...]],
    originals: Mapping[tuple[str, ...], tuple[str, ...]],
) -> bool:
    """Whether all layers with a counterpart under this change of the name, in any block, are copies of it."""
    at = len(change.prefix)
    for name in names:
        root, source = (*name[:at], *change.now), (*name[:at], *change.was)
        counterpart = (*source, *name[len(root) :])
        if _masked(name[:at]) != _masked(change.prefix) or counterpart not in names or counterpart == name:
            continue
        if _under(name, root, source) and not _are_equal(name, counterpart, originals):
            return False
    return True


def _are_equal(
    name: tuple[str, ...], other: tuple[str, ...], originals: Mapping[tuple[str, ...], tuple[str, ...]]
) -> bool:
    return originals.get(name, name) == originals.get(other, other)


def _masked(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words with one mark for all numbers."""
    return tuple("#" if word.isdigit() else word for word in words)


def _kind(change: _Substitution, whole: bool, several: bool, shared: bool) -> CopyKind:
    if change.names_a_copy:
        return CopyKind.PARTIAL
    if shared:
        return CopyKind.SHARED
    if change.of_numbers:
        return CopyKind.BLOCK if whole else CopyKind.SINGLE
    if whole:
        return CopyKind.SUBNETWORK
    return CopyKind.PARTIAL if several else CopyKind.SINGLE


def _is_shared(
    change: _Substitution,
    names: Collection[tuple[str, ...]],
    originals: Mapping[tuple[str, ...], tuple[str, ...]],
) -> bool:
    """Whether the layers that differ from this one in the number alone all hold the same values."""
    if not change.of_numbers:
        return False
    at, suffix = len(change.prefix), change.suffix
    siblings = {
        name
        for name in names
        if len(name) == at + 1 + len(suffix)
        and name[:at] == change.prefix
        and name[at].isdigit()
        and name[at + 1 :] == suffix
    }
    return len(siblings) >= _LEAST_SIBLINGS and len({originals.get(name, name) for name in siblings}) == 1


def _in_whole_subtrees(members: Mapping[int, tuple[str, ...]], inside: set[tuple[str, ...]]) -> set[int]:
    """Return the members with a part of the name under which everything with a counterpart is a copy."""
    copied = set(members.values())
    result = set()
    for index, suffix in members.items():
        for depth in range(len(suffix)):
            below = {tokens for tokens in inside if tokens[:depth] == suffix[:depth]}
            if len(below) >= _LEAST and below <= copied:
                result.add(index)
                break
    return result


def _under(tokens: tuple[str, ...], root: tuple[str, ...], source: tuple[str, ...]) -> bool:
    """Whether the name begins with ``root``, and not with the longer name of the original's root."""
    nested = len(source) > len(root) and tokens[: len(source)] == source
    return tokens[: len(root)] == root and not nested


def _substitution(name: tuple[str, ...], original: tuple[str, ...]) -> _Substitution:
    shorter = min(len(name), len(original))
    start = 0
    while start < shorter and name[start] == original[start]:
        start += 1
    end = 0
    while end < shorter - start and name[-1 - end] == original[-1 - end]:
        end += 1
    return _Substitution(
        prefix=name[:start],
        was=original[start : len(original) - end],
        now=name[start : len(name) - end],
        suffix=name[len(name) - end :],
    )


def _words(name: str) -> tuple[str, ...]:
    return tuple(token.lower() for token in _TOKEN.findall(name))


def _observation(original: str, kind: CopyKind) -> Observation:
    return Observation(
        code="RA-MO-001",
        message=f"The layer holds exactly the values of '{original}': {kind.value}.",
        evidence={"copy_of": original, "kind": kind.name.lower()},
        severity=_SEVERITY[kind],
    )


_SEVERITY: Mapping[CopyKind, Severity] = {
    CopyKind.NAMED: "info",
    CopyKind.SUBNETWORK: "info",
    CopyKind.SHARED: "info",
    CopyKind.PARTIAL: "warning",
    CopyKind.BLOCK: "warning",
    CopyKind.SINGLE: "error",
}
