"""How a target is made of a base and candidate parents, read layer by layer, twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.engine.merging.answer import MergeAnswer, MergedLayer
from rmtaudit.engine.merging.rounding import rounding_of
from rmtaudit.engine.pairs import Pair, PairReader, paired
from rmtaudit.engine.pairs.levels import LevelReader
from rmtaudit.engine.resources.memory import free_memory
from rmtaudit.errors import CorruptError, NothingAuditableError, UsageError
from rmtaudit.kernels.merges.patterns import PatternSums, pattern_sums
from rmtaudit.kernels.merges.regression import (
    MergeSums,
    Regression,
    corrected_for_rounding,
    fit_merge,
    merge_sums,
    without_first,
)
from rmtaudit.kernels.merges.slerp import Slerp, fit_slerp
from rmtaudit.kernels.merges.verdict import ARITHMETIC, CODES, MergeKind, merge_verdict

if TYPE_CHECKING:
    import torch

_WORK = 120
"""Bytes an entry that the sums take with two parents: measured, rounded up."""

MOST_PARENTS = 16


def explain_merge(
    target: Checkpoint, base: Checkpoint, parents: Sequence[Checkpoint], *, memory: int | None = None
) -> MergeAnswer:
    """Return the coefficients of the parents in ``target - base``, and what the coefficients do not explain.

    Weight matrices that all checkpoints have are used. Every checkpoint is read twice, one matrix at a time.

    Parameters
    ----------
    target, base, parents
        Opened checkpoints; they stay open.
    memory
        Bytes for the matrices in flight; half of what is free where ``None``. Layers that need more are left
        out.

    Raises
    ------
    UsageError
        RA-US-811: no parent, or more than 16.
    NothingAuditableError
        RA-NA-008: the checkpoints have no weight matrix in common, or none within the budget.
    """
    if not 1 <= len(parents) <= MOST_PARENTS:
        raise UsageError(
            "RA-US-811", f"A merge can be explained by 1 to {MOST_PARENTS} parents, not {len(parents)}."
        )
    readers = _Readers(base, target, parents, free_memory() // 2 if memory is None else memory)
    sums: MergeSums | None = None
    for matrices in readers.matrices():
        part = merge_sums(matrices.change, [matrices.base, *matrices.parents])
        sums = part if sums is None else sums + part
    if sums is None:
        short = readers.beyond_memory
        raise NothingAuditableError(
            "RA-NA-008",
            "No weight matrix that the checkpoints have in common is within the memory budget."
            if short
            else "The checkpoints have no weight matrix in common.",
            hint="Raise the budget with --memory."
            if short
            else "Base, target and parents must be models of one architecture.",
            where=str(target.path),
        )
    regression = fit_merge(without_first(sums))
    names = tuple(str(parent.path) for parent in parents)
    if regression is None:
        return MergeAnswer(
            target=str(target.path),
            base=str(base.path),
            parents=names,
            regression=None,
            verdict=None,
            fractions=None,
            layers=(),
            left_out=tuple(readers.left_out),
        )
    return _explained(readers, regression, sums, names)


def _explained(
    readers: _Readers, regression: Regression, sums: MergeSums, names: tuple[str, ...]
) -> MergeAnswer:
    values = [coefficient.value for coefficient in regression.coefficients]
    patterns: PatternSums | None = None
    slerps: list[Slerp] = []
    layers: list[MergedLayer] = []
    floor, entries, codes = 0.0, 0, 0
    for matrices in readers.matrices():
        room = rounding_of(
            matrices.target, matrices.pair.candidate.dtype, matrices.levels.read(matrices.pair)
        )
        part = pattern_sums(matrices.change, matrices.parents, room)
        patterns = part if patterns is None else patterns + part
        own_floor = float(room.double().square().sum()) / 3
        residual = matrices.change.double()
        for value, parent in zip(values, matrices.parents, strict=True):
            residual = residual - value * parent.double()
        left, changed = float(residual.square().sum()), float(matrices.change.double().square().sum())
        size = float(matrices.base.double().norm())
        layers.append(
            MergedLayer(
                name=matrices.pair.name,
                change=changed**0.5 / size if size else 0.0,
                residual=left / changed if changed else 0.0,
                excess=left / own_floor if own_floor else 0.0,
            )
        )
        if len(values) == 2:
            first, second = (matrices.base.double() + parent.double() for parent in matrices.parents)
            fit = fit_slerp(matrices.target, first, second)
            slerps += [] if fit is None else [fit]
        floor += own_floor
        entries += matrices.change.numel()
        codes += matrices.change.numel() * (matrices.pair.candidate.encoding is not None)
    assert patterns is not None
    verdict = merge_verdict(
        regression,
        patterns,
        slerps,
        floor=floor,
        entries=entries,
        allowance=CODES if 2 * codes > entries else ARITHMETIC,
    )
    if verdict.kind is MergeKind.LINEAR:
        regression = corrected_for_rounding(regression, sums)
    fractions = [fit.fraction for fit in slerps]
    return MergeAnswer(
        target=str(readers.target.path),
        base=str(readers.base.path),
        parents=names,
        regression=regression,
        verdict=verdict,
        fractions=(min(fractions), max(fractions)) if fractions else None,
        layers=tuple(layers),
        left_out=tuple(readers.left_out),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Matrices:
    """One layer of all checkpoints, in the orientation of the base: float32 or wider."""

    pair: Pair
    base: torch.Tensor
    target: torch.Tensor
    change: torch.Tensor
    parents: tuple[torch.Tensor, ...]
    levels: LevelReader


class _Readers:
    """Reads the layers that all checkpoints have, as often as asked."""

    def __init__(
        self, base: Checkpoint, target: Checkpoint, parents: Sequence[Checkpoint], budget: int
    ) -> None:
        self.base, self.target = base, target
        self._pairs = [
            pair for pair in paired(base, target, content=False).pairs if pair.base.layer is not None
        ]
        self._reader = PairReader(base, target, budget=budget, work=_WORK)
        self._levels = LevelReader(target)
        self._parents: list[tuple[PairReader, Mapping[str, Pair]]] = [
            (
                PairReader(base, parent, budget=budget),
                {pair.name: pair for pair in paired(base, parent, content=False).pairs},
            )
            for parent in parents
        ]
        self.left_out: dict[str, None] = {}
        self.beyond_memory = False

    def matrices(self) -> Iterator[_Matrices]:
        for pair in self._pairs:
            others = [(reader, pairs.get(pair.name)) for reader, pairs in self._parents]
            missing = any(other is None for _, other in others)
            refused = not missing and self._reader.refusal(pair) is not None
            self.beyond_memory |= refused
            if missing or refused:
                self.left_out[pair.name] = None
                continue
            try:
                _, base, target = self._reader.read(pair)
                parents = [reader.read(other).candidate for reader, other in others if other is not None]
            except CorruptError:
                self.left_out[pair.name] = None
                continue
            wide = [_wide(matrix) for matrix in (base, target, *parents)]
            changes = [matrix - wide[0] for matrix in wide[1:]]
            yield _Matrices(
                pair=pair,
                base=wide[0],
                target=wide[1],
                change=changes[0],
                parents=tuple(changes[1:]),
                levels=self._levels,
            )


def _wide(matrix: torch.Tensor) -> torch.Tensor:
    return matrix if matrix.element_size() >= 4 else matrix.float()
