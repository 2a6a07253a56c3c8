"""What more than one analyzer needs of a layer with even rows and columns: the matrix, the test of signs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmtaudit.kernels.noise.equalised import EqualisedMatrix
from rmtaudit.kernels.noise.floor import power_of_two
from rmtaudit.kernels.spectra.gram import tall

if TYPE_CHECKING:
    from rmtaudit.analyzers.base import LayerInput
    from rmtaudit.kernels.noise.null_tests import NoiseTest

_KEY, _SIGNS = "equalised", "signs"


def equalised(given: LayerInput) -> EqualisedMatrix | None:
    """Return the one matrix of a layer with Sinkhorn's scales, the longer side first.

    ``None`` for entries so large or small that the tests scale them first.
    """
    if _KEY not in given.shared:
        matrix = given.matrices[0]
        given.shared[_KEY] = EqualisedMatrix(tall(matrix)) if power_of_two(matrix) == 1.0 else None
    known: EqualisedMatrix | None = given.shared[_KEY]
    return known


def keep_signs(given: LayerInput, test: NoiseTest) -> None:
    """Keep the test of a layer's signs for other analyzers."""
    given.shared[_SIGNS] = test


def known_signs(given: LayerInput) -> NoiseTest | None:
    """Return the test of the layer's signs, if an analyzer before made it."""
    known: NoiseTest | None = given.shared.get(_SIGNS)
    return known
