"""The test of codes: whether another level of its block is nearer to the weight that a code stands for."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_TIE = 1e-4
"""Steps by which another level must be nearer: float32 arithmetic of scales and levels makes 3e-5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeCounts:
    """What the codes of a weight say about a base.

    Attributes
    ----------
    judged
        Entries whose block has more than one level.
    misplaced
        Those for which another level of the block is nearer to the base.
    squared_steps
        Sum of squares of the distance from base to stored value, over the distance of the two levels that
        enclose the stored value; entries beyond the outermost levels are left out.
    inside
        Entries that ``squared_steps`` counts.
    """

    judged: int
    misplaced: int
    squared_steps: float
    inside: int

    def __add__(self, other: CodeCounts) -> CodeCounts:
        return CodeCounts(
            judged=self.judged + other.judged,
            misplaced=self.misplaced + other.misplaced,
            squared_steps=self.squared_steps + other.squared_steps,
            inside=self.inside + other.inside,
        )

    @property
    def share(self) -> float:
        """Share of the judged entries that are misplaced; 0 without any."""
        return self.misplaced / self.judged if self.judged else 0.0

    @property
    def rms(self) -> float:
        """Root mean square distance in steps: ``1/sqrt(12)`` = .289 for rounding to the nearest level."""
        return (self.squared_steps / self.inside) ** 0.5 if self.inside else 0.0


def code_counts(
    stored: torch.Tensor,
    base: torch.Tensor,
    *,
    origin: torch.Tensor,
    step: torch.Tensor,
    table: torch.Tensor,
) -> CodeCounts:
    """Compare the stored level of each entry with the level nearest to the base.

    A quantiser that rounds to the nearest level, by the scales that it stores, misplaces none. One that
    rounds by scales which are then rounded themselves misplaces a few in 10,000 (llama.cpp's Q4_0, Q8_0).
    Noise of ``e`` steps in the base misplaces a share of about ``e``, under a quantisation error of .289.

    Parameters
    ----------
    stored, base
        Shape ``(rows, cols)``, real floating dtype, finite: the decoded weight, and the weight that it is
        claimed to come from.
    origin, step
        Of each entry: its levels are ``origin + step t``.
    table
        Ascending levels ``t``, at least two.
    """
    table = table.double()
    live = (step != 0) & torch.isfinite(step) & torch.isfinite(origin)
    scale = step[live].double()
    x = (base[live].double() - origin[live].double()) / scale
    y = (stored[live].double() - origin[live].double()) / scale
    middles = (table[1:] + table[:-1]) / 2
    nearest = table[torch.bucketize(x, middles)]
    own_index = torch.bucketize(y, middles)
    own = table[own_index]
    misplaced = (x - own).abs() > (x - nearest).abs() + _TIE
    gaps = table.diff()
    below = gaps[(own_index - 1).clamp(min=0)]
    above = gaps[own_index.clamp(max=len(gaps) - 1)]
    inside = (x > table[0]) & (x < table[-1])
    distance = (x - own) / torch.where(x < own, below, above)
    return CodeCounts(
        judged=int(live.sum()),
        misplaced=int(misplaced.sum()),
        squared_steps=float(distance[inside].square().sum()),
        inside=int(inside.sum()),
    )
