"""How a comparison is carried out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from rmtaudit.engine.resources.device_names import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSettings:
    """The settings of a comparison.

    Attributes
    ----------
    metrics
        Whether the metrics of the preset ``fast`` (size, rank, power law) are computed for both sides of
        every weight matrix that changed.
    seed
        Random seed.
    threads
        Pairs worked on at the same time, one BLAS thread each; ``None``: the CPUs of this process.
    memory
        Budget in bytes for the matrices in flight; ``None``: half of what is free.
    device
        Where pairs are compared; on a CUDA device one after the other. Reading and matching are on the CPU.
    """

    metrics: bool = True
    seed: int = 0
    threads: int | None = None
    memory: int | None = None
    device: Device = "cpu"


class CompareKeywords(TypedDict, total=False):
    """The fields of :class:`CompareSettings` as keywords of a call."""

    metrics: bool
    seed: int
    threads: int | None
    memory: int | None
    device: Device
