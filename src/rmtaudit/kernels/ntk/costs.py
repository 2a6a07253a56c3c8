"""By which products the inner products of a linear map's Jacobians are cheapest."""

from __future__ import annotations

from enum import StrEnum

from rmtaudit.kernels.ntk.pieces import Factors

_SLOWDOWN = 3.0
"""How much slower a multiplication is in the small products of factors than in one large product: 1.8 to 3.3
over seven shapes of convolutions and transformers, float64, one thread (``benchmarks/ntk.py --routes``)."""
_SLOWDOWN_ONE_OUTPUT = 2.0
"""The same for one output, where two large products and a sum remain."""
_FORMING = 4.0
"""The same for forming the Jacobians, whose products are of few columns each."""
_SMALLER = 2
"""How much smaller factors are that are worth forming the Jacobian for every product (a choice)."""


class Contraction(StrEnum):
    """The ways to contract."""

    ONE_POSITION = "one position"
    """Inner products of the inputs times those of the gradients."""
    FACTORS = "factors"
    """The gradients weighted with the inner products of the inputs of all positions."""
    JACOBIANS = "Jacobians"
    """Jacobians, formed a part at a time."""


def route_of(first: Factors, second: Factors) -> Contraction:
    """Return the cheapest way to contract two pieces."""
    samples, outputs, positions, width = first.gradients.shape
    others, _, other_positions, _ = second.gradients.shape
    if positions == other_positions == 1:
        return Contraction.ONE_POSITION
    factored = factors_are_cheaper(
        positions=max(positions, other_positions),
        inputs=first.inputs.shape[2],
        width=width,
        outputs=outputs,
        samples=min(samples, others),
    )
    return Contraction.FACTORS if factored else Contraction.JACOBIANS


def factors_are_cheaper(
    *, positions: int, inputs: int, width: int, outputs: int, samples: int | None = None
) -> bool:
    """Compare the multiplications that a pair of samples takes.

    With ``T`` positions, ``i`` inputs, ``o`` outputs of the map and ``O`` of the network: ``O² i o`` from the
    Jacobians, and ``2 T O i o / n`` to form them for ``n`` samples; from the factors
    ``T² i + T O o (T + O)``, for one output ``T² (i + o)``, for one position ``i + O² o``.

    Parameters
    ----------
    positions, inputs, width, outputs
        ``T``, ``i``, ``o`` and ``O``; each at least 1.
    samples
        ``n``; ``None``: the Jacobians are there.
    """
    from_jacobians: float = outputs**2 * inputs * width
    if samples is not None:
        from_jacobians += _FORMING * 2 * positions * outputs * inputs * width / samples
    if positions == 1:
        return inputs + outputs**2 * width < from_jacobians
    if outputs == 1:
        return _SLOWDOWN_ONE_OUTPUT * positions**2 * (inputs + width) < from_jacobians
    from_factors = positions**2 * inputs + positions * outputs * width * (positions + outputs)
    return _SLOWDOWN * from_factors < from_jacobians


def factors_are_kept(*, positions: int, inputs: int, width: int, outputs: int) -> bool:
    """Whether the factors of a Jacobian are held: where they are much smaller, or make products cheaper.

    Parameters
    ----------
    positions, inputs, width, outputs
        As of :func:`factors_are_cheaper`.
    """
    if _SMALLER * positions * (inputs + outputs * width) < outputs * inputs * width:
        return True
    return factors_are_cheaper(positions=positions, inputs=inputs, width=width, outputs=outputs)
