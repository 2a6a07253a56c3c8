"""How often healthy models get an error or a warning: the tables of docs/calibration.md.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/judgements.py FOLDER…

Scans every checkpoint below the folders that can be read, with the preset ``default``. The first folder below
FOLDER names the series of a model; models of equal content count once, and folders named by ``--leave-out``
not at all (by default those of models that were damaged on purpose, and of adapters without their model).
Prints the models with findings of severity ``warning`` or ``error``, each with the sentence that defends it,
and the rates with Clopper-Pearson intervals of 95 %:

* *as shipped*, with the constants in the code;
* *by series*: each series is judged by thresholds set on the other series: those of the code, which come
  from a study of other models, raised along a grid until the rule warns of no more than 5 % of the others;
* *by series, refitted*: the least threshold on the grid with which the rule does so, also if it is lower.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import beta

import rmtaudit
from rmtaudit.errors import RmtauditError
from rmtaudit.report.model import Finding, LayerResult, Report

WARNED = 0.05
LEFT_OUT = ("derived", "sd_lora", "LICENSES")
SUFFIXES = frozenset({".pt", ".pth", ".th", ".bin", ".safetensors", ".ckpt", ".tar", ".jit", ".h5", ".hdf5",
                      ".onnx", ".npz", ".pb", ".zip", ".tflite"})  # fmt: skip

DEFENCES = {
    (
        "silero",
        "RA-FO-014",
    ): "true: one weight of conv4 (36.7, 130 times the root mean square) holds most of its norm",
    (
        "silero_vad",
        "RA-FO-014",
    ): "true: the same layer, in both sampling rates, holds one weight of 33 to 83 % of its norm",
}
"""Why a finding is right, by series and code."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with a threshold that healthy models can set: a number of a finding, from which it warns."""

    code: str
    number: Callable[[LayerResult, Finding], float]
    grid: tuple[float, ...]
    shipped: float


def _dead_share(layer: LayerResult, finding: Finding) -> float:
    rows, columns = layer.shape
    dead = finding.evidence["dead_rows"] / rows, finding.evidence["dead_columns"] / columns / layer.matrices
    return float(max(dead))


RULES = (
    Rule("RA-MO-002", lambda _, f: f.evidence["factor_beyond_all"], (5, 10, 30, 100, 300, 1000), 30),
    Rule("RA-FO-005", _dead_share, (0.05, 0.1, 0.25, 0.5, 0.75, 1.0), 0.5),
    Rule("RA-FO-004", lambda _, f: f.evidence["zero_share"], (0.01, 0.03, 0.1, 0.3, 1.0), 0.01),
    Rule("RA-FO-014", lambda _, f: f.evidence["share"], (0.25, 0.5, 0.75, 1.0), 0.25),
)


@dataclass(frozen=True, slots=True)
class Model:
    """A healthy model and its report."""

    name: str
    series: str
    report: Report

    def found(self, *severities: str) -> list[tuple[LayerResult, Finding]]:
        """Return the findings of these severities with their layers."""
        return [(each, f) for each in self.report.layers for f in each.findings if f.severity in severities]

    def number(self, rule: Rule) -> float:
        """Return the greatest number that a rule finds, 0 for none."""
        numbers = [
            rule.number(each, f)
            for each in self.report.layers
            for f in each.findings
            if f.code == rule.code and min(each.shape) >= 2
        ]
        return max(numbers, default=0.0)


def models(folders: Sequence[Path], left_out: Sequence[str], unread: Counter[str]) -> Iterator[Model]:
    seen: set[str] = set()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            parts = path.relative_to(folder).parts
            if not path.is_file() or path.suffix not in SUFFIXES or set(parts) & set(left_out):
                continue
            try:
                report = rmtaudit.scan(path)
            except RmtauditError as error:
                unread[error.code] += 1
                continue
            digest = str(report.subject["digest"])
            if report.layers and digest not in seen:
                seen.add(digest)
                series = parts[0] if len(parts) > 1 else folder.name
                yield Model(f"{series}/{parts[-1]}", series, report)


def interval(count: int, total: int) -> str:
    low = beta.ppf(0.025, count, total - count + 1) if count else 0.0
    high = beta.ppf(0.975, count + 1, total - count) if count < total else 1.0
    return f"{count} of {total} | {100 * count / total:.1f} % | {100 * low:.1f} to {100 * high:.1f} %"


def fitted(rule: Rule, others: Sequence[Model], least: float) -> float:
    """Return the threshold of the grid, from ``least`` on, with which the rule warns of at most 5 %."""
    numbers = [each.number(rule) for each in others]
    fitting = [
        at
        for at in rule.grid
        if at >= least and sum(number >= at for number in numbers) <= WARNED * len(numbers)
    ]
    return fitting[0] if fitting else float("inf")


def warned_without_its_series(
    model: Model, every: Sequence[Model], chosen: Counter[str], *, refitted: bool
) -> bool:
    others = [each for each in every if each.series != model.series]
    ruled = {rule.code for rule in RULES}
    for rule in RULES:
        threshold = fitted(rule, others, 0.0 if refitted else rule.shipped)
        chosen[f"{rule.code} at {threshold:g}"] += 1
        if model.number(rule) >= threshold:
            return True
    return any(f.code not in ruled for _, f in model.found("warning", "error"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--leave-out", nargs="*", default=LEFT_OUT, metavar="NAME")
    arguments = parser.parse_args()
    started = time.process_time()
    unread: Counter[str] = Counter()
    every = list(models(arguments.folder, arguments.leave_out, unread))
    print("Files that are not read, by code:", ", ".join(f"{k} {n}" for k, n in sorted(unread.items())) or 0)
    layers = sum(len(each.report.layers) for each in every)
    print(
        f"\n{len(every)} models in {len({each.series for each in every})} series, {layers} layers, ", end=""
    )
    print(f"{time.process_time() - started:.0f} CPU s\n")

    print("| model | severity | finding | layers | defended by |\n|---|---|---|---:|---|")
    for model in every:
        for group in model.report.causes:
            if group.severity != "info":
                defence = DEFENCES.get((model.series, group.code), "**not defended**")
                layers = len(group.evidence["layers"])
                codes = ", ".join(group.evidence["codes"])
                print(f"| {model.name} | {group.severity} | {codes} | {layers} | {defence} |")
    lines = max(sum(g.severity != "info" for g in each.report.causes) for each in every)
    print(f"\nMost lines of severity warning or error in one model: {lines}\n")

    print("| | models | rate | 95 % interval |\n|---|---|---:|---|")
    errors = sum(bool(each.found("error")) for each in every)
    warned = sum(bool(each.found("warning", "error")) for each in every)
    print(f"| error, as shipped | {interval(errors, len(every))} |")
    print(f"| warning or error, as shipped | {interval(warned, len(every))} |")
    series = sorted({each.series for each in every})
    loud = {each.series for each in every if each.found("warning", "error")}
    print(f"| series with a warning or error | {interval(len(loud), len(series))} |")
    thresholds = []
    for refitted in (False, True):
        chosen: Counter[str] = Counter()
        held_out = sum(warned_without_its_series(each, every, chosen, refitted=refitted) for each in every)
        how = "by series, refitted" if refitted else "by series"
        print(f"| warning or error, {how} | {interval(held_out, len(every))} |")
        listed = ", ".join(f"{rule} ({count})" for rule, count in sorted(chosen.items()))
        thresholds.append(f"Thresholds {how}, with the models judged by them: {listed}")
    print("\n" + "\n".join(thresholds))

    kinds = Counter(f.code for each in every for f in each.report.findings if f.severity == "info")
    print("\nModels with a finding for information:", ", ".join(f"{k} {n}" for k, n in sorted(kinds.items())))


if __name__ == "__main__":
    main()
