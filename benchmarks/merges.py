"""Coefficients and kinds of merges: the tables of docs/lineage.md.

    OMP_NUM_THREADS=1 python benchmarks/merges.py BASE FINE_TUNED [--merges 300] [--kinds 20]

Parents are made of one real fine-tune: the change of layer ``l`` of the first parent is the real one, that of
the others is the real change of another layer of the same shape, so that sizes, rows and tails are real and
parents are unrelated. First table: coverage of the 95 % intervals over merges of two parents with random
coefficients, regressed on three candidates, how often the third is called a parent at the 1 % level, how
often a claim of the right coefficients is called inconsistent, and the coverage without the correction for
rounding. The rows and the columns of the base are permuted in each merge: otherwise all merges have about the
same errors of rounding, and their intervals miss together. Second: how often each kind of merge is named.
"""

from __future__ import annotations

import argparse
import math
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from scipy.stats import beta

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.engine.claims import Answer
from rmtaudit.engine.claims.merges import claim_agreement
from rmtaudit.engine.pairs import PairReader, paired
from rmtaudit.kernels.forensics.tables import TABLES
from rmtaudit.kernels.merges.patterns import PatternSums, pattern_sums
from rmtaudit.kernels.merges.regression import (
    MergeSums,
    corrected_for_rounding,
    fit_merge,
    merge_sums,
    without_first,
)
from rmtaudit.kernels.merges.slerp import fit_slerp
from rmtaudit.kernels.merges.verdict import ARITHMETIC, CODES, MergeVerdict, merge_verdict

Matrices = list[torch.Tensor]
Store = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""From a matrix to what is read back, and the largest rounding error of each entry."""


def real_change(base: Path, tuned: Path, matrices: int) -> tuple[Matrices, list[Matrices]]:
    """Return the base's matrices and the changes of as many parents as there are blocks."""
    blocks: dict[int, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    with open_checkpoint(base) as first, open_checkpoint(tuned) as second:
        reader = PairReader(first, second)
        for pair in paired(first, second).pairs:
            number = re.search(r"\.(\d+)\.", pair.name)
            if number and min(pair.base.shape) >= 64 and pair.base.layer is not None:
                _, W, V = reader.read(pair)
                blocks.setdefault(int(number[1]), []).append((W.float(), V.float() - W.float()))
    order = sorted(blocks)
    flat = [W for block in order for W, _ in blocks[block]][:matrices]
    changes = [
        [D for block in range(len(order)) for _, D in blocks[order[(block + shift) % len(order)]]][:matrices]
        for shift in range(len(order))
    ]
    return flat, changes


def bf16(W: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    stored = W.bfloat16().float()
    return stored, torch.ldexp(torch.ones_like(stored), torch.frexp(stored)[1] - 9)


def integers(bits: int, group: int | None) -> Store:
    def store(W: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        blocks = W if group is None else W.reshape(-1, group)
        step = blocks.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
        codes = (blocks / step).round()
        return (codes * step).reshape(W.shape), (step / 2).expand_as(blocks).reshape(W.shape)

    return store


def nf4(W: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    blocks, table = W.reshape(-1, 64), torch.tensor(TABLES["nf4"], dtype=torch.float32).sort().values
    step = blocks.abs().amax(1, keepdim=True)
    codes = torch.bucketize(blocks / step, (table[1:] + table[:-1]) / 2)
    return (table[codes] * step).reshape(W.shape), (step / 15).expand_as(blocks).reshape(W.shape)


STORES: dict[str, Store] = {
    "bf16": bf16,
    "int8 row": integers(8, None),
    "int4 g32": integers(4, 32),
    "nf4": nf4,
}


def regress(stored: Matrices, base: Matrices, parents: list[Matrices]) -> MergeSums:
    """Return the sums of the change on the base, then on the parents."""
    sums = [
        merge_sums(T - W, [W, *(P[i] for P in parents)])
        for i, (T, W) in enumerate(zip(stored, base, strict=True))
    ]
    return sum(sums[1:], sums[0])


def permuted(W: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    rows, columns = (torch.randperm(side, generator=generator) for side in W.shape)
    return W[rows][:, columns]


def coverage(matrices: Matrices, pool: list[Matrices], merges: int, seed: int, stores: list[str]) -> None:
    print("| storage | merges | covered | non-parent at 1 % | inconsistent | uncorrected | smallest R2 |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in stores:
        store = STORES[name]
        covered, uncorrected, called, wrong, smallest = [], [], [], [], 1.0
        generator, g = random.Random(seed), torch.Generator().manual_seed(seed)
        for _ in range(merges):
            chosen = generator.sample(pool, 3)
            c = (generator.uniform(0.1, 0.9), generator.uniform(0.1, 0.9), 0.0)
            base = [permuted(W, g) for W in matrices]
            stored = [store(W + c[0] * chosen[0][i] + c[1] * chosen[1][i])[0] for i, W in enumerate(base)]
            sums = regress(stored, base, chosen)
            plain = fit_merge(without_first(sums))
            assert plain is not None
            fit = corrected_for_rounding(plain, sums)
            smallest = min(smallest, fit.r_squared or 0.0)
            covered += [k.low <= v <= k.high for k, v in zip(fit.coefficients[:2], c, strict=False)]
            uncorrected += [k.low <= v <= k.high for k, v in zip(plain.coefficients[:2], c, strict=False)]
            called.append(fit.coefficients[2].p_value < 0.01)
            agreement = claim_agreement(fit, c)
            wrong.append(agreement is Answer.INCONSISTENT)
        shares = " | ".join(share(outcomes) for outcomes in (covered, called, wrong, uncorrected))
        print(f"| {name} | {merges} | {shares} | {smallest:.4f} |", flush=True)


def share(outcomes: list[bool]) -> str:
    """Return a share with its 95 % interval (Clopper and Pearson 1934)."""
    k, n = sum(outcomes), len(outcomes)
    low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
    return f"{k / n:.3f} ({low:.3f} to {high:.3f})"


def trimmed(D: torch.Tensor, density: float) -> torch.Tensor:
    drop = int((1 - density) * D.numel())
    return D if drop == 0 else torch.where(D.abs() > D.abs().flatten().kthvalue(drop).values, D, 0)


def ties(changes: Matrices, c: list[float], density: float) -> torch.Tensor:
    weighted = torch.stack([v * trimmed(D, density) for v, D in zip(c, changes, strict=True)])
    kept = (weighted.sign() == weighted.sum(0).sign()) & (weighted != 0)
    weight = (kept * torch.tensor(c)[:, None, None]).sum(0)
    return torch.where(weight > 0, (weighted * kept).sum(0) / weight.clamp(min=1e-9), 0)


def slerp(A: torch.Tensor, B: torch.Tensor, t: float) -> torch.Tensor:
    cosine = float((A * B).sum() / A.norm() / B.norm())
    if cosine > 0.9995:
        return (1 - t) * A + t * B
    angle = math.acos(cosine)
    return (math.sin((1 - t) * angle) * A + math.sin(t * angle) * B) / math.sin(angle)


def merged(
    kind: str, W: torch.Tensor, D: Matrices, c: list[float], extra: float, g: torch.Generator
) -> torch.Tensor:
    density = c[-1]
    if kind == "ties":
        return W + ties(D[:2], c[:2], density)
    if kind == "dare":
        return W + sum(
            v * P * (torch.rand(P.shape, generator=g) < density) / density
            for v, P in zip(c, D[:2], strict=False)
        )
    if kind == "dare with sign election":
        masked = [P * (torch.rand(P.shape, generator=g) < density) / density for P in D[:2]]
        return W + ties(masked, c[:2], 1.0)
    if kind == "slerp":
        return slerp(W + D[0], W + D[1], c[1])
    linear = W + c[0] * D[0] + c[1] * D[1]
    return linear if kind == "linear" else linear + extra * D[2]


def judge(
    stored: list[tuple[torch.Tensor, torch.Tensor]], base: Matrices, parents: list[Matrices], allowance: float
) -> MergeVerdict:
    values = [T for T, _ in stored]
    fit = fit_merge(without_first(regress(values, base, parents)))
    assert fit is not None
    patterns: PatternSums | None = None
    floor = 0.0
    for i, (T, room) in enumerate(stored):
        changes = [P[i] for P in parents]
        part = pattern_sums(T - base[i], changes, room)
        patterns = part if patterns is None else patterns + part
        floor += float((room.double() ** 2).sum()) / 3
    assert patterns is not None
    fits = [
        fit_slerp(T, W + parents[0][i], W + parents[1][i])
        for i, (T, W) in enumerate(zip(values, base, strict=True))
    ]
    slerps = [fit for fit in fits if fit is not None]
    entries = sum(T.numel() for T in values)
    return merge_verdict(fit, patterns, slerps, floor=floor, entries=entries, allowance=allowance)


KINDS = (
    "linear",
    "slerp",
    "ties",
    "dare",
    "dare with sign election",
    "missing parent",
    "trained afterwards",
)


def kinds(
    base: Matrices, pool: list[Matrices], repeats: int, seed: int, made: list[str], stores: list[str]
) -> None:
    generator, g = random.Random(seed), torch.Generator().manual_seed(seed)
    print("\n| made | storage | named |\n|---|---|---|")
    for kind in made:
        for name in stores:
            store = STORES[name]
            answers: Counter[str] = Counter()
            for _ in range(repeats):
                chosen = generator.sample(pool, 3)
                t = generator.uniform(0.2, 0.8)
                c, extra = [1 - t, t, generator.uniform(0.2, 0.9)], generator.uniform(0.2, 0.5)
                if kind == "missing parent":
                    c = [v * (1 - extra) for v in c]
                stored = [
                    store(merged(kind, W, [P[i] for P in chosen], c, extra, g)) for i, W in enumerate(base)
                ]
                answers[judge(stored, base, chosen[:2], ARITHMETIC if name == "bf16" else CODES).kind] += 1
            print(
                f"| {kind} | {name} | {', '.join(f'{n} {k}' for k, n in answers.most_common())} |", flush=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", type=Path)
    parser.add_argument("tuned", type=Path)
    parser.add_argument("--merges", type=int, default=300)
    parser.add_argument("--kinds", type=int, default=20)
    parser.add_argument("--made", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--stores", nargs="+", choices=list(STORES), default=list(STORES))
    parser.add_argument("--matrices", type=int, default=12)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    base, pool = real_change(asked.base, asked.tuned, asked.matrices)
    if asked.merges:
        coverage(base, pool, asked.merges, asked.seed, asked.stores)
    if asked.kinds:
        kinds(base, pool, asked.kinds, asked.seed, asked.made, asked.stores)


if __name__ == "__main__":
    main()
