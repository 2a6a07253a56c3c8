r"""Weights that a module computes from other stored tensors: weight norm and spectral norm.

Weight norm (Salimans and Kingma 2016) stores a direction :math:`v` and a magnitude :math:`g`, and the weight
is :math:`g v / \lVert v \rVert` with a norm for each entry of one side, or one for all. Spectral norm (Miyato
et al. 2018) stores :math:`W` and two unit vectors, and the weight is :math:`W / (u^T W v)` when the module
is evaluated. The names are those of ``torch.nn.utils`` and of ``torch.nn.utils.parametrizations``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from rmtaudit.matrices import roles, views
from rmtaudit.matrices.layers import Build, Layer
from rmtaudit.matrices.tensors import FLOATING, TensorSpec

_DIRECTION = re.compile(
    r"^(?P<stem>.*?)(?:(?P<leaf>weight\w*?)_v|parametrizations\.(?P<new>\w+)\.original1)$"
)
_ORIGINAL = re.compile(
    r"^(?P<stem>.*?)(?:(?P<leaf>weight\w*?)_orig|parametrizations\.(?P<new>\w+)\.original)$"
)


NOT_UNDONE = ", before a parametrization that is not undone"
"""In the view of a weight of which the module makes another one in a way that the file does not state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parametrised:
    """A weight and the stored tensors that make it.

    Attributes
    ----------
    weight
        The weight as the module has it: its name, and the shape and dtype of the first of ``tensors``.
    tensors
        What ``build`` takes. The first has the shape of the weight.
    state
        Those of them that are no parameters: vectors of the power iteration.
    words
        How the weight is made, for the view of the row.
    build
        From the stored tensors to the weight.
    """

    weight: TensorSpec
    tensors: tuple[str, ...]
    state: tuple[str, ...]
    words: str
    build: Build

    @property
    def parameters(self) -> tuple[str, ...]:
        """The tensors that hold parameters."""
        return tuple(name for name in self.tensors if name not in self.state)


def parametrised_weights(by_name: Mapping[str, TensorSpec]) -> dict[str, Parametrised]:
    """Return every weight that is made of several stored tensors, by the name of the first of them.

    Tensors that cannot be read, or whose shapes do not fit, make none.

    Parameters
    ----------
    by_name
        All tensors of the checkpoint.
    """
    made = {}
    for name in by_name:
        if name.endswith(("_v", "original1")):
            each = _weight_norm(name, by_name)
        elif name.endswith(("_orig", "original")):
            each = _spectral_norm(name, by_name)
        else:
            continue
        if each is not None:
            made[name] = each
    return made


def layers_of_weight(
    parametrised: Parametrised, planned: Iterator[Layer], parameters: int
) -> Iterator[Layer]:
    """Yield the layers of a weight that is made of several tensors.

    Parameters
    ----------
    parametrised
        The weight.
    planned
        The layers that it would have if it were stored.
    parameters
        Number of elements of its tensors, without those of the state.
    """
    weight = parametrised.weight
    for layer in planned:
        yield replace(
            layer,
            tensor=parametrised.tensors[0],
            tensors=parametrised.tensors,
            view=f"{parametrised.words}, {layer.view}",
            parameters=parameters * layer.parameters // weight.parameters,
            band=None,  # the weight takes its tensors as a whole
            build=views.after(parametrised.build, layer.build, layer.band),
        )


def is_original(name: str) -> bool:
    """Whether a tensor is what a parametrization of ``torch`` makes the weight of, by its name."""
    return ".parametrizations." in f".{name}" and name.endswith(".original")


def _weight_norm(name: str, by_name: Mapping[str, TensorSpec]) -> Parametrised | None:
    match = _DIRECTION.match(name)
    if match is None:
        return None
    leaf = match["leaf"] or match["new"]
    other = f"{leaf}_g" if match["leaf"] else f"parametrizations.{leaf}.original0"
    direction, magnitude = by_name[name], by_name.get(f"{match['stem']}{other}")
    if magnitude is None or not (_readable(direction) and _readable(magnitude)):
        return None
    axes = _axes_of_norm(direction.shape, magnitude.shape)
    if axes is None:
        return None
    words = "weight norm g v/|v|" if 0 not in axes else "weight norm g v/|v| along another side"
    words = "weight norm g v/|v| of the whole" if len(axes) == len(direction.shape) else words
    return Parametrised(
        weight=replace(direction, name=f"{match['stem']}{leaf}", alias=None),
        tensors=(name, magnitude.name),
        state=(),
        words=words,
        build=views.weight_norm(axes),
    )


def _axes_of_norm(direction: tuple[int, ...], magnitude: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the sides that a norm is taken over: all but one, or all; ``None`` where the shapes do not fit.

    ``torch`` keeps a magnitude for each entry of the side ``dim`` with sides of 1 beside it, and a single
    number where ``dim`` is ``None``.
    """
    if len(direction) < 2:
        return None
    if math.prod(magnitude) == 1 and len(magnitude) in {0, 1, len(direction)}:
        return tuple(range(len(direction)))
    kept = [side for side, size in enumerate(magnitude) if size > 1]
    fits = len(magnitude) == len(direction) and len(kept) == 1 and magnitude[kept[0]] == direction[kept[0]]
    return tuple(side for side in range(len(direction)) if side not in kept) if fits else None


def _spectral_norm(name: str, by_name: Mapping[str, TensorSpec]) -> Parametrised | None:
    match = _ORIGINAL.match(name)
    if match is None:
        return None
    leaf, stem = match["leaf"] or match["new"], match["stem"]
    stored = by_name[name]
    if match["leaf"]:
        vectors = [by_name.get(f"{stem}{leaf}_{vector}") for vector in "uv"]
    else:
        root = f"{stem}parametrizations.{leaf}."
        if any(other.startswith(f"{root}1.") for other in by_name):
            return None  # several parametrizations in turn
        vectors = [by_name.get(f"{root}0._{vector}") for vector in "uv"]
    left, right = vectors
    if left is None or right is None or not all(map(_readable, (stored, left, right))):
        return None
    dim = _dim_of_vectors(stem, stored.shape, left.shape, right.shape)
    if dim is None:
        return None
    return Parametrised(
        weight=replace(stored, name=f"{stem}{leaf}", alias=None),
        tensors=(name, left.name, right.name),
        state=(left.name, right.name),
        words="spectral norm W/(u'Wv)",
        build=views.spectral_norm(dim),
    )


def _dim_of_vectors(
    module: str, shape: tuple[int, ...], left: tuple[int, ...], right: tuple[int, ...]
) -> int | None:
    """Return the side of the weight that ``u`` is of: 1 for transposed convolutions, else 0.

    Where the two have one length, the name of the module decides.
    """
    if len(shape) < 2 or len(left) != 1 or len(right) != 1:
        return None
    fitting = [dim for dim in (0, 1) if left[0] == shape[dim] and left[0] * right[0] == math.prod(shape)]
    if len(fitting) == 2:
        return 1 if len(shape) > 2 and roles.names_transposed_convolution(module) else 0
    return fitting[0] if fitting else None


def _readable(spec: TensorSpec) -> bool:
    return spec.dtype in FLOATING and spec.unreadable is None and spec.parameters > 0
