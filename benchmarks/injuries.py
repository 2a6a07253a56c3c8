"""What is seen of injured models, and of healthy ones: the tables of docs/calibration.md, section Injuries.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/injuries.py --model A --model B FOLDER

Every kind of injury is done to six layers of each model: both sides at least 64, and nothing beyond
information seen when healthy. It is found if a finding of its code has the right number. Three kinds take
more than a layer: one ten times as large, one of zeros, and three equal parts of one tensor. The second
table is over all checkpoints under the folders that can be read, which are healthy: in how many each code
appears.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch
from injury_kinds import KINDS, Kind

import rmtaudit
from rmtaudit.analyzers.base import LayerInput
from rmtaudit.analyzers.forensics import Forensics
from rmtaudit.analyzers.noise import Noise
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.engine.scan.judge import judge
from rmtaudit.errors import RmtauditError
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues
from rmtaudit.matrices.layers import LayerKind
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import UNIT_ROUNDOFF
from rmtaudit.report.catalogue import FINDINGS
from rmtaudit.report.model import Report

LAYERS, SIDE, LARGEST = 6, 64, 1_500_000
LEVEL = 0.05
ASSUMED_LAYERS = 40
DIVISIBLE = 64


def seen(given: LayerInput, W: torch.Tensor, stored: str) -> dict[str, dict[str, object]]:
    """Return the evidence of what ``forensics`` reports of a matrix, by code."""
    layer = dataclasses.replace(given.layer, dtype=stored, shape=tuple(W.shape))
    epsilon = UNIT_ROUNDOFF[stored]
    spectrum = gram_eigenvalues(W)
    new = dataclasses.replace(given, layer=layer, matrices=(W,), spectrum=spectrum, epsilon=epsilon)
    level = LEVEL / ASSUMED_LAYERS
    found = (*Forensics().analyze(new).observations, *Noise().analyze(new).observations)
    return {each.code: dict(each.evidence) for each in found if each.p_value is None or each.p_value <= level}


def targets(path: Path) -> list[LayerInput]:
    """Return the layers to injure: large enough, and without a finding beyond information."""
    chosen = []
    with open_checkpoint(path) as checkpoint:
        for layer in plan_layers(checkpoint.tensors).layers:
            plain = layer.kind is not LayerKind.ADAPTER and len(layer.tensors) == 1 and layer.band is None
            fits = min(layer.shape) >= SIDE and layer.parameters <= LARGEST and not layer.shape[1] % DIVISIBLE
            if not plain or not fits:
                continue
            (W,) = layer.build(tuple(checkpoint.read(name).float() for name in layer.tensors))
            given = LayerInput(
                layer=layer, spectrum=gram_eigenvalues(W), matrices=(W,), epsilon=UNIT_ROUNDOFF["float32"]
            )
            if all(FINDINGS[code].severity() == "info" for code in seen(given, W, "float32")):
                chosen.append(given)
    return [chosen[index * len(chosen) // LAYERS] for index in range(min(LAYERS, len(chosen)))]


def found_in(kind: Kind, layers: list[LayerInput]) -> int:
    """Return in how many layers the injury is found with the right number."""
    hits = 0
    for number, given in enumerate(layers):
        W, facts = kind.injure(given.matrices[0], torch.Generator().manual_seed(number))
        reports = seen(given, W, kind.stored)
        hits += any(kind.right(reports[code], facts) for code in kind.codes if code in reports)
    return hits


def layer_times_ten(report: Report) -> tuple[int, int]:
    """Return how many layers, each ten times as large, are reported, and how many were tried."""
    hits, tried = 0, 0
    rows = list(report.layers)
    for index, row in enumerate(rows):
        size = row.metrics.get("log10_rms")
        if size is None or not isinstance(size.value, float) or min(row.shape) < SIDE:
            continue
        metrics = {**row.metrics, "log10_rms": dataclasses.replace(size, value=size.value + 1)}
        injured = [*rows]
        injured[index] = dataclasses.replace(row, metrics=metrics)
        codes = {finding.code for finding in judge(injured, {}).layers[index].findings}
        hits += bool(codes & {"RA-MO-002"})
        tried += 1
    return hits, tried


def stacked(layers: list[LayerInput]) -> tuple[int, int]:
    """Return how many in-projections with three equal parts are reported, and how many were tried."""
    hits = 0
    for given in layers:
        side = min(given.layer.shape)
        part = given.matrices[0][:side, :side]
        state = {"attn.in_proj_weight": torch.cat([part, part, part])}
        report = rmtaudit.scan(state, analyzers=["forensics"])
        copies = [f for row in report.layers for f in row.findings if f.code == "RA-MO-001"]
        hits += len(copies) == 2
    return hits, len(layers)


def zeroed(layers: list[LayerInput]) -> tuple[int, int]:
    """Return how many layers of zeros are reported as such, and how many were tried."""
    hits = 0
    for given in layers:
        state = {given.layer.name: torch.zeros(given.layer.shape)}
        (row,) = rmtaudit.scan(state, analyzers=["forensics"]).layers
        hits += [(each.code, each.severity) for each in row.findings] == [("RA-SC-002", "warning")]
    return hits, len(layers)


def power(models: list[Path]) -> None:
    """Print the table of injuries."""
    layers = {path: targets(path) for path in models}
    print("| injury | finding | " + " | ".join(f"{path.parent.name}/{path.stem}" for path in models) + " |")
    print("|---|---|" + "---:|" * len(models))
    visible, found = 0, 0
    for kind in KINDS:
        cells = []
        for path in models:
            hits, tried = found_in(kind, layers[path]), len(layers[path])
            visible += not kind.unseen
            found += not kind.unseen and 2 * hits > tried
            cells.append(f"{hits}/{tried}")
        code = f"cannot be seen: {kind.unseen}" if kind.unseen else " or ".join(kind.codes)
        print(f"| {kind.name} | {code} | " + " | ".join(cells) + " |", flush=True)
    scans = {path: rmtaudit.scan(path, analyzers=["forensics"]) for path in models}
    whole = (
        ("layer x 10", "RA-MO-002", lambda path: layer_times_ten(scans[path])),
        ("layer of zeros", "RA-SC-002", lambda path: zeroed(layers[path])),
        ("query = key = value in one tensor", "RA-MO-001", lambda path: stacked(layers[path])),
    )
    for name, code, count in whole:
        cells = []
        for path in models:
            hits, tried = count(path)
            visible += 1
            found += 2 * hits > tried
            cells.append(f"{hits}/{tried}")
        print(f"| {name} | {code} | " + " | ".join(cells) + " |", flush=True)
    print(f"\nFound in more than half of the layers: {found} of {visible} visible kinds and models.\n")


def healthy(folders: list[Path]) -> Iterator[tuple[Path, Report]]:
    """Yield every checkpoint that can be read, with its report; those damaged on purpose are left out."""
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        if "derived" in path.parts:
            continue
        try:
            report = rmtaudit.scan(path, analyzers=["forensics"])
        except RmtauditError:
            continue
        if any(row.status == "ok" for row in report.layers):
            yield path, report


def false_alarms(folders: list[Path]) -> None:
    """Print every finding on healthy models, and the table of codes."""
    models: defaultdict[str, set[Path]] = defaultdict(set)
    layers: defaultdict[str, int] = defaultdict(int)
    count, total = 0, 0
    for path, report in healthy(folders):
        count += 1
        for row in report.layers:
            total += row.status == "ok"
            for code in {each.code for each in row.findings}:
                layers[code] += 1
                models[code].add(path)
                print(f"{code} {path.parent.name}/{path.name} {row.name} {row.shape}")
    print(f"\n{count} healthy models, {total} layers\n")
    print("| finding | severity | models | layers |\n|---|---|---:|---:|")
    for code, kind in FINDINGS.items():
        if code[:5] in {"RA-FO", "RA-MO", "RA-SC"}:
            severity = kind.fact or "by p-value"
            print(f"| {code} {kind.title} | {severity} | {len(models[code])} | {layers[code]} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="*", help="folders of healthy models")
    parser.add_argument("--model", type=Path, action="append", default=[], help="a model to injure")
    given = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    if given.model:
        power(given.model)
    if given.folders:
        false_alarms(given.folders)
    print(f"\n{time.process_time() - started:.0f} CPU seconds")


if __name__ == "__main__":
    main()
