"""What is known of a growing matrix: the log-determinants of its leading minors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MinorSeries:
    """Log-determinants ``ℓ_n = log det K_n`` of nested leading minors of a positive definite matrix.

    ``K_n`` belongs to the first ``n`` points and has ``n·outputs`` rows. A series is on the CPU, wherever the
    matrix was. Use :meth:`from_pivots` for every
    minor of one Cholesky factor and :meth:`of` for a few sizes.

    Attributes
    ----------
    sizes
        Shape ``(k,)``, int64: the ``n`` that are known, growing.
    logdets
        Shape ``(k,)``, float64: ``ℓ_n``, in nats.
    outputs
        Rows that a point adds (``d``): 10 for the kernel of a network with ten logits.
    smallest, largest
        Bounds of the spectrum at the largest size, for the test of the rounding floor: its extreme
        eigenvalues, or its extreme pivots (no eigenvalue is above the smallest pivot, and the largest
        eigenvalue is not below the largest). ``None`` where they are not known.
    """

    sizes: torch.Tensor
    logdets: torch.Tensor
    outputs: int = 1
    smallest: float | None = None
    largest: float | None = None

    def __post_init__(self) -> None:
        sizes, logdets = self.sizes, self.logdets
        if sizes.ndim != 1 or sizes.shape != logdets.shape:
            raise ValueError(
                "sizes and log-determinants must be two vectors of the same length, not of "
                f"shapes {tuple(sizes.shape)} and {tuple(logdets.shape)}"
            )
        if self.outputs < 1:
            raise ValueError(f"a point must have at least one output, not {self.outputs}")
        if len(sizes) and (int(sizes[0]) < 1 or bool((sizes.diff() <= 0).any())):
            raise ValueError("sizes must be positive and increasing")
        if not bool(torch.isfinite(logdets).all()):
            raise ValueError("a log-determinant is not finite: the matrix is singular or was not computed")

    @classmethod
    def of(
        cls,
        sizes: torch.Tensor | NDArray[np.int64] | list[int],
        logdets: torch.Tensor | NDArray[np.float64] | list[float],
        *,
        outputs: int = 1,
        smallest: float | None = None,
        largest: float | None = None,
    ) -> Self:
        """Return the series of a few sizes, from anything that holds numbers."""
        return cls(
            sizes=torch.as_tensor(sizes, dtype=torch.int64).cpu(),
            logdets=torch.as_tensor(logdets, dtype=torch.float64).cpu(),
            outputs=outputs,
            smallest=smallest,
            largest=largest,
        )

    @classmethod
    def from_minors(cls, minors: torch.Tensor, *, outputs: int = 1) -> Self:
        """Return the series of every leading minor, as a Cholesky factorisation gives them.

        Parameters
        ----------
        minors
            Shape ``(m,)``, float64: log-determinant of the leading ``k`` rows, ``k = 1..m``; that is
            ``2·cumsum(log diag L)``. The rows of a point follow each other.
        outputs
            Rows of a point. Minors that end within a point are used for the pivots alone.
        """
        minors = minors.cpu().to(torch.float64)
        pivots = torch.diff(minors, prepend=minors.new_zeros(1))
        whole = len(minors) // outputs
        return cls(
            sizes=torch.arange(1, whole + 1),
            logdets=minors[outputs - 1 :: outputs][:whole],
            outputs=outputs,
            smallest=float(pivots.min().exp()) if len(pivots) else None,
            largest=float(pivots.max().exp()) if len(pivots) else None,
        )

    @property
    def last_size(self) -> int:
        """The largest ``n`` that is known."""
        return int(self.sizes[-1])

    def first(self, size: int) -> MinorSeries:
        """Return the series as it was known at ``size``. Its extremes are no longer known."""
        keep = self.sizes <= size
        return MinorSeries(sizes=self.sizes[keep], logdets=self.logdets[keep], outputs=self.outputs)

    def thinned(self, resolution: int = 1024) -> MinorSeries:
        """Return the series at no more than ``resolution`` sizes per factor of ``e``, the last among them.

        Steps grow with ``n``, so that no scale is lost. Increments add up, so only the noise within a step is
        averaged.
        """
        bins = np.floor(resolution * np.log(self.sizes.numpy()))
        keep = torch.from_numpy(np.flatnonzero(np.append(np.diff(bins) > 0, True)))
        return MinorSeries(
            sizes=self.sizes[keep],
            logdets=self.logdets[keep],
            outputs=self.outputs,
            smallest=self.smallest,
            largest=self.largest,
        )
