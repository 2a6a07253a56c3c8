"""Whether the entries of a matrix could stand in any order: permutation tests with closed-form moments."""

from rmtaudit.kernels.exchangeability.evaluate import (
    Exchangeability,
    exchangeability,
    exchangeability_of_nonzeros,
)

__all__ = ["Exchangeability", "exchangeability", "exchangeability_of_nonzeros"]
