"""Which numbers of a network's output are compared, and how."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

import torch

from rmtaudit.checkpoints.files import read_small
from rmtaudit.engine.networks import Batch, Network, Origin
from rmtaudit.engine.probe.settings import Loss
from rmtaudit.errors import UsageError
from rmtaudit.kernels.harm.divergence import cosine_distance, divergence_of_logits, squared_error

_COMPARE: Mapping[Loss, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = MappingProxyType(
    {Loss.KL: divergence_of_logits, Loss.COSINE: cosine_distance, Loss.ERROR: squared_error}
)
_CHUNK = 1 << 23
"""Numbers that are compared at a time in float64, for little memory."""
_LARGEST = 1 << 20
"""Of the configuration of a sentence transformer, in bytes."""


class Pooling(StrEnum):
    """What is made of the hidden states of a sequence."""

    NONE = "every position"
    MEAN = "mean over positions"
    FIRST = "first position"


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout:
    """What is compared.

    Attributes
    ----------
    loss
        ``KL``, ``COSINE`` or ``ERROR``.
    hidden
        Whether it is the last hidden state; otherwise it is the main output.
    pooling
        Of hidden states.
    sequence
        Whether the output has a vector for each token.
    """

    loss: Loss
    hidden: bool
    pooling: Pooling
    sequence: bool

    @property
    def words(self) -> str:
        """What is measured."""
        place = "position" if self.sequence and self.pooling is Pooling.NONE else "sample"
        if self.loss is Loss.KL:
            return f"Kullback-Leibler divergence of the output distribution, nats a {place}"
        what = "last hidden state" if self.hidden else "output"
        pooled = f", {self.pooling}" if self.hidden else ""
        name = "1 - cosine" if self.loss is Loss.COSINE else "relative squared error"
        return f"{name} of the {what}{pooled}"

    def rows(self, network: Network, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the vectors that are compared, and the number in the batch of each one's sample."""
        values = network.run(batch).last_hidden_state if self.hidden else network.output(batch)
        owners = torch.arange(len(batch), device=values.device)
        if self.hidden and self.pooling is Pooling.FIRST:
            return values[:, 0], owners
        if self.hidden and self.pooling is Pooling.MEAN:
            if batch.mask is None:
                return values.mean(1), owners
            weights = batch.mask.to(values)
            return (values * weights[:, :, None]).sum(1) / weights.sum(1, keepdim=True), owners
        if self.loss is Loss.ERROR and not self.sequence:
            return values.reshape(len(batch), -1), owners
        if values.ndim == 4:  # classes are the second side of what a convolutional network returns
            values = values.movedim(1, -1)
        flat = values.reshape(len(batch), -1, values.shape[-1])
        owners = owners[:, None].expand(flat.shape[:2])
        if batch.mask is not None and self.sequence:
            return flat[batch.mask], owners[batch.mask]
        return flat.reshape(-1, flat.shape[2]), owners.reshape(-1)

    def change(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """Return how far each vector has moved, float64."""
        step = max(1, _CHUNK // max(1, before.shape[1]))
        starts = range(0, len(before), step)
        return torch.cat(
            [_COMPARE[self.loss](before[at : at + step], after[at : at + step]) for at in starts]
        )

    def scale(self, before: Sequence[torch.Tensor]) -> float:
        """Return what changes are divided by: of squared errors the mean squared norm of the vectors."""
        if self.loss is not Loss.ERROR:
            return 1.0
        norms = torch.cat([each.double().square().sum(1) for each in before])
        return float(norms.mean()) or 1.0


def readout_of(network: Network, batch: Batch, loss: Loss, folder: Path | None) -> Readout:
    """Return what is compared of a network's outputs.

    Raises
    ------
    UsageError
        RA-PB-003: a distribution of fewer than two classes. Also as :meth:`Network.output`.
    """
    with torch.no_grad():
        returned = network.output(batch)
        fields = network.run(batch)
    logits = network.origin is Origin.HUGGING_FACE and any(
        getattr(fields, name, None) is not None for name in ("logits", "prediction_logits")
    )
    hidden = not logits and isinstance(getattr(fields, "last_hidden_state", None), torch.Tensor)
    values = fields.last_hidden_state if hidden else returned
    lengths = {each.shape[1] for each in batch.inputs.values() if each.ndim == 2}
    sequence = network.tokens is not None and values.ndim == 3 and values.shape[1] in lengths
    chosen = loss if loss is not Loss.AUTO else _loss_for(network, returned, logits=logits, hidden=hidden)
    classes = values.shape[1] if values.ndim == 4 else values.shape[-1]
    if chosen is Loss.KL and (values.ndim < 2 or classes < 2):
        raise UsageError(
            "RA-PB-003",
            f"An output of shape {tuple(values.shape)} holds no distribution over classes.",
            hint="--loss error",
            where=network.name,
        )
    pooling = _pooling(folder) if hidden and values.ndim == 3 else Pooling.NONE
    return Readout(loss=chosen, hidden=hidden, pooling=pooling, sequence=sequence)


def _loss_for(network: Network, returned: torch.Tensor, *, logits: bool, hidden: bool) -> Loss:
    """Return the loss that fits: a distribution only where ``transformers`` says that it is one."""
    if hidden:
        return Loss.COSINE
    task = getattr(getattr(network.module, "config", None), "problem_type", None)
    other = task in ("regression", "multi_label_classification")
    return Loss.KL if logits and not other and returned.shape[-1] > 1 else Loss.ERROR


def _pooling(folder: Path | None) -> Pooling:
    """Return how a sentence transformer pools; every position for other networks."""
    path = None if folder is None else folder / "1_Pooling" / "config.json"
    if path is None or not path.is_file():
        return Pooling.NONE
    try:
        config = json.loads(read_small(path, _LARGEST))
    except ValueError:
        return Pooling.NONE
    if isinstance(config, Mapping) and config.get("pooling_mode_mean_tokens"):
        return Pooling.MEAN
    return (
        Pooling.FIRST
        if isinstance(config, Mapping) and config.get("pooling_mode_cls_token")
        else Pooling.NONE
    )
