"""Which layers to leave as they are, by what editing each of them did to the output."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from rmtaudit.engine.probe.measure import Bench, Probed

_HALF = 0.5
"""Share of the harm that the layers left out must carry for their names to be worth a line (a choice)."""
_FEW = 0.1
"""Share of the layers that they may be at most (a choice)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What editing all layers at once does, and what it does without the most harmful few.

    Attributes
    ----------
    every
        Measured harm of all edits together; ``None``: the output was not finite.
    total
        Sum of the harms of the single edits.
    keep
        The fewest layers that carry half of the sum, the most harmful first; empty where these are more than
        a tenth of the layers.
    share
        Share of the edited parameters that they hold.
    others
        Measured harm of all edits but theirs; ``None`` without any, or if the output was not finite.
    """

    every: float | None
    total: float
    keep: tuple[str, ...]
    share: float
    others: float | None


def advice_of(bench: Bench, probed: Sequence[Probed], edits: dict[str, torch.Tensor]) -> Advice:
    """Return what to leave as it is; two more runs of the network, with its edited weights."""
    known = [(each.harm.value, each) for each in probed if each.harm is not None]
    known.sort(key=lambda pair: -pair[0])
    harms, ranked = [harm for harm, _ in known], [each for _, each in known]
    total = sum(harms)
    count, carried = 0, 0.0
    while count < len(harms) and carried < _HALF * total:
        carried += harms[count]
        count += 1
    kept = ranked[:count] if count <= max(1, _FEW * len(ranked)) and count < len(ranked) else []
    names = tuple(each.weight.name for each in kept)
    sizes = {each.weight.name: each.weight.parameter.numel() for each in probed}
    return Advice(
        every=_together(bench, ranked, edits),
        total=total,
        keep=names,
        share=sum(sizes[name] for name in names) / sum(sizes.values()),
        others=_together(bench, [each for each in ranked if each not in kept], edits) if kept else None,
    )


def _together(bench: Bench, chosen: Sequence[Probed], edits: dict[str, torch.Tensor]) -> float | None:
    """Return the harm of several edits at once."""
    with ExitStack() as stack:
        for each in chosen:
            stack.enter_context(bench.replaced(each.weight.parameter, edits[each.weight.name]))
        changes = bench.changes()
    return None if changes is None else float(changes.mean())
