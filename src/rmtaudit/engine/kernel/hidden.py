"""The features of the conjugate kernel: what the last linear layer is given."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rmtaudit.engine.kernel.features import Features
from rmtaudit.engine.kernel.layers import Map, map_of
from rmtaudit.engine.kernel.readout import flattened, is_sequence
from rmtaudit.engine.kernel.settings import KernelSettings
from rmtaudit.engine.kernel.tracing import traced
from rmtaudit.engine.networks import Network, Samples
from rmtaudit.errors import UsageError
from rmtaudit.names import display_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """What makes hidden features of indices.

    Attributes
    ----------
    network, samples
        What they are made of.
    module
        Name of the module whose input they are.
    width
        Features of a sample.
    sequence
        Whether the module is given a vector a position, of which that of the last real position is taken.
    """

    network: Network
    samples: Samples
    module: str
    width: int
    sequence: bool

    def features(self, indices: range | list[int]) -> Features:
        """Return the hidden features of some samples."""
        batch = self.samples.batch(self.network, indices)
        given = _given(self.network, self.samples, self.module, indices)
        values = flattened(given, batch, sequence=self.sequence)
        dtype = torch.float64 if self.network.dtype is torch.float64 else torch.float32
        return Features(samples=len(batch), outputs=1, pieces={}, rows=values[:, None].to(dtype))

    @property
    def words(self) -> str:
        """What a row of the kernel is."""
        position = " at the last position" if self.sequence else ""
        return f"the {self.width} input features of '{display_name(self.module)}'{position}"


def hidden_for(network: Network, samples: Samples, settings: KernelSettings) -> Hidden:
    """Return what makes the features that the settings ask for.

    Raises
    ------
    UsageError
        RA-KN-006: there is no such module, or none that is linear, or it is given no row for each sample.
    """
    few = [index % len(samples) for index in range(2)]
    module = settings.features if settings.features is not None else _last(network, samples, few)
    batch = samples.batch(network, few)
    given = _given(network, samples, module, few)
    if len(given) != len(few):
        raise UsageError(
            "RA-KN-006", f"The input of '{display_name(module)}' does not have one row for each sample."
        )
    sequence = is_sequence(network, batch, given)
    width = flattened(given, batch, sequence=sequence).shape[1]
    return Hidden(network=network, samples=samples, module=module, width=width, sequence=sequence)


def _last(network: Network, samples: Samples, few: list[int]) -> str:
    """Return the last linear layer that runs."""
    linear = {
        name: module
        for name, module in network.module.named_modules()
        if map_of(module) in (Map.LINEAR, Map.TRANSPOSED)
    }
    batch = samples.batch(network, few)
    with torch.no_grad(), traced(linear, len(batch)) as trace:
        network.output(batch)
    if not trace.calls:
        raise UsageError(
            "RA-KN-006",
            "No linear layer runs whose input could serve as features.",
            hint="Name a module with --features.",
            where=network.name,
        )
    return trace.calls[-1].name


def _given(network: Network, samples: Samples, name: str, indices: range | list[int]) -> torch.Tensor:
    modules = dict(network.module.named_modules())
    if name not in modules:
        raise UsageError(
            "RA-KN-006", f"The network has no module '{display_name(name)}'.", where=network.name
        )
    batch = samples.batch(network, indices)
    with torch.no_grad(), traced({name: modules[name]}, len(batch)) as trace:
        network.output(batch)
    for call in reversed(trace.calls):
        for each in (*call.args, *call.kwargs.values()):
            if isinstance(each, torch.Tensor) and each.is_floating_point() and each.ndim > 1:
                return each
    raise UsageError(
        "RA-KN-006", f"The module '{display_name(name)}' has no input features.", where=network.name
    )
