"""How often the rules of the shipped policies fail on models that nobody damaged.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/gate_rates.py FOLDER... [--policy strict]

Every checkpoint under the folders is scanned; a report that ``rmtaudit scan -o`` wrote is taken as it is.
Rules with a baseline are applied to every ordered pair of models whose layers have equal names and shapes:
versions of one model, or models of one architecture. A series is a folder that holds checkpoints.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import rmtaudit
from rmtaudit.engine.gate.explain import alarms_in_words
from rmtaudit.engine.gate.load import load_policy
from rmtaudit.engine.gate.policy import FalseAlarms
from rmtaudit.errors import RmtauditError
from rmtaudit.report.model import Report

SUFFIXES = {
    ".bin", ".h5", ".hdf5", ".json", ".npz", ".onnx", ".pb", ".pt", ".pth", ".safetensors", ".tar", ".tflite",
    ".th", ".zip",
}  # fmt: skip


def reports(folders: list[Path]) -> Iterator[Report]:
    for folder in folders:
        for path in sorted([folder] if folder.is_file() else folder.rglob("*")):
            if path.suffix not in SUFFIXES or not path.is_file() or "derived" in path.parts:
                continue
            try:
                found = (
                    rmtaudit.load_reports(path)
                    if path.suffix == ".json"
                    else (rmtaudit.scan(path, threads=1),)
                )
            except RmtauditError as error:
                print(f"not a model: {path.name}: {error.code}")
                continue
            for report in found:
                if isinstance(report, Report) and any(layer.status == "ok" for layer in report.layers):
                    yield report


def series(report: Report) -> str:
    return str(Path(report.subject["path"]).parent)


def shapes(report: Report) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((layer.name, tuple(layer.shape)) for layer in report.layers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--policy", default="strict")
    arguments = parser.parse_args()
    unique = {report.subject["digest"]: report for report in reports(arguments.folders)}
    models = list(unique.values())
    policy = load_policy(arguments.policy)
    with_baseline = {rule.id for rule in policy.rules if rule.needs is not None}
    tried: Counter[str] = Counter()
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    failing: dict[str, set[str]] = defaultdict(set)

    def count(report: Report, baseline: Report | None) -> None:
        (subject,) = rmtaudit.gate(report, policy=policy, baseline=baseline).subjects
        for check in subject.checks:
            if (check.rule in with_baseline) == (baseline is not None):
                tried[check.rule] += 1
                outcomes[check.rule][check.outcome] += 1
                if check.outcome == "failed":
                    failing[check.rule].add(series(report))
                    print(f"{check.rule}: {report.subject['path']}: {check.message[:160]}")

    for report in models:
        count(report, None)
    pairs = [pair for pair in itertools.permutations(models, 2) if shapes(pair[0]) == shapes(pair[1])]
    for candidate, baseline in pairs:
        count(candidate, baseline)
    print(f"\n{len(models)} models of {len({series(each) for each in models})} series, {len(pairs)} pairs")
    print("| rule | tried on | failed | series of these | inconclusive | |\n|---|---:|---:|---:|---:|---|")
    for rule, total in tried.items():
        failed = outcomes[rule]["failed"]
        words = alarms_in_words(FalseAlarms(alarms=failed, models=total))
        unseen = outcomes[rule]["inconclusive"]
        print(f"| {rule} | {total} | {failed} | {len(failing[rule])} | {unseen} | {words} |")


if __name__ == "__main__":
    main()
