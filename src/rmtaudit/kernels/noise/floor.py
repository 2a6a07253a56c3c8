"""The noise floor of a matrix: is it noise, which null does its bulk follow, and what stands above that."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch

from rmtaudit.kernels.noise.equalised import EqualisedMatrix
from rmtaudit.kernels.noise.marchenko_pastur import BulkFit
from rmtaudit.kernels.noise.null_tests import NoiseTest, Null, NullFit, NullTests
from rmtaudit.kernels.noise.spike_bound import noise_ceiling
from rmtaudit.kernels.noise.spikes import AdditiveSpike, additive_spike
from rmtaudit.kernels.noise.table import LEAST_P
from rmtaudit.kernels.noise.tracy_widom import sf, soft_edge
from rmtaudit.kernels.spectra.gram import tall

Sharp = Literal["auto", "plain", "sinkhorn", "dyson", "sign-flip"]


@dataclass(frozen=True, slots=True)
class Spike:
    """An eigenvalue above the noise, in units of the noise: ``strength`` 1 is ``σ√n``, ``n`` the longer side.

    ``p_value`` is the Tracy-Widom probability that noise has a largest eigenvalue as large.
    """

    eigenvalue: float
    shape: AdditiveSpike
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseFloor:
    """What is noise in a matrix.

    Attributes
    ----------
    test
        Whether it is distinguishable from noise at all.
    nulls
        The nulls of the bulk that were tried, in turn; the last is the accepted one, if any is.
    accepted
        The first null that the bulk agrees with, or ``None``: then nothing above can be counted.
    spikes
        What stands above the accepted null, largest first; empty where the test finds nothing but noise.
    least_spikes
        Where every null is rejected: the least rank of what has to be added to independent symmetric noise,
        of any variance profile, to make this matrix, at the confidence ``1 - level``. ``None`` where a null
        is accepted, which counts the spikes.
    signal_share
        De-biased energy of the spikes over all the energy of the matrix that the null sees, between 0 and 1.
    support
        Rows and columns that hold anything, longer side first.
    """

    test: NoiseTest
    nulls: tuple[NullFit, ...]
    accepted: NullFit | None
    spikes: tuple[Spike, ...]
    least_spikes: int | None
    signal_share: float
    support: tuple[int, int]

    def null(self, name: Null) -> NullFit | None:
        """Return a null that was tried, by name."""
        return next((null for null in self.nulls if null.name == name), None)


def noise_floor(
    matrix: torch.Tensor,
    spectrum: torch.Tensor,
    *,
    generator: torch.Generator,
    sharp: Sharp = "auto",
    draws: int = 4,
    level: float = 0.01,
    even: EqualisedMatrix | None = None,
) -> NoiseFloor:
    """Judge a matrix against noise, and its bulk against Marchenko-Pastur nulls.

    Parameters
    ----------
    matrix
        ``W``, shape ``(rows, cols)``, floating, finite, on any device. Not changed.
    spectrum
        Eigenvalues of ``WᵀW``, shape ``(min(rows, cols),)``, float64, ascending.
    generator
        On the CPU, for the draws of signs.
    sharp
        The null of the bulk; ``"auto"`` takes the first of plain, Sinkhorn, Dyson that the bulk agrees with.
        It leaves Dyson's out above a smaller side of 1536, and where Sinkhorn's bulk is far beyond what
        better scales have mended (a distance above 0.1, and of more than 20 eigenvalues).
    draws
        Draws of signs behind the edge, at least 1.
    level
        Of every test: a p-value below it rejects.
    even
        The matrix, the longer side first, with Sinkhorn's scales, where it is known. Not for a matrix whose
        entries :func:`power_of_two` scales.

    Raises
    ------
    NoBulkError
        If fewer than ``LEAST_SIDE`` rows or columns are not negligible against the largest entries.
    ArithmeticError
        If the matrix is so sparse that no two columns share two rows: then signs mean nothing.
    """
    scale = power_of_two(matrix)
    if scale != 1.0:
        matrix, spectrum = matrix.double() / scale, spectrum / scale / scale
    tests = NullTests(tall(matrix), spectrum, generator, draws, by_block=sharp == "auto", even=even)
    test = tests.signs()
    if sharp == "auto":
        nulls = tests.first_accepted(level)
    else:
        nulls = [tests.whole(name) for name in dict.fromkeys(("plain", sharp))]
    last = nulls[-1]
    accepted = last if last.p_value >= level else None
    spikes: tuple[Spike, ...] = ()
    share = 0.0
    if accepted is not None and accepted.fit is not None and test.p_value < level:
        values = tests.values(accepted.name)
        spikes = _spikes(values, accepted.fit, tests.support)
        noise = accepted.fit.variance * tests.support[0]
        share = min(1.0, sum(spike.shape.strength**2 for spike in spikes) * noise / float(values.sum()))
    if scale != 1.0:
        nulls = [_rescaled(null, scale) for null in nulls]
        accepted = nulls[-1] if accepted is not None else None
    least = None
    if accepted is None:
        ceiling = noise_ceiling(
            tests.matrix, tests.even.profile, level=level, draws=draws, generator=generator
        )
        scaled = spectrum * (tests.support[0] * tests.support[1] / float(spectrum.sum()))
        least = tests.even.count_above(ceiling, scaled)
    return NoiseFloor(
        test=test,
        nulls=tuple(nulls),
        accepted=accepted,
        spikes=spikes,
        least_spikes=least,
        signal_share=share,
        support=tests.support,
    )


def noise_test(matrix: torch.Tensor, *, generator: torch.Generator, draws: int = 4) -> NoiseTest:
    """Test a matrix against independent symmetric noise of any variance profile, and nothing else.

    Parameters and errors as for :func:`noise_floor`.
    """
    scale = power_of_two(matrix)
    if scale != 1.0:
        matrix = matrix.double() / scale
    empty = torch.empty(0, dtype=torch.float64)
    return NullTests(tall(matrix), empty, generator, draws, by_block=True).signs()


def _spikes(values: torch.Tensor, fit: BulkFit, support: tuple[int, int]) -> tuple[Spike, ...]:
    n, p = support
    centre, width = soft_edge(n, p)
    tops = values[len(values) - fit.spikes :].flip(0).tolist()
    return tuple(
        Spike(
            top,
            additive_spike(math.sqrt(top / (fit.variance * n)), p / n),
            max(LEAST_P, sf((top / fit.variance - centre) / width)),
        )
        for top in tops
    )


def power_of_two(matrix: torch.Tensor) -> float:
    """Return a power of two, mostly 1, that keeps scaled entries in float32 and fourth powers in float64."""
    low, high = (float(bound) for bound in torch.aminmax(matrix))
    largest = max(abs(low), abs(high))
    if largest == 0 or 1e-15 < largest < 1e15:
        return 1.0
    return math.ldexp(1.0, max(min(math.frexp(largest)[1], 1000), -1000))


def _rescaled(null: NullFit, scale: float) -> NullFit:
    if null.fit is None or null.name in ("sinkhorn", "dyson"):
        return null
    fit, square = null.fit, scale * scale
    rescaled = replace(
        fit,
        variance=fit.variance * square,
        lambda_minus=fit.lambda_minus * square,
        lambda_plus=fit.lambda_plus * square,
        threshold=fit.threshold * square,
    )
    return replace(null, fit=rescaled)
