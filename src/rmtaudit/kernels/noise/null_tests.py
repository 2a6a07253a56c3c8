"""The tests of one matrix against noise: of a block of its columns where that is decisive, else of all.

Columns of noise are noise, so whatever rejects a fixed block of them rejects the matrix, for an eighth of the
cost or less. Where a block leaves any doubt, all columns are tested, as if there were no blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from rmtaudit.kernels.noise.equalised import EqualisedMatrix
from rmtaudit.kernels.noise.marchenko_pastur import BulkFit, fit_bulk
from rmtaudit.kernels.noise.sign_flip import EdgeTest, RectangleTest, edge_test, flipped_gram
from rmtaudit.kernels.noise.spike_bound import edge_without_draws
from rmtaudit.kernels.noise.table import LEAST_P, bulk_p_value
from rmtaudit.kernels.noise.tracy_widom import soft_edge
from rmtaudit.kernels.noise.variance_profile import Profile
from rmtaudit.kernels.spectra.gram import eigenvalues

Null = Literal["plain", "sinkhorn", "dyson", "sign-flip"]

LEAST_SIDE = 16
"""Of a noise floor, on the smaller side: a convention, twice the eigenvalues that a fitted bulk needs."""
_DECIDED = 1e-6
"""A rectangle test this clear needs no draws: twice its p-value already bounds the p-value of the two. A
convention."""
DYSON_UP_TO = 1536
"""Smaller side from which ``"auto"`` leaves Dyson's null out: it costs more than two exact spectra."""
_HOPELESS_KS, _HOPELESS_N_KS, _HOPELESS_BLOCK = 0.1, 20.0, 10.0
"""Distances of Sinkhorn's bulk from which ``"auto"`` leaves Dyson's null out: where it was accepted after
Sinkhorn's, over noise of all profiles with spikes of all kinds, those were at most 0.052 or 6.4. The last is
N x KS of a block of half of the columns."""
_BLOCK_SIGNS, _BLOCK_BULK = 1e-9, 1e-4
"""Levels at which a block of columns rejects for the whole matrix: random signs, and a null of the bulk. They
lie far below the level of the tests of the whole; the first is small enough for ten million layers."""
_DOUBTFUL = 0.2
"""P-value of a block below which one of twice the columns is tried, for a thirtieth of the cost of them all:
a convention. Its distance to noise of another law grows with the number of columns."""


@dataclass(frozen=True, slots=True)
class NoiseTest:
    """Whether a matrix differs from independent symmetric noise of any variance profile.

    ``p_value`` is ``min(1, 2 min(rectangle.p_value, edge.p_value))``; ``edge`` is ``None`` where the
    rectangle test alone settled it, and then ``p_value`` is an upper bound of that. ``columns`` is the number
    of lines along the longer side that were tested: a block of them may settle it.
    """

    p_value: float
    rectangle: RectangleTest
    edge: EdgeTest | None
    columns: int


@dataclass(frozen=True, slots=True)
class NullFit:
    """One null of the bulk, as tried.

    ``fit`` is ``None`` where there was no bulk to fit. ``p_value`` is that of ``fit.n_ks``. ``columns`` is
    the number of lines along the longer side that were fitted: a block of them may reject.
    """

    name: Null
    fit: BulkFit | None
    p_value: float
    columns: int


class NoBulkError(ArithmeticError):
    """Too few rows or columns hold anything; ``support`` says how many do, longer side first."""

    def __init__(self, support: tuple[int, int]) -> None:
        super().__init__(
            f"only {support[0]} x {support[1]} rows and columns are not zero, below the minimum "
            f"of {LEAST_SIDE} for a bulk"
        )
        self.support = support


class NullTests:
    """The tests of noise of one matrix, and what they compute of it, once.

    Parameters
    ----------
    matrix
        ``W``, shape ``(n, p)`` with ``n >= p``, floating, finite. Not changed.
    spectrum
        Eigenvalues of ``WᵀW``, shape ``(p,)``, float64, ascending.
    generator
        On the CPU, for the draws of signs.
    draws
        Draws of signs behind the edge, at least 1.
    by_block
        Whether a block of columns may reject, before anything is computed of all of them.
    even
        The matrix with Sinkhorn's scales, where it is known.

    Raises
    ------
    NoBulkError
        If fewer than ``LEAST_SIDE`` rows or columns are not negligible against the largest entries.
    """

    def __init__(
        self,
        matrix: torch.Tensor,
        spectrum: torch.Tensor,
        generator: torch.Generator,
        draws: int,
        *,
        by_block: bool,
        even: EqualisedMatrix | None = None,
    ) -> None:
        self.matrix = matrix
        self.spectrum = spectrum
        self.generator = generator
        self.draws = draws
        self._by_block = by_block
        self.even = EqualisedMatrix(matrix) if even is None else even
        self.support = self.even.support
        if min(self.support) < LEAST_SIDE:
            raise NoBulkError(self.support)
        self._dyson: torch.Tensor | None = None

    def signs(self) -> NoiseTest:
        """Test the signs of the entries.

        Raises
        ------
        ArithmeticError
            If the matrix is so sparse that no two columns share two rows.
        """
        return self._structured_block() or self._test_of_all()

    def _structured_block(self) -> NoiseTest | None:
        """Return the test of a block of columns, if it finds structure that leaves no doubt."""
        block = self.even.block if self._by_block else None
        if block is None:
            return None
        try:
            rectangle = block.rectangle
        except ArithmeticError:
            return None
        bound = min(1.0, max(2 * rectangle.p_value, LEAST_P))
        # columns more orthogonal than noise may be those of a start, which is a question for all of them
        if rectangle.z < 0 or bound >= _BLOCK_SIGNS:
            return None
        return NoiseTest(bound, rectangle, None, block.support[1])

    def _test_of_all(self) -> NoiseTest:
        columns = self.support[1]
        rectangle = self.even.rectangle
        bound = min(1.0, max(2 * rectangle.p_value, LEAST_P))
        if bound < _DECIDED:
            return NoiseTest(bound, rectangle, None, columns)
        largest = float(self.even.eigenvalues[-1])
        edge = edge_without_draws(self.matrix, self.even.profile, largest) if self._by_block else None
        if edge is None:
            edge = edge_test(
                self.matrix,
                self.even.profile,
                largest,
                draws=self.draws,
                width=soft_edge(*self.support)[1],
                generator=self.generator,
            )
        return NoiseTest(min(bound, max(2 * edge.p_value, LEAST_P)), rectangle, edge, columns)

    def first_accepted(self, level: float) -> list[NullFit]:
        """Try plain, Sinkhorn and Dyson in turn, up to the first with a p-value of ``level`` or more.

        Dyson's is left out above a smaller side of 1536, and where Sinkhorn's bulk is far beyond what better
        scales have mended.
        """
        plain = self.whole("plain")
        if plain.p_value >= level:
            return [plain]
        self._by_block &= plain.fit is not None
        sinkhorn = self._rejected_by_block("sinkhorn", level) or self.whole("sinkhorn")
        if sinkhorn.p_value >= level or self.support[1] > DYSON_UP_TO or self._is_hopeless(sinkhorn):
            return [plain, sinkhorn]
        if sinkhorn.columns < self.support[1]:
            dyson = self._rejected_by_block("dyson", level)
            if dyson is not None:
                return [plain, sinkhorn, dyson]
            sinkhorn = self.whole("sinkhorn")
            if sinkhorn.p_value >= level or self._is_hopeless(sinkhorn):
                return [plain, sinkhorn]
        return [plain, sinkhorn, self.whole("dyson")]

    def values(self, name: Null) -> torch.Tensor:
        """Return the spectrum that a null is fitted to: of the matrix or of the equalised one."""
        if name in ("plain", "sign-flip"):
            return self.spectrum
        if name == "sinkhorn":
            return self.even.eigenvalues
        if self._dyson is None:
            try:
                self._dyson = self.even.with_dyson().eigenvalues
            except ArithmeticError:
                self._dyson = torch.zeros_like(self.spectrum)
        return self._dyson

    def whole(self, name: Null) -> NullFit:
        """Fit a null to all columns."""
        n, p = self.support
        values = self.values(name)[-p:]
        try:
            fit = fit_bulk(values, n, p)
        except ArithmeticError:
            return NullFit(name, None, LEAST_P, p)
        if name == "sign-flip":
            fit = self._against_flipped(values, fit)
        return NullFit(name, fit, bulk_p_value(fit.n_ks, n, p), p)

    def _rejected_by_block(self, name: Literal["sinkhorn", "dyson"], level: float) -> NullFit | None:
        """Fit a null to a block of columns; ``None`` if there is no block or it does not clearly reject."""
        block = self.even.block if self._by_block else None
        if block is None:
            return None
        try:
            null = self._of_block(name, (block.with_dyson() if name == "dyson" else block).eigenvalues)
            larger = iter(()) if name == "dyson" else self.even.larger_blocks()
            while _BLOCK_BULK <= null.p_value < _DOUBTFUL and (more := next(larger, None)) is not None:
                null = self._of_block(name, more)
        except ArithmeticError:
            return None
        return null if null.p_value < min(_BLOCK_BULK, level) else None

    def _of_block(self, name: Null, values: torch.Tensor) -> NullFit:
        n, p = self.support[0], len(values)
        fit = fit_bulk(values, n, p)
        return NullFit(name, fit, bulk_p_value(fit.n_ks, n, p), p)

    def _is_hopeless(self, sinkhorn: NullFit) -> bool:
        """Return whether Sinkhorn's bulk is too far from noise for the scales of Dyson to mend it."""
        fit = sinkhorn.fit
        if fit is None:
            return False
        limit = _HOPELESS_N_KS if sinkhorn.columns == self.support[1] else _HOPELESS_BLOCK
        return fit.ks_distance > _HOPELESS_KS and fit.n_ks > limit

    def _against_flipped(self, values: torch.Tensor, plain: BulkFit) -> BulkFit:
        """Return the fit with edge, count and distance taken from matrices with random signs."""
        rows, cols = (
            torch.ones(size, dtype=torch.float64, device=self.matrix.device) for size in self.matrix.shape
        )
        flat = Profile(rows, cols)
        flipped = [
            eigenvalues(flipped_gram(self.matrix, flat, self.generator).double())[-len(values) :]
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
