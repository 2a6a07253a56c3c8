"""One row a sample: what a layer is given at a random position of it, while the network runs.

Positions of one sample depend on each other, and a law of sample covariances holds for independent rows only:
so each sample gives one row, at a position that is drawn evenly from those that are not padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from rmtaudit.engine.activations.layers import ActivationLayer, Site, rows_by_sample
from rmtaudit.engine.activations.moments import Moments
from rmtaudit.engine.activations.settings import GROUPS
from rmtaudit.engine.networks import Batch, Network, Samples
from rmtaudit.engine.networks.maps import Map
from rmtaudit.errors import StoppedWorkError

_TOGETHER = 1 << 22
"""Numbers in the patches that are held at once: 32 MiB in float64."""


def gather(
    network: Network,
    samples: Samples,
    sites: Sequence[Site],
    *,
    batch: int,
    seed: int,
    kept: int,
    stop: Callable[[], bool],
    progress: Callable[[int], None],
) -> list[Moments | None]:
    """Run the network on all samples and return the moments of the rows of every site.

    Parameters
    ----------
    network, samples, sites
        Layers and what they are run on.
    batch
        Samples that run together: it changes no result but by rounding.
    seed
        Of the positions and the groups.
    kept
        Rows that are kept as they are, of each site.
    stop, progress
        Asked and called between two batches, with the samples that are finished.

    Returns
    -------
    list
        ``None`` where a layer was not given a row for each sample.

    Raises
    ------
    StoppedWorkError
        If ``stop`` says so.
    """
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(len(samples), dtype=torch.float64, generator=generator)
    groups = torch.randperm(len(samples), generator=generator) % GROUPS
    moments: list[Moments | None] = [
        Moments(len(samples), site.features, GROUPS, kept=kept) for site in sites
    ]
    for start in range(0, len(samples), batch):
        if stop():
            raise StoppedWorkError(
                f"The run was stopped after {start} of {len(samples)} samples.", kept=False
            )
        indices = range(start, min(start + batch, len(samples)))
        current = samples.batch(network, indices)
        rows = _rows(network, current, sites, draws[indices.start : indices.stop])
        for place, each in enumerate(rows):
            own = moments[place]
            if own is None:
                continue
            if each is None:
                moments[place] = None
            else:
                own.add(each, groups[indices.start : indices.stop])
        progress(indices.stop)
    return moments


def _rows(
    network: Network, batch: Batch, sites: Sequence[Site], draws: torch.Tensor
) -> list[torch.Tensor | None]:
    rows: list[torch.Tensor | None] = [None] * len(sites)
    seen = [False] * len(sites)

    def noting(place: int, layer: ActivationLayer) -> Any:
        def note(_module: torch.nn.Module, args: tuple[Any, ...]) -> None:
            if seen[place]:  # a layer that runs several times: its first input
                return
            seen[place] = True
            if args and isinstance(args[0], torch.Tensor) and len(args[0]) == len(batch):
                rows[place] = _drawn(layer, args[0], batch, draws)

        return note

    with ExitStack() as stack:
        for place, site in enumerate(sites):
            layer = site.layers[0]
            stack.callback(layer.module.register_forward_pre_hook(noting(place, layer)).remove)
        stack.enter_context(torch.no_grad())
        network.output(batch)
    return rows


def _drawn(layer: ActivationLayer, given: torch.Tensor, batch: Batch, draws: torch.Tensor) -> torch.Tensor:
    """Return a row for each sample, float64, on the CPU."""
    if layer.kind is Map.CONVOLUTION:  # the patches of a few samples at a time: all of them take much memory
        step = max(1, _TOGETHER // max(1, layer.positions * layer.inputs))
        parts = [
            _at(rows_by_sample(layer.module, layer.kind, some), None, part)
            for some, part in zip(torch.split(given, step), torch.split(draws, step), strict=True)
        ]
        return torch.cat(parts)
    by_sample = rows_by_sample(layer.module, layer.kind, given)
    mask = batch.mask
    return _at(by_sample, mask if mask is not None and mask.shape == by_sample.shape[:2] else None, draws)


def _at(by_sample: torch.Tensor, mask: torch.Tensor | None, draws: torch.Tensor) -> torch.Tensor:
    """Return the row of each sample at its draw from [0, 1), evenly among the positions of the mask."""
    count, positions = by_sample.shape[:2]
    real = torch.ones((count, positions), dtype=torch.bool) if mask is None else mask.cpu()
    real = real | ~real.any(1, keepdim=True)
    sizes = real.sum(1)
    wanted = torch.minimum((draws * sizes).long(), sizes - 1)
    place = ((real.cumsum(1) == wanted[:, None] + 1) & real).int().argmax(1)
    own = by_sample[torch.arange(count, device=by_sample.device), place.to(by_sample.device)]
    return own.detach().cpu().double()
