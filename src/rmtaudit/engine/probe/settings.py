"""What is probed, and with how many inputs; checked before torch is imported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypedDict

from rmtaudit.engine.edits import Edit, check_edit
from rmtaudit.errors import UsageError


class Loss(StrEnum):
    """How the outputs before and after a change are compared."""

    AUTO = "auto"
    KL = "kl"
    COSINE = "cosine"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """How a network is probed.

    Attributes
    ----------
    edit
        What is done to one layer at a time; ``None``: noise alone.
    loss
        How outputs are compared; ``AUTO`` decides by what the network returns.
    samples, tokens
        Number of inputs, and the length of each where they are sequences of tokens.
    draws, noise
        Number of random changes of each layer, and their Frobenius norm over that of the layer.
    data
        Inputs to take instead of generated ones.
    include, exclude
        Patterns of a shell for the names of the weights that are probed, with or without ``.weight``; none:
        all weights, and none is left out.
    input_shape
        Of one input, for a network that does not say what it reads.
    memory
        Working memory in bytes beside the network and its edited copy; ``None``: half of what is free, at
        most 4 GiB.
    seed
        Of the inputs and of the noise.
    """

    edit: Edit | None = None
    loss: Loss = Loss.AUTO
    samples: int = 16
    tokens: int = 64
    draws: int = 3
    noise: float = 0.05
    data: str | Path | None = None
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    input_shape: tuple[int, ...] | None = None
    memory: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.loss not in list(Loss):
            raise UsageError("RA-PB-001", f"There is no loss {self.loss!r}.", hint=", ".join(Loss))
        object.__setattr__(self, "loss", Loss(self.loss))
        for name in ("samples", "tokens", "draws"):
            if getattr(self, name) < 1:
                raise UsageError(
                    "RA-PB-001", f"The setting {name} must be at least 1, not {getattr(self, name)}."
                )
        if not (math.isfinite(self.noise) and self.noise > 0):
            raise UsageError(
                "RA-PB-001", f"The relative size of the noise must be above 0, not {self.noise:g}."
            )
        if self.input_shape is not None and (not self.input_shape or min(self.input_shape) < 1):
            raise UsageError(
                "RA-PB-001", "The sizes in the shape of an input must be at least 1.", hint="3,32,32"
            )
        if self.data is not None and self.input_shape is not None:
            raise UsageError("RA-PB-001", "--data and --input-shape exclude each other.")
        for name in ("include", "exclude"):
            if isinstance(getattr(self, name), str):
                raise UsageError("RA-PB-001", f"{name} must be a list of patterns, not a text.")
        if self.edit is not None:
            check_edit(self.edit)


class ProbeKeywords(TypedDict, total=False):
    """The fields of :class:`ProbeSettings` as keywords of a call, but for the edit, which has its own."""

    loss: Loss | str
    samples: int
    tokens: int
    draws: int
    noise: float
    data: str | Path | None
    include: Sequence[str]
    exclude: Sequence[str]
    input_shape: tuple[int, ...] | None
    memory: int | None
    seed: int
