"""Which numbers of a network's output the kernel is of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.engine.kernel.settings import ALL, SUM, KernelSettings
from rmtaudit.engine.networks import Batch, Network
from rmtaudit.errors import UsageError

_MOST = 4096
"""Outputs of a sample beyond which all of them are a mistake more often than a wish (a choice)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout:
    """The outputs of a sample.

    Attributes
    ----------
    available
        Numbers that the network returns for a sample.
    outputs
        Rows of the kernel for a sample.
    sequence
        Whether the network returns a vector a position, of which that of the last real position is taken.
    chosen, summed
        Which of them, or whether their sum divided by the root of their number.
    """

    available: int
    outputs: int
    sequence: bool
    chosen: tuple[int, ...] = ()
    summed: bool = False

    def __call__(self, network: Network, batch: Batch) -> torch.Tensor:
        """Return the outputs of a batch, shape ``(samples, outputs)``."""
        flat = flattened(network.output(batch), batch, sequence=self.sequence)
        if self.summed:
            return flat.sum(1, keepdim=True) / math.sqrt(self.available)
        return flat[:, list(self.chosen)] if self.chosen else flat

    @property
    def words(self) -> str:
        """What a row of the kernel is."""
        position = " at the last position" if self.sequence else ""
        if self.summed:
            return f"the sum of {self.available} outputs{position} divided by the root of their number"
        if self.chosen:
            return f"output {', '.join(map(str, self.chosen))} of {self.available}{position}"
        return f"each of {self.available} outputs{position}"


def readout_of(network: Network, batch: Batch, settings: KernelSettings) -> Readout:
    """Return the outputs that the settings ask for, of what the network returns for a batch.

    Raises
    ------
    UsageError
        RA-KN-002: an output that there is not, or too many.
    """
    with torch.no_grad():
        returned = network.output(batch)
    sequence = is_sequence(network, batch, returned)
    available = flattened(returned, batch, sequence=sequence).shape[1]
    missing = [each for each in settings.chosen if each >= available]
    if missing:
        raise UsageError(
            "RA-KN-002", f"There is no output {missing[0]}: the network has {available}, counted from 0."
        )
    if settings.outputs == ALL and available > _MOST:
        raise UsageError(
            "RA-KN-002",
            f"The network has {available:,} outputs for each sample, and each would be a row of the kernel.",
            hint="Add --outputs sum for the pseudo-NTK, or name some: --outputs 0,4.",
        )
    summed = settings.outputs == SUM
    count = 1 if summed else len(settings.chosen) or available
    return Readout(
        available=available, outputs=count, sequence=sequence, chosen=settings.chosen, summed=summed
    )


def is_sequence(network: Network, batch: Batch, returned: torch.Tensor) -> bool:
    """Whether what is returned has a vector for each token."""
    if network.tokens is None or returned.ndim != 3:
        return False
    lengths = {each.shape[1] for each in batch.inputs.values() if each.ndim == 2}
    return returned.shape[1] in lengths


def flattened(values: torch.Tensor, batch: Batch, *, sequence: bool) -> torch.Tensor:
    """Return a row a sample: all numbers, or of a sequence those at the last position that is not padding."""
    if not sequence:
        return values.reshape(len(batch), -1)
    if batch.mask is None:
        return values[:, -1]
    positions = torch.arange(batch.mask.shape[1], device=batch.mask.device)
    last = torch.where(batch.mask, positions, -1).amax(1).clamp(min=0)
    return values[torch.arange(len(batch), device=values.device), last]
