"""The settings of a scan, resolved: what every layer of configuration comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from rmtaudit.engine.resources.device_names import Device

if TYPE_CHECKING:
    from rmtaudit.matrices.layers import ConvPolicy

Solver = Literal["gram", "svd", "auto"]
Precision = Literal["auto", "float64"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanSettings:
    """How a scan is carried out. Everything but ``threads`` and ``memory`` may change a number.

    Attributes
    ----------
    preset
        Name of the preset that the settings started from.
    analyzers
        Names of the analyzers, in the order of their columns.
    options
        Options of analyzers: ``{"powerlaw": {"bootstrap": 200}}``; an absent one has its default.
    conv
        How a convolution becomes matrices.
    solver
        ``gram``: eigenvalues of the Gram matrix; ``svd``: singular values; ``auto``: the Gram matrix, and the
        singular values where it does not guarantee each to 1e-7 relative.
    precision
        ``float64``: the arithmetic of every spectrum. ``auto``: float32 for large layers in half precision or
        less, where that is as exact as the stored weights are and no analyzer needs more; only with the
        solver ``gram``, on a CPU.
    device
        ``auto`` takes a CUDA device where there is one.
    seed
        Random seed.
    threads
        Layers worked on at the same time, one BLAS thread each; ``None``: the CPUs of this process.
    memory
        Budget in bytes for the matrices in flight; ``None``: half of what is free.
    include
        Patterns for the names of layers or tensors; only layers that match one are analysed. Empty: all.
    exclude
        Patterns likewise; layers that match one are not analysed.
    sort
        The metric, or property of a layer, that orders the table, worst first.
    columns
        The metrics and properties that the table shows. Without a property, it also shows ``kind``,
        ``shape`` and ``signal``.
    """

    preset: str = "default"
    analyzers: tuple[str, ...] = ("scale", "powerlaw")
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    conv: ConvPolicy = "flattened"
    solver: Solver = "gram"
    precision: Precision = "auto"
    device: Device = "auto"
    seed: int = 0
    threads: int | None = None
    memory: int | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    sort: str = "alpha"
    columns: tuple[str, ...] = ("alpha", "ks_distance", "tail_size", "stable_rank", "log10_spectral_norm")


class ScanKeywords(TypedDict, total=False):
    """The fields of :class:`ScanSettings` as keywords of a call; a budget of memory may be a text."""

    options: Mapping[str, Mapping[str, Any]]
    conv: ConvPolicy
    solver: Solver
    precision: Precision
    device: Device
    seed: int
    threads: int | None
    memory: int | str | None
    include: Sequence[str]
    exclude: Sequence[str]
    sort: str
    columns: Sequence[str]
