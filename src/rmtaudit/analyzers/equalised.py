"""The matrix of a layer with even rows and columns, which more than one analyzer tests: computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmtaudit.kernels.noise.equalised import EqualisedMatrix
from rmtaudit.kernels.noise.floor import power_of_two
from rmtaudit.kernels.spectra.gram import tall

if TYPE_CHECKING:
    from rmtaudit.analyzers.base import LayerInput

_KEY = "equalised"


def equalised(given: LayerInput) -> EqualisedMatrix | None:
    """Return the one matrix of a layer with Sinkhorn's scales, the longer side first.

    ``None`` for entries so large or small that the tests scale them first.
    """
    if _KEY not in given.shared:
        matrix = given.matrices[0]
        given.shared[_KEY] = EqualisedMatrix(tall(matrix)) if power_of_two(matrix) == 1.0 else None
    known: EqualisedMatrix | None = given.shared[_KEY]
    return known
