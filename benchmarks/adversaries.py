"""The rates at which the tool is wrong on matrices that are made to deceive it.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/adversaries.py [FOLDER ...]

Log-determinants against exact arithmetic (``adversaries/logdet.py``); spectra predicted from blocks or
measured by products against the true eigenvalues (``adversaries/density.py``); small hostile matrices through
every command (``adversaries/fuzz.py``). FOLDERs hold checkpoints,
whose layers are tried as well. Prints every answer that is wrong, and the rates with Clopper-Pearson
intervals of 95 %.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from adversaries.density import KINDS, Row, run, run_laws, run_layers
from adversaries.matrices import FREE
from scipy.stats import beta

WRONG = 0.05
"""Distance from which an answer counts as wrong."""


def interval(count: int, of: int) -> str:
    """Return the interval of Clopper and Pearson."""
    if not of:
        return "-"
    low = beta.ppf(0.025, count, of - count + 1) if count else 0.0
    high = beta.ppf(0.975, count + 1, of - count) if count < of else 1.0
    return f"{count / of:.1%} ({low:.1%} to {high:.1%})"


def print_density(rows: Sequence[Row]) -> None:
    print(
        "| rows | asked | answered | KS > 5 % of answers | deciles held | CPU s, median | internal errors |"
    )
    print("|---|---:|---:|---|---|---:|---:|")
    groups: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.kind, "all"].append(row)
        if row.ks is not None:
            groups[row.kind, row.verdict].append(row)
            groups["every kind", row.verdict].append(row)
    for (kind, verdict), these in sorted(groups.items()):
        answers = [row for row in these if row.ks is not None and row.held is not None]
        wrong = sum(row.ks > WRONG for row in answers if row.ks is not None)
        held = sum(row.held for row in answers if row.held is not None)
        seconds = sorted(row.seconds for row in these)[len(these) // 2]
        internal = sum(row.internal for row in these)
        bands = f"{held / (9 * len(answers)):.3f}" if answers else "-"
        print(
            f"| {kind}, {verdict} | {len(these)} | {len(answers)} | {wrong}: {interval(wrong, len(answers))} "
            f"| {bands} | {seconds:.1f} | {internal} |"
        )
    print()
    print("| smooth free laws | answered as determined | with an assumption of smoothness | refused |")
    print("|---|---:|---:|---:|")
    laws = [row for row in rows if row.kind == "law"]
    for n, factor in sorted({(row.n, row.factor) for row in laws}):
        these = [row for row in laws if (row.n, row.factor) == (n, factor)]
        smooth = sum("smooth" in row.assumptions for row in these)
        answered = sum(row.ks is not None for row in these)
        print(f"| n = {n}, {factor:g}x | {answered - smooth} | {smooth} | {len(these) - answered} |")


def print_free(rows: Sequence[Row]) -> None:
    """Print which free families are refused, and why."""
    print("| free family | blocks | determined | if free or smooth | refused | why |")
    print("|---|---:|---:|---:|---:|---|")
    families: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.kind == "block" and row.family in FREE:
            families[row.family].append(row)
    for family, these in sorted(families.items()):
        sure = sum(row.verdict == "determined" for row in these)
        answered = sum(row.ks is not None for row in these)
        why = Counter(row.obstacle or row.error[:9] for row in these if row.ks is None)
        told = ", ".join(f"{reason} {count}" for reason, count in why.most_common())
        counts = f"{len(these)} | {sure} | {answered - sure} | {len(these) - answered}"
        print(f"| {family} | {counts} | {told or '-'} |")


def density_rows(given: argparse.Namespace) -> Iterator[Row]:
    for seed in given.seeds:
        if not {"block", "eigenvalues", "products"}.isdisjoint(given.kinds):
            yield from run(given.order, (2.0, 4.0), seed, given.kinds)
        if "law" in given.kinds:
            for n, factors in ((given.order, (2.0, 4.0, 10.0)), (1024, (4.0, 10.0))):
                yield from run_laws(n, factors, seed)
        if "layer" in given.kinds:
            for folder in given.folders:
                yield from run_layers(folder, (2.0, 4.0), seed, given.layers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--part", choices=["density", "logdet", "fuzz"])
    parser.add_argument("--kinds", choices=KINDS, nargs="+", default=KINDS, help="rows of densities")
    parser.add_argument("--order", type=int, default=512, help="order of the matrices of every family")
    parser.add_argument("--layers", type=int, default=3, help="layers tried of a checkpoint, at most")
    parser.add_argument("--count", type=int, default=300, help="matrices of log-determinants")
    parser.add_argument("--matrices", type=int, default=2000, help="small hostile matrices of fuzz")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="tables pool all of them")
    given = parser.parse_args()
    if given.part in (None, "fuzz"):
        from adversaries.fuzz import print_rows as print_fuzz
        from adversaries.fuzz import run as run_fuzz

        print_fuzz([row for seed in given.seeds for row in run_fuzz(given.matrices, seed)])
    if given.part in (None, "logdet"):
        from adversaries.logdet import print_rows
        from adversaries.logdet import run as run_logdet

        print_rows([row for seed in given.seeds for row in run_logdet(given.count, seed)])
    if given.part in (None, "density"):
        seen: list[Row] = []
        for number, row in zip(itertools.count(1), density_rows(given), strict=False):
            seen.append(row)
            wrong = row.internal or (row.ks is not None and row.ks > WRONG)
            ks = "-" if row.ks is None else f"{row.ks:.3f} held {row.held}"
            label = (
                f"{row.kind} {row.family} n={row.n} x{row.factor:g} {row.verdict} {row.obstacle}{row.error}"
            )
            print(f"{'WRONG ' if wrong else ''}{number} {label} {ks} {row.seconds:.1f}s", flush=True)
        print_density(seen)
        print()
        print_free(seen)


if __name__ == "__main__":
    main()
