"""Change one weight at a time, and compare what the network returns with what it returned before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from rmtaudit.engine.networks import Batch, Network, Samples
from rmtaudit.engine.probe.readout import Readout
from rmtaudit.engine.probe.settings import ProbeSettings
from rmtaudit.engine.probe.weights import Weight
from rmtaudit.errors import InputError, StoppedWorkError, UsageError
from rmtaudit.kernels.harm.noise import mean_and_error, relative_noise

_WORK = 6
"""Times the bytes of the outputs that a batch takes: measured between 3 and 5 for language models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over samples, and its standard error: ``None`` for a single sample."""

    value: float
    error: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What changing one weight did.

    Attributes
    ----------
    weight
        Which one.
    sensitivity
        Change of the output under noise, over the square of the noise's relative size.
    relative_error
        Frobenius norm of the edit over that of the weight; ``None`` without an edit.
    harm
        Change of the output under the edit; ``None`` without an edit.
    finite
        Whether every output was finite. Estimates are ``None`` where one was not.
    """

    weight: Weight
    sensitivity: Estimate | None
    relative_error: float | None
    harm: Estimate | None
    finite: bool

    @property
    def second_order(self) -> float | None:
        """The harm that the sensitivity predicts: of isotropic noise of the size of the edit."""
        if self.sensitivity is None or self.relative_error is None:
            return None
        return self.sensitivity.value * self.relative_error**2


@dataclass(slots=True, kw_only=True)
class Bench:
    """A network, inputs, and its outputs for them before any change."""

    network: Network
    readout: Readout
    batches: Sequence[Batch]
    reference: list[torch.Tensor] = field(default_factory=list)
    scale: float = 1.0

    def changes(self) -> torch.Tensor | None:
        """Return how far each sample's output is from before, shape ``(samples,)``; ``None``: not finite."""
        means = []
        for batch, before in zip(self.batches, self.reference, strict=True):
            with torch.no_grad():
                after, owners = self.readout.rows(self.network, batch)
            change = self.readout.change(before, after)
            if not bool(change.isfinite().all()):
                return None
            sums = change.new_zeros(len(batch)).index_add_(0, owners, change)
            counts = torch.bincount(owners, minlength=len(batch))
            means.append(sums / counts)
        return torch.cat(means).cpu() / self.scale

    @contextmanager
    def replaced(self, parameter: torch.nn.Parameter, value: torch.Tensor) -> Iterator[None]:
        """Have a parameter hold other values for a while."""
        before = parameter.detach().clone()
        try:
            with torch.no_grad():
                parameter.copy_(value)
            yield
        finally:
            with torch.no_grad():
                parameter.copy_(before)


def bench_of(network: Network, samples: Samples, readout: Readout, memory: int) -> Bench:
    """Return a network with its outputs for the samples.

    Raises
    ------
    UsageError
        RA-PB-004: the outputs do not fit the memory.
    InputError
        RA-PB-005: they are not finite.
    """
    with torch.no_grad():
        first, _ = readout.rows(network, samples.batch(network, [0]))
    each = first.numel() * first.element_size()
    if each * (len(samples) + _WORK) > memory:
        raise UsageError(
            "RA-PB-004",
            f"The outputs for {len(samples)} samples take {each * len(samples) / 2**30:.2f} GiB.",
            hint="Give fewer --samples or --tokens, or more --memory.",
        )
    size = max(1, int((memory - each * len(samples)) // (_WORK * each)))
    bench = Bench(network=network, readout=readout, batches=list(samples.batches(network, size)))
    for batch in bench.batches:
        with torch.no_grad():
            rows, _ = readout.rows(network, batch)
        if not bool(rows.isfinite().all()):
            raise InputError(
                "RA-PB-005",
                "The network's own outputs are not finite.",
                hint="Try --precision float32, or other inputs.",
                where=network.name,
            )
        bench.reference.append(rows)
    bench.scale = readout.scale(bench.reference)
    return bench


def probe_weight(bench: Bench, weight: Weight, settings: ProbeSettings, new: torch.Tensor | None) -> Probed:
    """Return what noise, and the edited values ``new`` if there are any, do in place of one weight."""
    parameter = weight.parameter
    rows = []
    for draw in range(settings.draws):
        noise = relative_noise(parameter.detach(), settings.noise, _generator(settings.seed, weight, draw))
        with bench.replaced(parameter, parameter.detach() + noise):
            rows.append(bench.changes())
    measured = [row for row in rows if row is not None]
    sensitivity = None
    if len(measured) == len(rows):
        sensitivity = _estimate(torch.stack(measured) / settings.noise**2)
    harm, relative, finite = None, None, len(measured) == len(rows)
    if new is not None:
        distance = torch.linalg.vector_norm(new.double() - parameter.detach().double())
        norm = torch.linalg.vector_norm(parameter.detach().double())
        relative = float(distance / norm) if float(norm) else 0.0
        with bench.replaced(parameter, new):
            changed = bench.changes()
        finite = finite and changed is not None
        harm = None if changed is None else _estimate(changed[None])
    return Probed(weight=weight, sensitivity=sensitivity, relative_error=relative, harm=harm, finite=finite)


def probe_weights(
    bench: Bench,
    weights: Sequence[Weight],
    settings: ProbeSettings,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[list[Probed], dict[str, torch.Tensor]]:
    """Return what changing each weight does, and the edited weights by name."""
    results, edits = [], {}
    for done, weight in enumerate(weights):
        progress(done, len(weights))
        if stop():
            raise StoppedWorkError(
                f"The run was stopped with {done} of {len(weights)} layers probed.", kept=False
            )
        new = None
        if settings.edit is not None:
            new = edits[weight.name] = weight.edited(settings.edit)
        results.append(probe_weight(bench, weight, settings, new))
    return results, edits


def _estimate(values: torch.Tensor) -> Estimate:
    value, error = mean_and_error(values)
    return Estimate(value=value, error=error)


def _generator(seed: int, weight: Weight, draw: int) -> torch.Generator:
    """Return the source of one draw of noise: the same whichever other weights are probed."""
    digest = hashlib.sha256(f"{seed}\0{draw}\0{weight.name}".encode("utf-8", "surrogatepass")).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
