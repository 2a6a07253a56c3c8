"""Whether an adapter was merged into a candidate: the sum is computed again and compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.engine.claims.answer import Answer, ClaimAnswer, Ground, TensorAnswer, concluded
from rmtaudit.engine.claims.casts import check_cast
from rmtaudit.engine.claims.parse import AdapterClaim
from rmtaudit.engine.merging.rounding import rounding_of
from rmtaudit.engine.pairs import Layout, Pair, PairReader, paired
from rmtaudit.errors import CorruptError, UsageError
from rmtaudit.kernels.merges.verdict import ARITHMETIC
from rmtaudit.matrices.adapter_merge import Merge, find_merges
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import FLOATING

if TYPE_CHECKING:
    import torch

_SCALE_ROOM = 1e-3
"""Relative room for the scale: the third digit."""

_ERRORS = 5.0
"""Standard errors of a scale that rounding explains: one module in a million beyond."""


_WORK = 64
"""Bytes an entry that the sums and roundings in float64 take: eight arrays, counted."""


def check_adapter(
    base: Checkpoint, candidate: Checkpoint, claim: AdapterClaim, words: str, *, memory: int
) -> ClaimAnswer:
    """Return whether every update of an adapter is in the candidate, with the scale of the claim.

    For each weight the update ``U`` is computed from its factors, and ``candidate - base = s U`` is solved
    for ``s``. What is left must be the rounding of the candidate's dtype.

    Raises
    ------
    UsageError
        RA-US-813: the checkpoint of the claim has no update for a weight of the base.
    """
    with open_checkpoint(claim.path) as adapter:
        specs = tuple(base.tensors)
        merges = find_merges(
            adapter.tensors,
            specs,
            plan_layers(specs, config=base.config),
            adapter_config=adapter.adapter_config,
            config=base.config,
        )
        if not merges.merged:
            raise UsageError(
                "RA-US-813",
                "The checkpoint has no low-rank update that belongs to a weight of the base.",
                hint="Give the adapter that the claim refers to, trained on this base.",
                where=claim.path,
            )
        tensors = tuple(_tensors(base, candidate, merges.merged, adapter, claim.scale or 1.0, memory=memory))
    updates = [tensor for tensor in tensors if "scale" in tensor.numbers]
    return concluded(words, str(base.path), str(candidate.path), tensors, word=_word(updates))


def _tensors(
    base: Checkpoint,
    candidate: Checkpoint,
    merges: tuple[Merge, ...],
    adapter: Checkpoint,
    scale: float,
    *,
    memory: int,
) -> Iterator[TensorAnswer]:
    pairing = paired(base, candidate, content=False)
    by_tensor: dict[str, Pair] = {}
    for pair in pairing.pairs:
        by_tensor.setdefault(pair.base.spec.name, pair)
    replaying = PairReader(base, candidate, budget=memory, work=_WORK)
    for merge in merges:
        place = by_tensor.get(merge.base.name)
        if place is not None and replaying.refusal(place) is not None:
            yield TensorAnswer(
                name=merge.base.name,
                answer=Answer.UNDECIDED,
                ground=Ground.BEYOND_MEMORY,
                parameters=merge.base.parameters,
            )
            continue
        yield _update(base, candidate, merge, adapter=adapter, pair=place, wanted=scale)
    updated = {merge.base.name for merge in merges}
    reader = PairReader(base, candidate, budget=memory)
    for pair in pairing.pairs:
        if pair.base.spec.name in updated or reader.refusal(pair) is not None:
            continue
        try:
            values = reader.read(pair)
        except CorruptError:
            continue
        dtype = pair.candidate.dtype if pair.candidate.dtype in FLOATING else "float64"
        if pair.candidate.encoding is None:
            yield check_cast(pair.name, values.base, values.candidate, dtype)


def _update(
    base: Checkpoint,
    candidate: Checkpoint,
    merge: Merge,
    *,
    adapter: Checkpoint,
    pair: Pair | None,
    wanted: float,
) -> TensorAnswer:
    name, parameters = merge.base.name, merge.base.parameters

    def undecided(ground: Ground) -> TensorAnswer:
        return TensorAnswer(name=name, answer=Answer.UNDECIDED, ground=ground, parameters=parameters)

    if pair is None:
        return undecided(Ground.MISSING)
    spec = pair.candidate.spec
    if spec.shape != merge.base.shape or pair.layout is not Layout.SAME:
        return undecided(Ground.SHAPES_DIFFER)
    try:
        weight, stored = base.read(merge.base.name), candidate.read(spec.name)
    except CorruptError:
        return undecided(Ground.UNREADABLE)
    merged = merge.apply(weight, adapter.read)
    levels = candidate.levels(spec.name)
    room = rounding_of(stored.double(), spec.dtype, levels)
    numbers = _replayed(weight, merged, stored, room)
    return TensorAnswer(name=name, parameters=parameters, numbers=numbers, **_judged(numbers, wanted))


def _replayed(
    weight: torch.Tensor, merged: torch.Tensor, stored: torch.Tensor, room: torch.Tensor
) -> Mapping[str, Any]:
    """Return the scale of the update and its standard error, what is left, and the bit-exact share."""
    base = weight.double()
    update, change = merged.double() - base, stored.double() - base
    size = float(update.square().sum())
    floor = float(room.double().square().sum()) / 3
    scale = float((update * change).sum()) / size if size else 0.0
    left = float((change - scale * update).square().sum())
    once = merged.to(stored.dtype)
    twice = (weight + (merged - weight.to(merged.dtype)).to(weight.dtype)).to(stored.dtype)
    return {
        "scale": scale,
        "error": (ARITHMETIC * floor / max(stored.numel(), 1) / size) ** 0.5 if size else None,
        "excess": left / floor if floor else 0.0,
        "change": float(change.square().sum()) / floor if floor else 0.0,
        "exact": max(float((stored == replay).double().mean()) for replay in (once, twice)),
    }


def _judged(numbers: Mapping[str, Any], wanted: float) -> dict[str, Any]:
    error, scale = numbers["error"], numbers["scale"]
    if error is None or error > 0.1:
        return {"answer": Answer.UNDECIDED, "ground": Ground.INVISIBLE}
    room = _SCALE_ROOM * abs(wanted) + _ERRORS * error
    if numbers["excess"] > ARITHMETIC:
        return {"answer": Answer.INCONSISTENT, "ground": Ground.RESIDUAL}
    if abs(scale - wanted) <= room:
        return {"answer": Answer.CONSISTENT, "ground": Ground.EQUAL}
    applied = abs(scale) > _ERRORS * error
    return {
        "answer": Answer.INCONSISTENT,
        "ground": Ground.OTHER_SCALE if applied else Ground.NOT_APPLIED,
    }


def _word(updates: list[TensorAnswer]) -> str:
    """Return what happened to the adapter as a whole."""
    known = [tensor for tensor in updates if tensor.answer is not Answer.UNDECIDED]
    if not known:
        return ""
    absent = [tensor for tensor in known if tensor.ground is Ground.NOT_APPLIED]
    other = [tensor for tensor in known if tensor.ground is Ground.RESIDUAL]
    if len(absent) == len(known):
        return "not applied"
    if absent:
        return f"partly applied, not in {len(absent)} of {len(known)} modules"
    if other:
        return f"not told in {len(other)} of {len(known)} modules"
    scales = [tensor.numbers["scale"] for tensor in known]
    mean = sum(scales) / len(scales)
    same = all(
        abs(s - mean) <= _SCALE_ROOM * abs(mean) + _ERRORS * t.numbers["error"]
        for s, t in zip(scales, known, strict=True)
    )
    if not same:
        return "applied with scales that differ"
    return "applied" if abs(mean - 1) <= 2 * _SCALE_ROOM else f"applied with scale {mean:.3g}"
