"""Edits of a weight matrix with known answers."""

from __future__ import annotations

from collections.abc import Callable

import torch

Edit = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


def quantised(weight: torch.Tensor, bits: int, group: int | None = None) -> torch.Tensor:
    """Round to nearest on a symmetric grid with a scale a row, or a group of a row."""
    units = weight if group is None else weight.reshape(-1, group)
    largest = max(2 ** (bits - 1) - 1, 1)
    step = units.abs().amax(dim=1, keepdim=True) / largest
    levels: torch.Tensor = (units / step).round().clamp(-largest, largest)
    rounded: torch.Tensor = levels * step
    return rounded.reshape(weight.shape)


def pruned(weight: torch.Tensor, share: float) -> torch.Tensor:
    threshold = weight.abs().flatten().sort().values[int(share * weight.numel())]
    return torch.where(weight.abs() < threshold, torch.zeros(()), weight)


def two_of_four(weight: torch.Tensor) -> torch.Tensor:
    groups = weight.reshape(-1, 4)
    kept = torch.zeros_like(groups).scatter(1, groups.abs().topk(2, dim=1).indices, 1.0)
    return (groups * kept).reshape(weight.shape)


def truncated(weight: torch.Tensor, rank: int) -> torch.Tensor:
    U, S, Vh = torch.linalg.svd(weight.double(), full_matrices=False)
    kept: torch.Tensor = U[:, :rank] * S[:rank] @ Vh[:rank]
    return kept.to(weight.dtype)


def with_update(weight: torch.Tensor, rank: int, size: float, generator: torch.Generator) -> torch.Tensor:
    left = torch.randn(weight.shape[0], rank, generator=generator)
    right = torch.randn(rank, weight.shape[1], generator=generator)
    update = left @ right
    scale = size * float(torch.linalg.vector_norm(weight)) / float(torch.linalg.vector_norm(update))
    return weight + update * scale


def noisy(weight: torch.Tensor, size: float, generator: torch.Generator) -> torch.Tensor:
    return weight + size * weight.std() * torch.randn(weight.shape, generator=generator)


def one_entry(weight: torch.Tensor) -> torch.Tensor:
    edited = weight.clone()
    edited[5, 7] += 0.3
    return edited


EDITS: dict[str, tuple[Edit, str, dict[str, object]]] = {
    "bf16": (lambda w, _: w.bfloat16(), "cast", {"dtype": "bfloat16", "rounding": "nearest"}),
    "int8 a row": (lambda w, _: quantised(w, 8), "quantised", {"bits": 8, "unit": "row"}),
    "int4 a row": (lambda w, _: quantised(w, 4), "quantised", {"bits": 4, "unit": "row"}),
    "int2 a row": (lambda w, _: quantised(w, 2), "quantised", {"bits": 2, "unit": "row"}),
    "int8 g64": (lambda w, _: quantised(w, 8, 64), "quantised", {"bits": 8, "group": 64}),
    "int4 g64": (lambda w, _: quantised(w, 4, 64), "quantised", {"bits": 4, "group": 64}),
    "int2 g64": (lambda w, _: quantised(w, 2, 64), "quantised", {"bits": 2, "group": 64}),
    "pruned 50 %": (lambda w, _: pruned(w, 0.5), "pruned", {"pattern": "magnitude"}),
    "2:4": (lambda w, _: two_of_four(w), "pruned", {"pattern": "N:M", "n": 2, "m": 4}),
    "rank 64": (lambda w, _: truncated(w, 64), "truncated", {"rank": 64}),
    "LoRA 8, 5 %": (lambda w, g: with_update(w, 8, 0.05, g), "low_rank_update", {"rank": 8}),
    "LoRA 16, 5 %": (lambda w, g: with_update(w, 16, 0.05, g), "low_rank_update", {"rank": 16}),
    "LoRA 8, .5 %": (lambda w, g: with_update(w, 8, 0.005, g), "low_rank_update", {"rank": 8}),
    "LoRA 16, .5 %": (lambda w, g: with_update(w, 16, 0.005, g), "low_rank_update", {"rank": 16}),
    "LoRA 8, 5 %, bf16": (lambda w, g: with_update(w, 8, 0.05, g).bfloat16(), "low_rank_update", {"rank": 8}),
    "LoRA 16, 5 %, bf16": (
        lambda w, g: with_update(w, 16, 0.05, g).bfloat16(),
        "low_rank_update",
        {"rank": 16},
    ),
    "LoRA 8, .5 %, bf16": (
        lambda w, g: with_update(w, 8, 0.005, g).bfloat16(),
        "low_rank_update",
        {"rank": 8},
    ),
    "LoRA 16, .5 %, bf16": (
        lambda w, g: with_update(w, 16, 0.005, g).bfloat16(),
        "low_rank_update",
        {"rank": 16},
    ),
    "noise 10 %": (lambda w, g: noisy(w, 0.1, g), "noise", {"sigma": 0.1}),
    "noise 100 %": (lambda w, g: noisy(w, 1.0, g), "noise", {"sigma": 1.0}),
    "new": (lambda w, g: 0.02 * torch.randn(w.shape, generator=g), "replaced", {}),
    "shuffled": (
        lambda w, g: w.flatten()[torch.randperm(w.numel(), generator=g)].reshape(w.shape),
        "rearranged",
        {"order": "shuffled"},
    ),
    "times 3": (lambda w, _: 3 * w, "scaled", {"factor": 3.0, "along": "matrix"}),
    "one entry": (lambda w, _: one_entry(w), "sparse_edit", {"entries": 1, "positions": ((5, 7),)}),
    "rows permuted": (
        lambda w, g: w[torch.randperm(w.shape[0], generator=g)],
        "rearranged",
        {"order": "rows permuted"},
    ),
}
"""By name: the edit, the diagnosis that it must get, and numbers of its evidence; sigma within 5 %."""


def wrong_numbers(expected: dict[str, object], numbers: dict[str, object]) -> dict[str, object]:
    """Return the numbers that are not as expected; sigma may be off by 5 %."""
    wrong: dict[str, object] = {}
    for key, value in expected.items():
        actual = numbers[key]
        if key == "sigma":
            assert isinstance(actual, float)
            assert isinstance(value, float)
            if abs(actual / value - 1) > 0.05:
                wrong[key] = actual
        elif actual != value and not (isinstance(actual, list) and tuple(map(tuple, actual)) == value):
            wrong[key] = actual
    return wrong
