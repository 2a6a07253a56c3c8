"""How long a scan will take, from the shapes of its layers and the speed of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from rmtaudit.engine.resources.progress import Estimate
from rmtaudit.engine.settings.presets import preset_settings
from rmtaudit.engine.settings.scan import ScanSettings
from rmtaudit.kernels.spectra.gram import eigenvalues

WORTH_SAYING = 60.0
"""Seconds from which a scan is announced."""

_PRODUCT, _SYMMETRIC = 768, 1536
"""Orders of the matrices that the speed is measured with: smaller ones take longer for their order."""

_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Speed:
    """Speed of one thread in one precision: matrix products, and all eigenvalues of a symmetric matrix.

    ``products`` are floating-point operations a second; ``eigenvalues`` are ``p³`` over the seconds that a
    matrix of order ``p`` takes.
    """

    products: float
    eigenvalues: float


@dataclass(frozen=True, slots=True)
class Rates:
    """Speed of this machine in float64, and in float32, which serves weights in half precision."""

    float64: Speed
    float32: Speed


SLOW = Rates(Speed(1.5e10, 3e9), Speed(3e10, 4e9))
"""No machine is measured for a scan that takes less than :data:`WORTH_SAYING` at these rates."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds for one matrix of ``n x p``, ``n >= p``, with the rates of the precision of its spectrum.

    ``fixed + entries * n p + products * 2 n p² / rate + eigenvalues * p³ / rate``.
    """

    fixed: float
    entries: float
    products: float
    eigenvalues: float

    def of(self, shape: tuple[int, int], speed: Speed) -> float:
        """Return the seconds for one matrix."""
        long, short = max(shape), min(shape)
        return (
            self.fixed
            + self.entries * long * short
            + self.products * 2 * long * short**2 / speed.products
            + self.eigenvalues * float(short) ** 3 / speed.eigenvalues
        )


@dataclass(frozen=True, slots=True)
class PresetCost:
    """Costs of a preset: of layers whose signal a block shows, and of layers of noise.

    Mostly noise takes longer: a noise model that is accepted has to be tested against the whole matrix. With
    ``audit`` large layers of signal do. The ``narrow`` costs are those of weights in half precision with a
    spectrum in float32.
    """

    signal: Cost
    noise: Cost
    narrow_signal: Cost
    narrow_noise: Cost


_FAST = Cost(0.0062, 2.3e-08, 0.153, 1.12)
_NARROW_FAST = Cost(0.0062, 2.3e-08, 0.18, 1.35)

COSTS = {
    "fast": PresetCost(signal=_FAST, noise=_FAST, narrow_signal=_NARROW_FAST, narrow_noise=_NARROW_FAST),
    "default": PresetCost(
        signal=Cost(0.037, 4.8e-08, 1.04, 0.988),
        noise=Cost(0.037, 1.4e-07, 0.357, 2.11),
        narrow_signal=Cost(0.037, 4.8e-08, 1.51, 1.11),
        narrow_noise=Cost(0.037, 1.4e-07, 1.47, 1.62),
    ),
    "audit": PresetCost(
        signal=Cost(0.076, 1.5e-07, 1.54, 1.91),
        noise=Cost(0.076, 2.4e-07, 0.153, 2.3),
        narrow_signal=Cost(0.076, 1.5e-07, 3.43, 1.35),
        narrow_noise=Cost(0.076, 2.4e-07, 1.84, 1.87),
    ),
}
"""By preset, after layers of 64 x 64 to 4096 x 4096: ``benchmarks/scan_cost.py`` refits them."""


@dataclass(frozen=True, slots=True)
class Matrices:
    """The matrices of one layer: their shape, their number, and whether their spectrum is in float32."""

    shape: tuple[int, int]
    count: int
    narrow: bool = False


def estimate_scan(
    layers: Iterable[Matrices],
    settings: ScanSettings,
    *,
    threads: int,
    rates: Callable[[], Rates] | None = None,
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
    rates
        Returns the speed of one thread; :func:`measured_rates`. It is called only for a scan that takes a
        minute at :data:`SLOW`.

    Returns
    -------
    Estimate
        ``None`` also for a scan of less than :data:`WORTH_SAYING` seconds.
    """
    layers = list(layers)
    preset = _preset_of(settings)
    if preset is None or estimated_range(layers, COSTS[preset], threads, SLOW)[1] < WORTH_SAYING:
        return None
    speed = (rates or measured_rates)()
    least, most = estimated_range(layers, COSTS[preset], threads, speed)
    if most < WORTH_SAYING:
        return None
    fast = None if preset == "fast" else estimated_range(layers, COSTS["fast"], threads, speed)[1]
    return Estimate(layers=len(layers), threads=threads, seconds=least, seconds_most=most, seconds_fast=fast)


def measured_rates() -> Rates:
    """Return the speed of one thread on this machine, in about half a second.

    In CPU time of this thread, so that other work on the machine changes it little; the libraries must be at
    one thread.
    """
    return Rates(_measured(torch.float64), _measured(torch.float32))


def _measured(dtype: torch.dtype) -> Speed:
    draws = torch.Generator().manual_seed(0)
    factor = torch.randn(_PRODUCT, _PRODUCT, dtype=dtype, generator=draws)
    matrix = torch.randn(_SYMMETRIC, _SYMMETRIC, dtype=dtype, generator=draws)
    product = _least_seconds(lambda: factor @ factor, _REPEATS)
    symmetric = matrix + matrix.T
    decomposition = _least_seconds(lambda: eigenvalues(symmetric), 1)
    return Speed(2 * _PRODUCT**3 / product, _SYMMETRIC**3 / decomposition)


def _least_seconds(step: Callable[[], object], repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        started = time.thread_time()
        step()
        best = min(best, time.thread_time() - started)
    return best


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


def estimated_range(
    layers: list[Matrices], cost: PresetCost, threads: int, rates: Rates
) -> tuple[float, float]:
    """Return the least and the most seconds on so many threads."""
    wide = [each for each in layers if not each.narrow]
    narrow = [each for each in layers if each.narrow]
    signal = _each(wide, cost.signal, rates.float64) + _each(narrow, cost.narrow_signal, rates.float32)
    noise = _each(wide, cost.noise, rates.float64) + _each(narrow, cost.narrow_noise, rates.float32)
    pairs = list(zip(signal, noise, strict=True))
    return _shared([min(pair) for pair in pairs], threads), _shared([max(pair) for pair in pairs], threads)


def _each(layers: list[Matrices], cost: Cost, speed: Speed) -> list[float]:
    return [layer.count * cost.of(layer.shape, speed) for layer in layers]


def _shared(seconds: list[float], threads: int) -> float:
    """Return the time of all layers shared out, and at least that of the longest."""
    return max(sum(seconds) / threads, max(seconds, default=0.0))
