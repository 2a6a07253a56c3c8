"""What is asked of a spectrum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypedDict

from rmtaudit.engine.resources.device_names import Device
from rmtaudit.errors import UsageError

SCHEMA_NAME = "rmtaudit.density"
SCHEMA_VERSION = "2.0"

Holds = Literal["eigenvalues", "spectra", "matrix"]
Sampling = Literal["plain", "paired", "blocks"]
MethodName = Literal["auto", "eigenvalues", "products", "blocks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DensitySettings:
    """What is asked for, and how blocks are drawn.

    Attributes
    ----------
    size, factor
        Order of the larger matrix, or its ratio to that of the source; neither: the source's own, from
        blocks.
    method
        ``eigenvalues``: all of them, exactly. ``products``: stochastic Lanczos quadrature with the whole
        matrix. ``blocks``: prediction from principal blocks. ``auto``: the cheaper of the first two where
        the matrix itself is asked about and it can be multiplied or read, blocks otherwise.
    steps, probes
        Lanczos steps, and probes, of ``products``.
    holds
        What a file holds that does not say so itself: ``eigenvalues`` of one block, ``spectra`` of several,
        one a row, or a ``matrix``.
    sample
        Order of a principal block; ``None``: see :func:`rmtaudit.engine.density.blocks.block_order`.
    samples
        How many blocks; ``None``: 8, or 1 where the block is the whole source.
    sampling
        ``plain``: every block is a fresh random set of indices. ``paired``: two and two share no index.
        ``blocks``: runs of ``block_size`` indices (the outputs of one input, the members of a class) are
        taken or left together.
    block_size
        Length of such a run.
    ridge
        Of the log-determinant and effective dimension, if they are wanted.
    replicas
        Replicas behind the intervals of a single block; 0 for none.
    kpm
        Whether the kernel polynomial density is set beside the prediction; ``None``: where products are
        cheap.
    seed
        Of blocks, tests, replicas and probes.
    device
        Where eigenvalues, products and free decompression are computed.
    assume_free
        Whether the caller takes the matrix for free of its coordinates where only eigenvalues are given.
    assume_smooth
        Whether the caller takes the spectrum for smooth where the block determines it only if it is.
    """

    size: int | None = None
    factor: float | None = None
    holds: Holds | None = None
    sample: int | None = None
    samples: int | None = None
    sampling: Sampling = "plain"
    block_size: int | None = None
    ridge: float | None = None
    replicas: int = 10
    kpm: bool | None = None
    seed: int = 0
    device: Device = "cpu"
    assume_free: bool = False
    assume_smooth: bool = False
    method: MethodName = "auto"
    steps: int = 60
    probes: int = 16

    def __post_init__(self) -> None:
        if self.size is not None and self.factor is not None:
            raise UsageError("RA-US-501", "--size and --factor both set the size of the matrix.")
        if self.factor is not None and not (math.isfinite(self.factor) and self.factor > 0):
            raise UsageError("RA-US-501", f"A factor must be a positive number, not {self.factor}.")
        if self.replicas == 1:
            raise UsageError("RA-US-502", "A single replica has no spread.", hint="Give 0, or at least 2.")
        if self.method not in ("auto", "eigenvalues", "products", "blocks"):
            raise UsageError(
                "RA-US-507",
                f"There is no method {self.method!r}.",
                hint="Use auto, eigenvalues, products or blocks.",
            )
        if self.steps < 2 or self.probes < 2:
            raise UsageError("RA-US-507", "At least 2 steps and 2 probes are needed.")
        if self.ridge is not None and not (math.isfinite(self.ridge) and self.ridge > 0):
            raise UsageError("RA-US-505", f"A ridge must be a positive number, not {self.ridge}.")
        if (self.sampling == "blocks") != (self.block_size is not None):
            raise UsageError(
                "RA-US-504",
                "--sampling blocks and --block-size must be given together.",
                hint="For example, --sampling blocks --block-size 10 draws ten rows at a time.",
            )

    @property
    def about_blocks(self) -> str:
        """The first option given that says how blocks are drawn, as it is spelt; or nothing."""
        given = {
            "--sample": self.sample is not None,
            "--samples": self.samples is not None,
            "--sampling": self.sampling != "plain",
            "--kpm": self.kpm is True,
        }
        return next((name for name, present in given.items() if present), "")


class DensityKeywords(TypedDict, total=False):
    """The fields of :class:`DensitySettings` as keywords of a call."""

    size: int | None
    factor: float | None
    holds: Holds | None
    sample: int | None
    samples: int | None
    sampling: Sampling
    block_size: int | None
    ridge: float | None
    replicas: int
    kpm: bool | None
    seed: int
    device: Device
    assume_free: bool
    assume_smooth: bool
    method: MethodName
    steps: int
    probes: int
