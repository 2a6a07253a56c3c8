"""The units that are compared: the matrices of a checkpoint, and its other tensors as matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.matrices.layers import Layer, LayerKind
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import ITEMSIZE, Encoding, TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRef:
    """A matrix of a checkpoint that can be compared with one of another checkpoint.

    Attributes
    ----------
    name
        The name of the layer (``tensor#part`` where a tensor holds several), or of the tensor.
    shape
        Rows and columns as the layer presents them (outputs x inputs). A tensor that is no layer has all
        sides but the first as columns; a vector is one column.
    layer
        The planned layer; ``None`` for a tensor that is no weight matrix: a bias, a statistic, a table, the
        factor of an adapter.
    spec
        The stored tensor (the first, where the layer comes from several).
    rows
        The rows of the matrix that are meant, where it fuses several; ``None`` for all of them.
    """

    name: str
    shape: tuple[int, int]
    layer: Layer | None
    spec: TensorSpec
    rows: tuple[int, int] | None = None

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the stored tensors that are read."""
        return (self.spec.name,) if self.layer is None else self.layer.tensors

    @property
    def band(self) -> tuple[int, int] | None:
        """Range of the first side of the stored tensor that is read; ``None`` for all of it."""
        return None if self.layer is None else self.layer.band

    @property
    def kind(self) -> LayerKind | None:
        """What the layer does; ``None`` for a tensor that is no layer."""
        return None if self.layer is None else self.layer.kind

    @property
    def dtype(self) -> str:
        """The dtype of the values that are read, by torch's name."""
        return self.spec.dtype if self.layer is None else self.layer.dtype

    @property
    def encoding(self) -> Encoding | None:
        """How a quantised weight is stored; ``None`` for one that is stored as numbers."""
        return self.spec.encoding

    @property
    def parameters(self) -> int:
        """Number of entries."""
        return self.shape[0] * self.shape[1]

    @property
    def bytes_read(self) -> int:
        """Bytes of the stored values, of the codes they are decoded from, and of a copy in float32."""
        item = max(ITEMSIZE.get(self.spec.dtype, 8), 1)
        whole = self.spec.parameters
        if self.band is not None and self.spec.shape[0]:
            whole = whole * (self.band[1] - self.band[0]) // self.spec.shape[0]
        codes = 0 if self.encoding is None else math.ceil(whole * self.encoding.bits / 8)
        return item * whole + codes + 4 * self.parameters


def refs_of(
    checkpoint: Checkpoint, *, config: Mapping[str, Any] | None = None
) -> tuple[tuple[TensorRef, ...], tuple[str, ...]]:
    """Return everything of a checkpoint that can be compared, and the names of what cannot be read.

    Parameters
    ----------
    checkpoint
        The opened checkpoint; no value is read.
    config
        The facts that say how fused weights lie; by default the checkpoint's own ``config.json``.

    Returns
    -------
    tuple
        The references, in stored order, and the names of tensors without readable values.
    """
    specs = {spec.name: spec for spec in checkpoint.tensors}
    plan = plan_layers(specs.values(), config=checkpoint.config if config is None else config)
    refs: list[TensorRef] = []
    covered: set[str] = set()
    for layer in plan.layers:
        if layer.kind is LayerKind.ADAPTER:
            continue  # the core that a scan analyses has the update's singular values, not its entries
        covered.update(layer.tensors)
        refs.append(TensorRef(name=layer.name, shape=layer.shape, layer=layer, spec=specs[layer.tensors[0]]))
    unreadable: list[str] = []
    for spec in specs.values():
        if spec.name in covered:
            continue
        if spec.unreadable is not None or spec.dtype not in ITEMSIZE:
            unreadable.append(spec.name)
        elif spec.parameters:
            rows = spec.shape[0] if spec.shape else 1
            shape = (rows, spec.parameters // rows)
            refs.append(TensorRef(name=spec.name, shape=shape, layer=None, spec=spec))
    place = {name: index for index, name in enumerate(specs)}
    refs.sort(key=lambda ref: place[ref.spec.name])  # stable: the parts of a tensor keep their order
    return tuple(refs), tuple(unreadable)
