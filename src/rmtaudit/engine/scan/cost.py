"""How long a scan will take, from the shapes of its layers and the speed of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from rmtaudit.engine.resources.progress import Estimate
from rmtaudit.engine.settings.presets import preset_settings
from rmtaudit.engine.settings.scan import ScanSettings

WORTH_SAYING = 60.0
"""Seconds from which a scan is announced."""

_MATRIX = 512
_SLOW = 5e9
"""Floating-point operations a second: no machine is measured for what this rate finishes in time."""

_REPEATS = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds that a preset takes for a matrix of ``n x p``, ``n >= p``, at ``rate`` operations a second.

    ``fixed + products * 2 n p² / rate + eigenvalues * p³ / rate``.
    """

    fixed: float
    products: float
    eigenvalues: float

    def of(self, shape: tuple[int, int], rate: float) -> float:
        """Return the seconds for one matrix."""
        long, short = max(shape), min(shape)
        return (
            self.fixed + (self.products * 2 * long * short**2 + self.eigenvalues * float(short) ** 3) / rate
        )


COSTS = {
    "fast": Cost(0.015, 0.4, 3.7),
    "default": Cost(0.06, 1.67, 6.75),
    "audit": Cost(0.2, 3.2, 12.0),
}
"""By preset; fitted to layers of 64 x 64 to 2048 x 2048 by ``benchmarks/scan_cost.py``, which refits them."""


@dataclass(frozen=True, slots=True)
class Matrices:
    """The matrices of one layer: their shape, and how many there are."""

    shape: tuple[int, int]
    count: int


def estimate_scan(
    layers: Iterable[Matrices],
    settings: ScanSettings,
    *,
    threads: int,
    rate: Callable[[], float] | None = None,
) -> Estimate | None:
    """Return how long a scan on the CPU will take, or ``None`` where nothing needs saying.

    Parameters
    ----------
    layers
        What will be analysed.
    settings
        How. Analyzers, options and solver other than those of a preset in :data:`COSTS` were not measured:
        there is no estimate for them.
    threads
        Number of layers to process in parallel.
    rate
        Returns the floating-point operations a second of one thread; :func:`measured_rate`. It is called
        only for a scan that takes a minute at 5 GFlop/s.

    Returns
    -------
    Estimate
        ``None`` also for a scan of less than :data:`WORTH_SAYING` seconds.
    """
    layers = list(layers)
    preset = _preset_of(settings)
    if preset is None or _seconds(layers, COSTS[preset], threads, _SLOW) < WORTH_SAYING:
        return None
    speed = (rate or measured_rate)()
    seconds = _seconds(layers, COSTS[preset], threads, speed)
    if seconds < WORTH_SAYING:
        return None
    fast = None if preset == "fast" else _seconds(layers, COSTS["fast"], threads, speed)
    return Estimate(layers=len(layers), threads=threads, seconds=seconds, seconds_fast=fast)


def measured_rate() -> float:
    """Return the floating-point operations a CPU second in a product of float64 matrices.

    In CPU time of this thread, so that other work on the machine changes it little; the libraries must be at
    one thread.
    """
    matrix = torch.ones(_MATRIX, _MATRIX, dtype=torch.float64)
    best = float("inf")
    for _ in range(_REPEATS):
        started = time.thread_time()
        matrix @ matrix
        best = min(best, time.thread_time() - started)
    return float(2 * _MATRIX**3 / best)


def _preset_of(settings: ScanSettings) -> str | None:
    """Return the preset in :data:`COSTS` that runs these analyzers with these options."""
    for name in COSTS:
        preset = preset_settings(name).settings
        same = set(settings.analyzers) == set(preset.analyzers) and settings.solver == preset.solver
        if same and _options(settings) == _options(preset):
            return name
    return None


def _options(settings: ScanSettings) -> dict[str, dict[str, object]]:
    return {name: dict(options) for name, options in settings.options.items() if options}


def _seconds(layers: list[Matrices], cost: Cost, threads: int, rate: float) -> float:
    """Return the time on so many threads: that of all layers shared out, and of the longest at least."""
    each = [layer.count * cost.of(layer.shape, rate) for layer in layers]
    return max(sum(each) / threads, max(each, default=0.0))
