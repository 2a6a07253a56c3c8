"""What a layer is in the peer's terms, and whether the peer analyses it."""

from __future__ import annotations

from dataclasses import dataclass

from rmtaudit.analyzers.weightwatcher.options import Options
from rmtaudit.matrices.layers import Layer, LayerKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """What the peer makes of a layer's shape.

    Attributes
    ----------
    N, M
        Longer and shorter side of each matrix.
    rf
        Kernel positions of a convolution.
    evals
        Number of eigenvalues that the bounds apply to.
    components
        The number that decides how often a matrix is shuffled.
    factor
        Factor on the eigenvalues.
    layer_type
        The peer's word.
    """

    N: int
    M: int
    rf: int
    evals: int
    components: int
    factor: float
    layer_type: str


def sides_of(layer: Layer) -> Sides:
    """Return the peer's view of a layer."""
    N, M = max(layer.shape), min(layer.shape)
    # A flattened kernel is an ordinary matrix to the peer's rules. Of kernel 1 x 1 only the view tells it
    # from a slice.
    sliced = layer.kind is LayerKind.CONV2D and "flattened" not in layer.view
    rf = max(layer.slices, layer.matrices)
    one_of_many = layer.matrices == 1 and layer.slices > 1
    if sliced and layer.shape[0] < layer.shape[1] and rf % 2 == 0:
        N, M = M, N  # the peer swaps the two names once a slice
    return Sides(
        N=N,
        M=M,
        rf=rf,
        evals=M if one_of_many else M * rf,
        components=M * rf,
        factor=(rf if one_of_many else 1) / 2 if sliced else 1.0,
        layer_type="conv2d" if sliced else "embedding" if layer.kind is LayerKind.EMBEDDING else "dense",
    )


def refusal(sides: Sides, options: Options) -> str:
    """Return why the peer leaves the layer out, or nothing."""
    if sides.evals < options.min_evals:
        return f"{sides.evals} eigenvalues, fewer than min_evals={options.min_evals}"
    if options.max_evals and sides.evals > options.max_evals:
        return f"{sides.evals} eigenvalues, more than max_evals={options.max_evals}"
    if sides.N > options.max_N:  # noqa: SIM300  max_N is no constant
        return f"the longer side is {sides.N}, more than max_N={options.max_N}"
    return ""
