"""Whether a tensor is the base, rounded to a dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmtaudit.engine.claims.answer import Answer, Ground, TensorAnswer

if TYPE_CHECKING:
    import torch

STAGES = (None, "float16", "bfloat16")
"""Formats that programs convert a model to before they quantise or cast it; ``None``: straight."""


def staged(base: torch.Tensor, dtype: str | None) -> torch.Tensor:
    """Return the base after it was stored in a format in between: float32 or wider."""
    import torch

    wide = base if base.element_size() >= 4 else base.float()
    return wide if dtype is None else wide.to(getattr(torch, dtype)).to(wide.dtype)


def check_cast(name: str, base: torch.Tensor, candidate: torch.Tensor, dtype: str) -> TensorAnswer:
    """Return whether every entry of the candidate is the base's, rounded to ``dtype`` by torch's name."""
    import torch

    target = getattr(torch, dtype)
    fewest = candidate.numel()
    for stage in STAGES:
        cast = staged(base, stage).to(target)
        equal = (cast.double() == candidate.double()) | (cast.isnan() & candidate.isnan())
        fewest = min(fewest, int((~equal).sum()))
        if fewest == 0:
            break
    return TensorAnswer(
        name=name,
        answer=Answer.INCONSISTENT if fewest else Answer.CONSISTENT,
        ground=Ground.VALUES_DIFFER if fewest else Ground.EQUAL,
        parameters=candidate.numel(),
        numbers={"different": fewest, "entries": candidate.numel()},
    )
