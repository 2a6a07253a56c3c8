"""The null of a phase: noise whose rows, columns or entries differ in scale.

A sparse initialiser, heads that start at different scales, or heavy-tailed independent entries have a broad
bulk and a heavy tail without anything learned. Random signs decide: see
:mod:`rmtaudit.kernels.noise.sign_flip`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum, unique

import torch

from rmtaudit.kernels.noise.equalised import EqualisedMatrix
from rmtaudit.kernels.noise.null_tests import NoiseTest, NullTests
from rmtaudit.kernels.spectra.gram import tall

# As of rmtaudit.kernels.noise.floor, which makes the same tests.
LEVEL = 0.01
_LEAST_SIDE = 16
_DRAWS = 4
_RANGE = 1e-15, 1e15
"""Largest entries between which fourth powers stay in float32."""


@unique
class Null(StrEnum):
    """How a matrix compares with independent symmetric entries of any variances."""

    NOISE = "noise of uneven scale"
    """Indistinguishable from them."""
    ORTHOGONAL = "more orthogonal than noise"
    """Columns agree less than those of noise do."""
    STRUCTURE = "structure"
    """Columns agree more, or a direction stands out."""
    UNTESTABLE = "not testable"
    """No two columns share two rows, or too few rows or columns hold anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NullTest:
    """The comparison with noise.

    Attributes
    ----------
    null
        The outcome, at the level 0.01.
    p_value
        Of the test over random signs; ``None`` where there is none.
    eigenvalues
        Of the matrix with rows and columns evened out by Sinkhorn's scaling, ascending, float64, on the CPU;
        ``None`` where there is none.
    rows, cols
        Rows and columns that hold anything.
    """

    null: Null
    p_value: float | None
    eigenvalues: torch.Tensor | None
    rows: int
    cols: int


def null_test(
    matrix: torch.Tensor,
    *,
    generator: torch.Generator,
    even: EqualisedMatrix | None = None,
    known: NoiseTest | None = None,
) -> NullTest:
    """Compare a matrix with noise of any variance profile, over random signs of its entries.

    The same tests as :func:`rmtaudit.kernels.noise.floor.noise_floor` makes, without its fits.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, floating, finite, on any device. Not changed.
    generator
        Of the draws of signs, on the CPU.
    even
        The matrix, the longer side first, with Sinkhorn's scales, where it is known. Not for a matrix whose
        largest entry is beyond 1e15 or below 1e-15.
    known
        The test of signs of the matrix, where it was made; one that rests on draws is made again.
    """
    largest = float(matrix.abs().max())
    if largest > 0 and not _RANGE[0] < largest < _RANGE[1]:
        matrix = matrix.double() / largest
    even = EqualisedMatrix(tall(matrix)) if even is None else even
    profile = even.profile
    rows, cols = profile.support
    untestable = NullTest(null=Null.UNTESTABLE, p_value=None, eigenvalues=None, rows=rows, cols=cols)
    if min(rows, cols) < _LEAST_SIDE:
        return untestable
    if known is None or (known.edge is not None and known.edge.draws):
        # the spectrum is that of the fits, which are not made
        spectrum = torch.empty(0, dtype=torch.float64)
        tests = NullTests(even.matrix, spectrum, generator, _DRAWS, by_block=True, even=even)
        try:
            known = tests.signs()
        except ArithmeticError:
            return untestable
    p_value, rectangle = known.p_value, known.rectangle
    orthogonal = rectangle.z < 0 and 2 * rectangle.p_value < LEVEL
    null = Null.NOISE if p_value >= LEVEL else Null.ORTHOGONAL if orthogonal else Null.STRUCTURE
    values = even.eigenvalues[-min(rows, cols) :]
    return replace(untestable, null=null, p_value=p_value, eigenvalues=values)
