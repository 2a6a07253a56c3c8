"""Whether the inner products of a linear map's Jacobians are cheaper from its factors."""

from __future__ import annotations

_SLOWDOWN = 5.0
"""How much slower a multiplication is in the small products of factors than in one large product: 2.5 to 7.5
over seven shapes of convolutions and transformers, float64, one thread (``benchmarks/ntk.py --routes``)."""
_SLOWDOWN_ONE_OUTPUT = 2.0
"""The same for one output, where two large products and a sum remain."""


def factors_are_cheaper(*, positions: int, inputs: int, width: int, outputs: int) -> bool:
    """Compare the multiplications that a pair of samples takes.

    With ``T`` positions, ``i`` inputs, ``o`` outputs of the map and ``O`` of the network: ``O² i o`` from the
    Jacobians; from the factors ``T² i + T O o (T + O)``, for one output ``T² (i + o)``, for one position
    ``i + O² o``.

    Parameters
    ----------
    positions, inputs, width, outputs
        ``T``, ``i``, ``o`` and ``O``; each at least 1.
    """
    from_jacobians = outputs**2 * inputs * width
    if positions == 1:
        return inputs + outputs**2 * width < from_jacobians
    if outputs == 1:
        return _SLOWDOWN_ONE_OUTPUT * positions**2 * (inputs + width) < from_jacobians
    from_factors = positions**2 * inputs + positions * outputs * width * (positions + outputs)
    return _SLOWDOWN * from_factors < from_jacobians
