"""Measure the activations of a network, as many layers at a time as the memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from rmtaudit.engine.activations.alignment import alignment
from rmtaudit.engine.activations.conjugate import ROWS, conjugate_facts
from rmtaudit.engine.activations.layers import ActivationLayer, Site, Unmeasured, chosen_names, sites_of
from rmtaudit.engine.activations.moments import Moments, memory_of
from rmtaudit.engine.activations.numbers import Number
from rmtaudit.engine.activations.rows import gather
from rmtaudit.engine.activations.settings import FEWEST, GROUPS, ActivationsSettings
from rmtaudit.engine.activations.spectrum import length_facts, spectra_of, spectrum_facts
from rmtaudit.engine.networks import Network, Samples
from rmtaudit.engine.resources.memory import free_memory
from rmtaudit.errors import StoppedWorkError

_BUDGET = 2 << 30
"""Bytes of memory at most, unless more is given: a choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerActivations:
    """What was measured of a layer.

    Attributes
    ----------
    layer
        Which one.
    shared
        The first of the layers that are given the same; its own name where it is that one.
    unmeasured
        Why nothing was measured, or ``None``.
    facts
        As JSON values.
    numbers
        By name.
    """

    layer: ActivationLayer
    shared: str
    unmeasured: Unmeasured | None
    facts: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, Number] = field(default_factory=dict)


def measure(
    network: Network,
    samples: Samples,
    settings: ActivationsSettings,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[LayerActivations]:
    """Return what is measured of each chosen layer, in the order in which they run.

    Raises
    ------
    UsageError
        RA-AC-002: the patterns leave no layer.
    StoppedWorkError
        If ``stop`` says so.
    """
    chosen = chosen_names(network, settings.include, settings.exclude)
    sites = sites_of(network, samples, chosen)
    memory = settings.memory or min(free_memory() // 2, _BUDGET)
    if len(samples) < FEWEST:
        return [
            row
            for site in sites
            for row in _all_without(site, site.layers[0].unmeasured or Unmeasured.SAMPLES)
        ]
    passes, left = _passes(sites, len(samples), memory)
    results = [row for site, why in left for row in _all_without(site, why)]
    total = len(passes) * len(samples)
    for number, part in enumerate(passes):
        moments = gather(
            network,
            samples,
            part,
            batch=settings.batch,
            seed=settings.seed,
            kept=ROWS,
            stop=stop,
            progress=partial(_forward, progress, number * len(samples), total),
        )
        for place, site in enumerate(part):
            if stop():
                raise StoppedWorkError("The run was stopped; nothing is kept.", kept=False)
            results += _measured(site, moments[place], network, settings)
            moments[place] = None
    order = {layer.name: place for place, layer in enumerate(each for site in sites for each in site.layers)}
    return sorted(results, key=lambda row: order[row.layer.name])


def _forward(progress: Callable[[int, int], None], before: int, total: int, done: int) -> None:
    progress(before + done, total)


def _passes(
    sites: Sequence[Site], samples: int, memory: int
) -> tuple[list[list[Site]], list[tuple[Site, Unmeasured]]]:
    """Divide the sites among runs over the samples, each within the memory."""
    passes: list[list[Site]] = []
    left: list[tuple[Site, Unmeasured]] = []
    room = 0
    for site in sites:
        why = site.layers[0].unmeasured
        size = memory_of(samples, site.features, GROUPS, kept=ROWS)
        if why is not None or size > memory:
            left.append((site, why or Unmeasured.MEMORY))
            continue
        if size > room or not passes:
            passes.append([])
            room = memory
        passes[-1].append(site)
        room -= size
    return passes, left


def _measured(
    site: Site, moments: Moments | None, network: Network, settings: ActivationsSettings
) -> Iterator[LayerActivations]:
    if moments is None:
        yield from _all_without(site, Unmeasured.NO_ROWS)
        return
    if not moments.finite:
        yield from _all_without(site, Unmeasured.NOT_FINITE)
        return
    spectra = spectra_of(moments, torch.finfo(network.dtype).eps)
    if spectra.rank == 0:
        yield from _all_without(site, Unmeasured.CONSTANT)
        return
    facts, numbers = spectrum_facts(spectra)
    variance = float(spectra.whole.eigenvalues.sum()) / moments.features
    common = {
        "rows": moments.rows,
        "rank": spectra.rank,
        "rank_known": spectra.rank_known,
        "variance": variance,
        "mean_share": max(0.0, 1 - variance / moments.mean_square),
        "lengths": length_facts(moments.first, spectra.whole.scales, numbers["participation_ratio"].value),
        **facts,
    }
    for layer in site.layers:
        own = {
            "overlap": alignment(layer, moments, spectra.whole.eigenvalues, settings.seed),
            "conjugate": conjugate_facts(layer, moments.first, settings.seed),
        }
        yield LayerActivations(
            layer=layer,
            shared=site.layers[0].name,
            unmeasured=None,
            facts={**common, **own},
            numbers=numbers,
        )


def _all_without(site: Site, why: Unmeasured) -> Iterator[LayerActivations]:
    for layer in site.layers:
        yield LayerActivations(layer=layer, shared=site.layers[0].name, unmeasured=why)
