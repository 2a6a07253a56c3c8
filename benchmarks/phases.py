"""How often the phase of a matrix of known phase is right, on matrices that no threshold was set on.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/phases.py [--matrices 100] [--seed 2026]

``--small`` takes smaller sides, ``--calibration`` the matrices that set the thresholds, ``--between`` shows
what spectra between the phases come out as, and ``--models PATH…`` the layers of checkpoints.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch
from phase_ensembles import (
    BETWEEN,
    CALIBRATION,
    CALIBRATION_SHAPES,
    FRESH,
    Drawn,
    Source,
    calibration_shape,
    draw,
    fresh_shape,
)

import rmtaudit
from rmtaudit.analyzers.base import MetricValue
from rmtaudit.analyzers.contract import layer_input
from rmtaudit.analyzers.phase import UNDECIDED, PhaseOfTraining, PhaseOptions
from rmtaudit.kernels.phases.classify import OUTCOMES, PHASES

STATISTICS = (
    "zero_share",
    "bulk_p_value",
    "spikes",
    "gap",
    "tail_alpha",
    "tail_misfit",
    "tail_reach_p_value",
)
SMALL = ((48, 64), (96, 127), (128, 191), (192, 255), (256, 383))
BANDS = (0.0, 0.6, 0.8, 0.9, 0.97, 1.0)


def judged(matrix: torch.Tensor) -> tuple[str, str, float]:
    """Return the phase, the nearest phase and the confidence, as a scan would report them."""
    values = PhaseOfTraining(PhaseOptions(least_side=32)).analyze(layer_input(matrix.float()))
    confidence = values["phase_confidence"]
    return str(values["phase"]), str(values["phase_nearest"]), float(confidence.value)


def ranges(number: int, source: Source) -> None:
    """Print the range of every statistic over the matrices that set the thresholds, sides of 500 on."""
    print("| phase | " + " | ".join(STATISTICS) + " |\n|---|" + "---|" * len(STATISTICS))
    shapes = [shape for shape in CALIBRATION_SHAPES if min(shape) >= 500]
    for phase in PHASES:
        found: dict[str, list[float]] = defaultdict(list)
        for _ in range(number):
            shape = shapes[source.whole(0, len(shapes) - 1)]
            values = PhaseOfTraining().analyze(
                layer_input(draw(phase, CALIBRATION, shape, source).matrix.float())
            )
            for name in STATISTICS:
                value = values[f"phase_{name}"]
                value = value.value if isinstance(value, MetricValue) else value
                if value is not None:
                    found[name].append(float(value))
        cells = [f"{min(found[name]):.2g} to {max(found[name]):.2g}" for name in STATISTICS if found[name]]
        print(f"| {phase} | " + " | ".join(cells) + " |")


def interval(right: int, number: int) -> str:
    """Return the share with its 95 % interval (Wilson)."""
    share, z2 = right / number, 1.96**2
    centre = (share + z2 / (2 * number)) / (1 + z2 / number)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * number)) / number) / (1 + z2 / number)
    return f"{share:.1%} ({centre - half:.1%} to {min(1.0, centre + half):.1%})"


def known(family: dict[str, dict[str, object]], number: int, shape: object, source: Source) -> None:
    """Print how often matrices of a family come out right."""
    rows: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    bands: dict[int, Counter[bool]] = defaultdict(Counter)
    for phase in PHASES:
        for _ in range(number):
            drawn = draw(phase, family, shape(source), source)
            found, nearest, confidence = judged(drawn.matrix)
            rows[drawn.phase, drawn.mechanism][found] += 1
            band = max(index for index, low in enumerate(BANDS) if confidence >= low)
            bands[band][nearest == phase] += 1
    print("| phase | made by | matrices | right | undecided | taken for |\n|---|---|---:|---:|---:|---|")
    for (phase, mechanism), counts in rows.items():
        wrong = ", ".join(
            f"{name} {count}" for name, count in counts.items() if name not in (phase, UNDECIDED)
        )
        print(
            f"| {phase} | {mechanism} | {counts.total()} | {counts[phase]} | {counts[UNDECIDED]} | {wrong} |"
        )
    total = number * len(PHASES)
    right = sum(counts[phase] for (phase, _), counts in rows.items())
    undecided = sum(counts[UNDECIDED] for counts in rows.values())
    print(f"| all | | {total} | {right} | {undecided} | |")
    print(f"\nright: {interval(right, total)}, undecided counted as wrong")
    print("\n| confidence | matrices | nearest phase right |\n|---|---:|---:|")
    for band, low in enumerate(BANDS):
        name = "1" if low == 1 else f"{low:g} to {BANDS[band + 1]:g}"
        print(f"| {name} | {bands[band].total()} | {bands[band][True]} |")


def between(number: int, source: Source) -> None:
    """Print what spectra between the phases come out as."""
    print("| made by | matrices | comes out as |\n|---|---:|---|")
    for mechanism, maker in BETWEEN.items():
        counts = Counter(judged(maker(*fresh_shape(source), source))[0] for _ in range(number))
        print(
            f"| {mechanism} | {number} | "
            + ", ".join(f"{name} {count}" for name, count in counts.most_common())
            + " |"
        )


def models(paths: list[Path]) -> None:
    """Print the phases of the layers of checkpoints."""
    print("| model | layers | too small or pooled | " + " | ".join((*OUTCOMES, UNDECIDED)) + " |")
    print("|---|---:|---:|" + "---:|" * (len(OUTCOMES) + 1))
    for path in paths:
        report = rmtaudit.scan(path, analyzers=["phase"])
        found = [layer.metrics["phase"] for layer in report.layers if layer.status == "ok"]
        counts = Counter(metric.value for metric in found)
        cells = [str(counts[name] or "") for name in (*OUTCOMES, UNDECIDED)]
        name = "/".join(path.parts[-2:])
        print(f"| {name} | {len(found)} | {counts[None] or ''} | " + " | ".join(cells) + " |")


def small(number: int, source: Source) -> None:
    """Print how often small matrices come out right."""
    print("| smaller side | matrices | right | undecided | wrong |\n|---|---:|---:|---:|---:|")
    for low, high in SMALL:
        counts: Counter[str] = Counter()
        for drawn in _drawn(number, low, high, source):
            found = judged(drawn.matrix)[0]
            counts["right" if found == drawn.phase else found if found == UNDECIDED else "wrong"] += 1
        cells = [counts.total(), counts["right"], counts[UNDECIDED], counts["wrong"]]
        print(f"| {low} to {high} | " + " | ".join(map(str, cells)) + " |")


def _drawn(number: int, low: int, high: int, source: Source) -> Iterator[Drawn]:
    for phase in PHASES:
        for _ in range(number):
            yield draw(phase, FRESH, fresh_shape(source, low, high), source)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--matrices", type=int, default=100, help="of each phase")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--calibration", action="store_true")
    parser.add_argument("--between", action="store_true")
    parser.add_argument("--models", type=Path, nargs="+", default=[])
    given = parser.parse_args()
    torch.set_num_threads(1)
    source, started = Source(given.seed), time.process_time()
    if given.models:
        models(given.models)
    elif given.between:
        between(given.matrices, source)
    elif given.small:
        small(given.matrices, source)
    elif given.calibration:
        ranges(given.matrices, source)
        print()
        known(CALIBRATION, given.matrices, calibration_shape, source)
    else:
        known(FRESH, given.matrices, fresh_shape, source)
    print(f"\n{time.process_time() - started:.0f} CPU seconds")


if __name__ == "__main__":
    main()
