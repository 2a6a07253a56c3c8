"""How often the rules of the shipped policies fail on models that nobody damaged.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/gate_rates.py FOLDER... [--policy strict]

Every checkpoint under the folders is scanned; a report that ``rmtaudit scan -o`` wrote is taken as it is.
Rules with a baseline are applied to every ordered pair of models whose layers have equal names and shapes:
versions of one model, or models of one architecture. A series is a folder that holds checkpoints.

    python benchmarks/gate_rates.py FOLDER... --resaves --largest 1.2

gates each model against itself, saved again: as safetensors, as a PyTorch file, and with float32 rounded to
bfloat16. The rules of ``identical`` and ``same-weights`` must hold for the first two, and ``related`` and
``all-there`` for all three. ``--largest`` leaves out checkpoints of more megabytes.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

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


HELD = {
    "safetensors": ("same-digest", "same-values", "all-there", "related"),
    "bfloat16": ("all-there", "related"),
}
HELD["pt"] = HELD["safetensors"]
"""The rules that a model which was saved again must pass, by how it was saved."""


def files(folders: list[Path], largest: float = float("inf")) -> Iterator[Path]:
    for folder in folders:
        for path in sorted([folder] if folder.is_file() else folder.rglob("*")):
            if path.suffix not in SUFFIXES or not path.is_file() or "derived" in path.parts:
                continue
            if path.stat().st_size <= largest * 1e6:
                yield path


def reports(folders: list[Path]) -> Iterator[Report]:
    for path in files(folders):
        try:
            found = (
                rmtaudit.load_reports(path) if path.suffix == ".json" else (rmtaudit.scan(path, threads=1),)
            )
        except RmtauditError as error:
            print(f"not a model: {path.name}: {error.code}")
            continue
        for report in found:
            if isinstance(report, Report) and any(layer.status == "ok" for layer in report.layers):
                yield report


def saved_again(path: Path, folder: Path) -> dict[str, Path]:
    """Save the tensors of a checkpoint in other files, and return these."""
    with rmtaudit.open_checkpoint(path) as checkpoint:
        state = {spec.name: checkpoint.read(spec.name).contiguous() for spec in checkpoint.tensors}
    rounded = {
        name: values.bfloat16() if values.dtype == torch.float32 else values for name, values in state.items()
    }
    written = {way: folder / f"{way}.{'pt' if way == 'pt' else 'safetensors'}" for way in HELD}
    save_file({name: values.clone() for name, values in state.items()}, written["safetensors"])
    save_file({name: values.clone() for name, values in rounded.items()}, written["bfloat16"])
    torch.save(state, written["pt"])
    return written


def count_resaves(folders: list[Path], largest: float) -> None:
    """Print how often the rules of a copy, a conversion and a relation fail where nothing was changed."""
    standard = load_policy("standard")
    kept = tuple(rule for rule in standard.rules if rule.id == "related")
    rules = (*load_policy("identical").rules, *load_policy("same-weights").rules, *kept)
    policy = replace(standard, rules=rules)
    tried: Counter[tuple[str, str]] = Counter()
    outcomes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    models = 0
    for path in files(folders, largest):
        with tempfile.TemporaryDirectory() as folder:
            try:
                written = saved_again(path, Path(folder))
                document = rmtaudit.gate(list(written.values()), policy=policy, baseline=path, threads=1)
            except (RmtauditError, RuntimeError) as error:
                print(f"not saved again: {path.name}: {error}")
                continue
        if any(subject.error is not None for subject in document.subjects):
            print(f"not gated: {path.name}: {[subject.error for subject in document.subjects]}")
            continue
        models += 1
        for way, subject in zip(written, document.subjects, strict=True):
            for check in subject.checks:
                if check.rule in HELD[way]:
                    tried[check.rule, way] += 1
                    outcomes[check.rule, way][check.outcome] += 1
                    if check.outcome != "passed":
                        print(f"{path.name} as {way}: {check.rule} {check.outcome}: {check.message[:160]}")
        print(f"{models} models, {path.name}", flush=True)
    print("| rule | saved as | models | failed | inconclusive |\n|---|---|---:|---:|---:|")
    for (rule, way), total in tried.items():
        counted = outcomes[rule, way]
        print(f"| {rule} | {way} | {total} | {counted['failed']} | {counted['inconclusive']} |")


def series(report: Report) -> str:
    return str(Path(report.subject["path"]).parent)


def shapes(report: Report) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((layer.name, tuple(layer.shape)) for layer in report.layers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--policy", default="strict")
    parser.add_argument("--resaves", action="store_true")
    parser.add_argument("--largest", type=float, default=float("inf"))
    arguments = parser.parse_args()
    if arguments.resaves:
        count_resaves(arguments.folders, arguments.largest)
        return
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
