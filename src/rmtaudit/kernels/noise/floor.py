"""The noise floor of a matrix: is it noise, which null does its bulk follow, and what stands above that."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch

from rmtaudit.kernels.noise.marchenko_pastur import BulkFit, fit_bulk
from rmtaudit.kernels.noise.sign_flip import EdgeTest, RectangleTest, edge_test, flipped_gram, rectangle_test
from rmtaudit.kernels.noise.spike_bound import least_spikes
from rmtaudit.kernels.noise.spikes import AdditiveSpike, additive_spike
from rmtaudit.kernels.noise.table import LEAST_P, bulk_p_value
from rmtaudit.kernels.noise.tracy_widom import sf, soft_edge
from rmtaudit.kernels.noise.variance_profile import Profile, dyson, equalised_gram, sinkhorn
from rmtaudit.kernels.spectra.gram import eigenvalues as eigenvalues_of
from rmtaudit.kernels.spectra.gram import tall

Sharp = Literal["auto", "plain", "sinkhorn", "dyson", "sign-flip"]
Null = Literal["plain", "sinkhorn", "dyson", "sign-flip"]

LEAST_SIDE = 16
"""Of a noise floor, on the smaller side: a convention, twice the eigenvalues that a fitted bulk needs."""
_DECIDED = 1e-6
"""A rectangle test this clear needs no draws: twice its p-value already bounds the p-value of the two. A
convention."""
DYSON_UP_TO = 1536
"""Smaller side from which ``"auto"`` leaves Dyson's null out: it costs more than two exact spectra."""
_HOPELESS_KS, _HOPELESS_N_KS = 0.1, 20.0
"""Distances of Sinkhorn's bulk from which ``"auto"`` leaves Dyson's null out: where it was accepted after
Sinkhorn's, over noise of all profiles with spikes of all kinds, those were at most 0.052 or 6.4."""


@dataclass(frozen=True, slots=True)
class NoiseTest:
    """Whether a matrix differs from independent symmetric noise of any variance profile.

    ``p_value`` is ``min(1, 2 min(rectangle.p_value, edge.p_value))``; ``edge`` is ``None`` where the
    rectangle test alone settled it, and then ``p_value`` is an upper bound of that.
    """

    p_value: float
    rectangle: RectangleTest
    edge: EdgeTest | None


@dataclass(frozen=True, slots=True)
class NullFit:
    """One null of the bulk, as tried.

    ``fit`` is ``None`` where there was no bulk to fit. ``p_value`` is that of ``fit.n_ks``.
    """

    name: Null
    fit: BulkFit | None
    p_value: float


@dataclass(frozen=True, slots=True)
class Spike:
    """An eigenvalue above the noise, in units of the noise: ``strength`` 1 is ``σ√n``, ``n`` the longer side.

    ``p_value`` is the Tracy-Widom chance that noise has a largest eigenvalue as large.
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
    finder = _Finder(tall(matrix), spectrum, generator, draws)
    test = finder.test()
    nulls: list[NullFit] = []
    for name in _in_turn(finder.support[1]) if sharp == "auto" else tuple(dict.fromkeys(("plain", sharp))):
        values = finder.values(name)
        nulls.append(finder.fit(name, values))
        if nulls[-1].p_value >= level and (sharp in ("auto", name)):
            break
        if sharp == "auto" and name == "sinkhorn" and _is_hopeless(nulls[-1]):
            break
    last = nulls[-1]
    accepted = last if last.p_value >= level else None
    spikes: tuple[Spike, ...] = ()
    share = 0.0
    if accepted is not None and accepted.fit is not None and test.p_value < level:
        spikes = _spikes(values, accepted.fit, finder.support)
        noise = accepted.fit.variance * finder.support[0]
        share = min(1.0, sum(spike.shape.strength**2 for spike in spikes) * noise / float(values.sum()))
    if scale != 1.0:
        nulls = [_rescaled(null, scale) for null in nulls]
        accepted = nulls[-1] if accepted is not None else None
    least = None
    if accepted is None:
        least = least_spikes(
            finder.matrix, finder.even, finder.even_values(), level=level, draws=draws, generator=generator
        )
    return NoiseFloor(
        test=test,
        nulls=tuple(nulls),
        accepted=accepted,
        spikes=spikes,
        least_spikes=least,
        signal_share=share,
        support=finder.support,
    )


def _in_turn(side: int) -> tuple[Null, ...]:
    return ("plain", "sinkhorn", "dyson") if side <= DYSON_UP_TO else ("plain", "sinkhorn")


def _is_hopeless(null: NullFit) -> bool:
    fit = null.fit
    return fit is not None and fit.ks_distance > _HOPELESS_KS and fit.n_ks > _HOPELESS_N_KS


class NoBulkError(ArithmeticError):
    """Too few rows or columns hold anything; ``support`` says how many do, longer side first."""

    def __init__(self, support: tuple[int, int]) -> None:
        super().__init__(
            f"only {support[0]} x {support[1]} rows and columns hold anything, fewer than the "
            f"{LEAST_SIDE} of a bulk"
        )
        self.support = support


def noise_test(matrix: torch.Tensor, *, generator: torch.Generator, draws: int = 4) -> NoiseTest:
    """Test a matrix against independent symmetric noise of any variance profile, and nothing else.

    Parameters and errors as for :func:`noise_floor`.
    """
    scale = power_of_two(matrix)
    if scale != 1.0:
        matrix = matrix.double() / scale
    empty = torch.empty(0, dtype=torch.float64)
    return _Finder(tall(matrix), empty, generator, draws).test()


class _Finder:
    """One tall matrix and what is computed of it once."""

    def __init__(
        self, matrix: torch.Tensor, spectrum: torch.Tensor, generator: torch.Generator, draws: int
    ) -> None:
        self.matrix = matrix
        self.spectrum = spectrum
        self.generator = generator
        self.draws = draws
        self.even = sinkhorn(matrix)
        support = self.even.support
        self.support = (max(support), min(support))
        if min(support) < LEAST_SIDE:
            raise NoBulkError(self.support)
        self.product = equalised_gram(matrix, self.even)
        self._even_values: torch.Tensor | None = None

    def even_values(self) -> torch.Tensor:
        if self._even_values is None:
            self._even_values = eigenvalues_of(self.product)
        return self._even_values

    def test(self) -> NoiseTest:
        rectangle = rectangle_test(self.matrix, self.even, self.product)
        bound = min(1.0, max(2 * rectangle.p_value, LEAST_P))
        if bound < _DECIDED:
            return NoiseTest(bound, rectangle, None)
        width = soft_edge(*self.support)[1]
        largest = float(self.even_values()[-1])
        edge = edge_test(
            self.matrix, self.even, largest, draws=self.draws, width=width, generator=self.generator
        )
        return NoiseTest(min(bound, max(2 * edge.p_value, LEAST_P)), rectangle, edge)

    def values(self, name: Null) -> torch.Tensor:
        """Return the spectrum that a null is fitted to: of the matrix or of the equalised one."""
        if name in ("plain", "sign-flip"):
            return self.spectrum
        if name == "sinkhorn":
            return self.even_values()
        try:
            profile = dyson(self.matrix, self.even, product=self.product, spectrum=self.even_values())
        except ArithmeticError:
            return torch.zeros_like(self.spectrum)
        return eigenvalues_of(equalised_gram(self.matrix, profile))

    def fit(self, name: Null, values: torch.Tensor) -> NullFit:
        n, p = self.support
        values = values[-p:]
        try:
            fit = fit_bulk(values, n, p)
        except ArithmeticError:
            return NullFit(name, None, LEAST_P)
        if name == "sign-flip":
            fit = self._against_flipped(values, fit)
        return NullFit(name, fit, bulk_p_value(fit.n_ks, n, p))

    def _against_flipped(self, values: torch.Tensor, plain: BulkFit) -> BulkFit:
        """Return the fit with edge, count and distance taken from matrices with random signs."""
        rows, cols = (
            torch.ones(size, dtype=torch.float64, device=self.matrix.device) for size in self.matrix.shape
        )
        flat = Profile(rows, cols)
        flipped = [
            eigenvalues_of(flipped_gram(self.matrix, flat, self.generator))[-len(values) :]
            for _ in range(self.draws)
        ]
        edge = max(float(draw[-1]) for draw in flipped)
        bulk = values[values <= edge]
        levels = torch.arange(1, len(bulk) + 1, dtype=torch.float64) / len(bulk)
        reference = flipped[0]
        distance = float(
            (torch.searchsorted(reference, bulk, right=True) / len(reference) - levels).abs().max()
        )
        low = min(float(draw[0]) for draw in flipped)
        return BulkFit(
            variance=plain.variance,
            lambda_minus=low,
            lambda_plus=edge,
            threshold=edge,
            spikes=len(values) - len(bulk),
            ks_distance=distance,
            n_ks=len(bulk) * distance,
        )


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
