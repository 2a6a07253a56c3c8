"""Kinds of injury: how each is done to a matrix, and what finding of it counts as right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from rmtaudit.kernels.forensics.tables import TABLES

Matrix = torch.Tensor
Injure = Callable[[Matrix, torch.Generator], tuple[Matrix, dict[str, Any]]]
Right = Callable[[Mapping[str, Any], Mapping[str, Any]], bool]


def _anything(evidence: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    del evidence, facts
    return True


@dataclass(frozen=True)
class Kind:
    """An injury.

    ``injure`` returns the injured matrix and the facts; ``codes`` are those that may report it, ``right``
    compares the evidence of the finding with the facts. ``stored`` is the dtype that the checkpoint has.
    ``unseen`` says why weights alone do not show it.
    """

    name: str
    injure: Injure
    codes: tuple[str, ...]
    right: Right = _anything
    stored: str = "float32"
    unseen: str = ""


def _units(W: Matrix, unit: int | str) -> Matrix:
    if unit == "tensor":
        return W.reshape(1, -1)
    if unit == "row":
        return W
    if unit == "column":
        return W.T
    return W.reshape(-1, int(unit))


def _back(G: Matrix, W: Matrix, unit: int | str) -> Matrix:
    return G.T.contiguous() if unit == "column" else G.reshape(W.shape)


def uniform(bits: int, scheme: str, unit: int | str, dtype: str, computed: str = "float32") -> Injure:
    """Round to a uniform grid: ``min``: q s + min; ``zp``: (q - z) s; ``sym``: q s."""

    def injure(W: Matrix, _: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
        G = _units(W, unit).to(getattr(torch, computed))
        top = 2**bits - 1
        low, high = G.amin(1, keepdim=True), G.amax(1, keepdim=True)
        if scheme == "sym":
            half = 2 ** (bits - 1) - 1
            step = G.abs().amax(1, keepdim=True) / half
            Q = (G / step).round().clamp(-half, half) * step
        elif scheme == "min":
            step = (high - low) / top
            Q = ((G - low) / step).round() * step + low
        else:
            step = (high - low) / top
            zero = (-low / step).round()
            Q = (((G / step).round() + zero).clamp(0, top) - zero) * step
        facts = {"bits": bits, "group": unit if isinstance(unit, int) else None}
        return _back(Q.to(getattr(torch, dtype)).float(), W, unit), facts

    return injure


def table(name: str, unit: int | str, dtype: str) -> Injure:
    """Round to the levels of a table times a scale from the largest absolute value."""

    def injure(W: Matrix, _: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
        levels = torch.tensor(TABLES[name], dtype=torch.float32)
        G = _units(W, unit)
        scale = G.abs().amax(1, keepdim=True) / levels.abs().max()
        places = torch.searchsorted((levels[1:] + levels[:-1]) / 2, (G / scale).contiguous())
        return _back((levels[places] * scale).to(getattr(torch, dtype)).float(), W, unit), {"table": name}

    return injure


def k_means(k: int, unit: str, dtype: str) -> Injure:
    """Round to the centres of Lloyd's algorithm in one dimension."""

    def injure(W: Matrix, _: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
        G = _units(W, unit).contiguous()
        start = G[:, :: max(1, G.shape[1] // 50_000)]
        centres = torch.quantile(start, torch.linspace(0.5 / k, 1 - 0.5 / k, k), dim=1).T.contiguous()
        for step in range(5):
            places = torch.searchsorted(((centres[:, 1:] + centres[:, :-1]) / 2).contiguous(), G)
            if step == 4:
                break
            count = torch.zeros_like(centres).scatter_add_(1, places, torch.ones_like(G))
            total = torch.zeros_like(centres).scatter_add_(1, places, G)
            centres = torch.where(count > 0, total / count.clamp(min=1), centres).sort(1).values
        return _back(centres.gather(1, places).to(getattr(torch, dtype)).float(), W, unit), {"values": k}

    return injure


def line_times(factor: float, axis: int) -> Injure:
    """Multiply the median row (0) or column (1) in size."""

    def injure(W: Matrix, _: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
        sizes = torch.linalg.vector_norm(W, dim=1 - axis)
        place = int(sizes.argsort()[len(sizes) // 2])
        W = W.clone()
        W.select(axis, place).mul_(factor)
        return W, {"place": place}

    return injure


def one_weight(factor: float) -> Injure:
    """Set one weight to a multiple of the largest."""

    def injure(W: Matrix, generator: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
        place = [int(torch.randint(side, (1,), generator=generator)) for side in W.shape]
        W = W.clone()
        W[tuple(place)] = factor * W.abs().max()
        return W, {"place": place}

    return injure


def flip(bit: int, count: int) -> Injure:
    """Flip a bit of the float32 representation of a few weights below 2 in size."""

    def injure(W: Matrix, generator: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
        flat = W.clone().reshape(-1)
        places = torch.randperm(flat.numel(), generator=generator)[:count]
        flat.view(torch.int32)[places] ^= 1 << bit
        place = list(divmod(int(places[0]), W.shape[1]))
        return flat.reshape(W.shape), {"count": count, "place": place}

    return injure


def offset(W: Matrix, _: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
    return W + W.std(), {}


def clip(sigmas: float) -> Injure:
    def injure(W: Matrix, _: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
        bound = float(sigmas * W.std())
        return W.clamp(-bound, bound), {"bound": bound}

    return injure


def drawn_anew(W: Matrix, generator: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
    return 0.02 * torch.randn(W.shape, generator=generator), {}


def entries_shuffled(W: Matrix, generator: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
    return W.reshape(-1)[torch.randperm(W.numel(), generator=generator)].reshape(W.shape), {}


def rows_shuffled(W: Matrix, generator: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
    return W.gather(1, torch.rand(W.shape, generator=generator).argsort(1)), {}


def half_drawn(scattered: bool) -> Injure:
    def injure(W: Matrix, generator: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
        count = W.shape[0] // 2
        places = torch.randperm(W.shape[0], generator=generator)[:count] if scattered else torch.arange(count)
        W = W.clone()
        W[places] = W.std() * torch.randn(count, W.shape[1], generator=generator)
        return W, {}

    return injure


def misread(W: Matrix, _: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
    return W.T.reshape(W.shape), {}


def pruned(share: float, dead_rows: int = 0) -> Injure:
    """Zero the smallest entries; dead rows count towards the share, as they do in a global threshold."""

    def injure(W: Matrix, _: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
        W = W.clone()
        W[:dead_rows] = 0
        W[W.abs() <= W.abs().reshape(-1).kthvalue(int(share * W.numel())).values] = 0
        return W, {"share": share}

    return injure


def two_of_four(W: Matrix, _: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
    W = W.clone()
    groups = W.reshape(-1, 4)
    groups.scatter_(1, groups.abs().argsort(1)[:, :2], 0)
    W[:, [5, 18]] = 0
    return W, {}


def dead_row(W: Matrix, _: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
    W = W.clone()
    W[37] = 0
    return W, {"place": 37}


def copied_rows(W: Matrix, _: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
    W = W.clone()
    W[8:16] = W[:8]
    return W, {"copies": 8}


def truncated(W: Matrix, _: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
    rank = min(W.shape) // 6
    U, S, V = torch.linalg.svd(W.double(), full_matrices=False)
    return ((U[:, :rank] * S[:rank]) @ V[:rank]).float(), {"rank": rank}


def chain(*injuries: Injure) -> Injure:
    def injure(W: Matrix, generator: torch.Generator) -> tuple[Matrix, dict[str, Any]]:
        facts: dict[str, Any] = {}
        for each in injuries:
            W, more = each(W, generator)
            facts |= more
        return W, facts

    return injure


def _grid(evidence: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    return bool(evidence["bits"] == facts["bits"] and evidence["group"] == facts["group"])


def _table(evidence: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    return bool(evidence["table"] == facts["table"])


def _values(evidence: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    return evidence["table"] is None and bool(evidence["values"] <= facts["values"])


def _place(evidence: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    positions = evidence["positions"] if "positions" in evidence else [evidence["position"]]
    return bool(positions == [facts["place"]])


def _count(evidence: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    return bool(evidence["count"] == facts["count"])


GRID, CODE = ("RA-FO-002", "RA-FO-021"), ("RA-FO-021",)
FP16, BF16 = "float16", "bfloat16"
LARGE = ("RA-FO-025", "RA-FO-026", "RA-FO-006", "RA-FO-014")
_BLURRED = "half precision rounds q s + min by as much as a step of 8 bits"
_ONE_BIT = "the weight becomes 2, 4 or 16 times larger or smaller, which others are too"
_SCATTERED = "beside few others of its kind a trained row is 3 to 6 standard deviations from random"
_LAYOUT = "the reshaped layer is structured too, and no layout looks more natural (power .08)"


def _half(evidence: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    del facts
    return bool(evidence["half"] == "first")


def _bound(evidence: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    return evidence["high"] is not None and abs(evidence["high"] / facts["bound"] - 1) < 1e-4


def _share(evidence: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    return abs(evidence["zero_share_of_all"] - facts["share"]) < 1e-3


def _pattern(evidence: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    del facts
    return bool(evidence["pattern"] == "2:4 along rows")


def _row(evidence: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    return bool(evidence["rows"] == [facts["place"]])


def _copies(evidence: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    return bool(evidence["copies"] == facts["copies"])


def _rank(evidence: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    return bool(evidence["rank"] == facts["rank"])


_IN_BF16 = uniform(4, "min", 64, BF16, BF16)
_IN_FP16 = uniform(8, "min", 64, FP16, FP16)
_INT4 = uniform(4, "min", 64, "float32")

KINDS: tuple[Kind, ...] = (
    Kind("int4 q s + min, groups of 64", _INT4, GRID, _grid),
    Kind("int4 q s + min, groups of 32, float16", uniform(4, "min", 32, FP16), GRID, _grid, FP16),
    Kind("int4 q s + min in bfloat16 arithmetic, groups of 64", _IN_BF16, GRID, _grid, BF16),
    Kind("int4 with zero point, groups of 64", uniform(4, "zp", 64, "float32"), GRID, _grid),
    Kind("int4 q s + min, rows", uniform(4, "min", "row", "float32"), GRID, _grid),
    Kind("int4 q s + min, columns", uniform(4, "min", "column", "float32"), GRID, _grid),
    Kind("int4 symmetric, rows, bfloat16", uniform(4, "sym", "row", BF16), GRID, _grid, BF16),
    Kind("int8 q s + min, groups of 64", uniform(8, "min", 64, "float32"), GRID, _grid),
    Kind("int8 symmetric, rows, float16", uniform(8, "sym", "row", FP16), GRID, _grid, FP16),
    Kind("int8 q s + min in float16 arithmetic, groups of 64", _IN_FP16, GRID, _grid, FP16, _BLURRED),
    Kind("int2 symmetric, rows", uniform(2, "sym", "row", "float32"), GRID, _grid),
    Kind("NF4, groups of 64", table("nf4", 64, "float32"), CODE, _table),
    Kind("NF4, groups of 64, bfloat16", table("nf4", 64, BF16), CODE, _table, BF16),
    Kind("FP4 (e2m1), groups of 32", table("fp4 (e2m1)", 32, "float32"), CODE, _table),
    Kind("FP4 (bitsandbytes), groups of 64", table("fp4 (bitsandbytes)", 64, FP16), CODE, _table, FP16),
    Kind("k-means, 16 values", k_means(16, "tensor", "float32"), CODE, _values),
    Kind("k-means, 256 values", k_means(256, "tensor", "float32"), CODE, _values),
    Kind("k-means, 16 values a row, float16", k_means(16, "row", FP16), CODE, _values, FP16),
    Kind("fp8 e4m3, one scale", table("fp8 (e4m3)", "tensor", "float32"), CODE, _table),
    Kind("fp8 e4m3, scale a group of 64, bfloat16", table("fp8 (e4m3)", 64, BF16), CODE, _table, BF16),
    Kind("fp8 e5m2, scale a row", table("fp8 (e5m2)", "row", "float32"), CODE, _table),
    Kind("one row x 100", line_times(100, 0), ("RA-FO-024",), _place),
    Kind("one row x 10", line_times(10, 0), ("RA-FO-024",), _place),
    Kind("one column x 100", line_times(100, 1), ("RA-FO-024",), _place),
    Kind("offset of one standard deviation", offset, ("RA-FO-027",)),
    Kind("clipped at 2 sd", clip(2), ("RA-FO-022",), _bound),
    Kind("clipped at 3 sd", clip(3), ("RA-FO-022",), _bound),
    Kind("one weight of 10 times the largest", one_weight(10), LARGE, _place),
    Kind("one weight of 3 times the largest", one_weight(3), LARGE, _place),
    Kind("highest exponent bit of one weight", flip(30, 1), ("RA-FO-023",), _count),
    Kind("highest exponent bit of 40 weights", flip(30, 40), ("RA-FO-023",), _count),
    Kind("lowest exponent bit of one weight", flip(23, 1), LARGE, _place, unseen=_ONE_BIT),
    Kind("reinitialised", drawn_anew, ("RA-FO-011",)),
    Kind("entries shuffled", entries_shuffled, ("RA-FO-012", "RA-FO-011")),
    Kind("every row shuffled within", rows_shuffled, ("RA-FO-029", "RA-FO-012")),
    Kind("first half of the rows reinitialised", half_drawn(False), ("RA-FO-028",), _half),
    Kind("scattered half of the rows reinitialised", half_drawn(True), ("RA-FO-028",), unseen=_SCATTERED),
    Kind("layout misread", misread, ("RA-FO-012",), unseen=_LAYOUT),
    Kind("50 % pruned", pruned(0.5), ("RA-FO-004",), _share),
    Kind("30 % pruned, 10 dead rows among them", pruned(0.3, 10), ("RA-FO-004",), _share),
    Kind("2:4 beside dead columns", two_of_four, ("RA-FO-004",), _pattern),
    Kind("one dead row", dead_row, ("RA-FO-005",), _row),
    Kind("8 copied rows", copied_rows, ("RA-FO-007",), _copies),
    Kind("truncated to a sixth of the rank", truncated, ("RA-FO-001",), _rank),
    Kind("int4 and a flipped bit", chain(_INT4, flip(30, 1)), GRID, _grid),
    Kind("50 % pruned and a row x 100", chain(pruned(0.5), line_times(100, 0)), ("RA-FO-024",), _place),
)
"""The kinds that a layer alone shows; ``injuries.py`` adds three that take more."""
