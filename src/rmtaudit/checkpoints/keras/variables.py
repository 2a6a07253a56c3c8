"""Variables of a Keras model in an HDF5 file: which layer has them, and what they are called.

Keras 2 and the legacy format of Keras 3 keep ``layer/…/kernel:0``, in ``model_weights`` where the model is
there too. Keras 3 keeps ``layers/dense/vars/0``: groups are named after classes, variables are numbered, and
the group ``vars`` has the name of the layer as an attribute.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rmtaudit.checkpoints.hdf5.walk import Dataset, Tree
from rmtaudit.checkpoints.keras.config import KerasLayer, layer_of

_OUTPUT = re.compile(r":\d+$")
_OPTIMIZER = frozenset({"optimizer_weights", "optimizer", "_optimizer"})
_CONTAINERS = frozenset({"layers", "_layers", "_layer_checkpoint_dependencies", "model_weights"})
_BY_COUNT = {
    2: ("kernel", "kernel_scale"),
    3: ("kernel", "bias", "kernel_scale"),
    4: ("kernel", "kernel_scale", "kernel_zero", "g_idx"),
    5: ("kernel", "bias", "kernel_scale", "kernel_zero", "g_idx"),
}
"""Names of the variables of a quantised layer (keras 3.15, ``Dense.variable_serialization_spec``)."""

_QUANTISED = frozenset({"Dense", "EinsumDense", "Embedding", "MultiHeadAttention", "GroupedQueryAttention"})
_PLAIN = ("kernel", "bias")
_RECURRENT = ("kernel", "recurrent_kernel", "bias")
_NORMALISATION = ("gamma", "beta", "moving_mean", "moving_variance")
_NAMES = {
    "SeparableConv1D": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "SeparableConv2D": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "Embedding": ("embeddings",),
    "BatchNormalization": _NORMALISATION,
    "LayerNormalization": _NORMALISATION[:2],
    "GroupNormalization": _NORMALISATION[:2],
    "PReLU": ("alpha",),
}
"""Names of the variables of a layer in the order in which Keras 3 numbers them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable of the model.

    Attributes
    ----------
    name
        As Keras calls it, unique in the file: ``"lstm/lstm_cell/kernel"``.
    role
        The last part of the name: ``"kernel"``; ``""`` where nothing says it.
    layer
        The layer that has it.
    group
        The HDF5 group that it is in: variables of one layer share it.
    data
        The dataset.
    """

    name: str
    role: str
    layer: KerasLayer
    group: tuple[str, ...]
    data: Dataset

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the name."""
        return tuple(self.name.split("/"))


def variables(tree: Tree, known: Mapping[str, KerasLayer]) -> tuple[list[Variable], list[Dataset]]:
    """Return the variables of the model in their order, and the datasets of the optimizer's state."""
    state = [data for data in tree.datasets if data.path[0] in _OPTIMIZER]
    ours = [data for data in tree.datasets if data.path[0] not in _OPTIMIZER]
    grouped: dict[tuple[str, ...], list[Dataset]] = {}
    for data in ours:
        grouped.setdefault(data.path[:-1], []).append(data)
    result = []
    for group, members in grouped.items():
        make = _numbered if group and group[-1] == "vars" else _named
        result.extend(make(group, members, tree, known))
    count = Counter(variable.name for variable in result)
    result = [variable if count[variable.name] == 1 else _with_path(variable) for variable in result]
    order = {name: place for place, name in enumerate(known)}
    result.sort(key=lambda variable: order.get(variable.layer.name, len(order)))
    return result, state


def _with_path(variable: Variable) -> Variable:
    """Return the variable under its full path, which is unique."""
    return Variable(
        name="/".join(variable.data.path),
        role=variable.role,
        layer=variable.layer,
        group=variable.group,
        data=variable.data,
    )


def _named(
    group: tuple[str, ...], members: Sequence[Dataset], tree: Tree, known: Mapping[str, KerasLayer]
) -> list[Variable]:
    """Return the variables of a group that have names of their own."""
    del tree
    path = [part for part in group if part != "model_weights"]
    if len(path) > 1 and path[0] == path[1]:
        path = path[1:]
    layer = layer_of(path, known)
    result = []
    for data in members:
        role = _OUTPUT.sub("", data.path[-1]) or data.path[-1]
        name = "/".join((*path, role))
        result.append(Variable(name=name, role=role, layer=layer, group=group, data=data))
    return result


def _numbered(
    group: tuple[str, ...], members: Sequence[Dataset], tree: Tree, known: Mapping[str, KerasLayer]
) -> list[Variable]:
    """Return the variables of a group ``vars``, named after what Keras 3 saves in this order."""
    path, own = [], list(group[:-1])
    for depth, part in enumerate(own):
        given = tree.texts.get((*own[: depth + 1], "vars"), {}).get("name")
        if given is not None and "/" not in given:
            path.append(given)
        elif part not in _CONTAINERS:
            path.append(part)
    layer = layer_of(path, known)
    if not layer.kind:
        layer = layer_of([part for part in own if part not in _CONTAINERS], known)
    numbers = {data.path[-1] for data in members}
    names = _names(layer, members) if numbers == {str(i) for i in range(len(members))} else ()
    by_number = {str(index): name for index, name in enumerate(names)}
    result = []
    for data in members:
        number = data.path[-1]
        role = by_number.get(number, "")
        name = "/".join((*path, role or f"vars/{number}"))
        result.append(Variable(name=name, role=role, layer=layer, group=group, data=data))
    return result


def _names(layer: KerasLayer, members: Sequence[Dataset]) -> tuple[str, ...]:
    first = next(data for data in members if data.path[-1] == "0")
    if layer.kind in _QUANTISED and first.kind.dtype == "int8":
        names = _BY_COUNT.get(len(members), ())
        if layer.kind == "Embedding":
            return tuple(name.replace("kernel", "embeddings") for name in names) if len(members) != 3 else ()
        return names
    if layer.kind in _NAMES:
        return _NAMES[layer.kind]
    if layer.kind in {"LSTM", "GRU", "SimpleRNN", "LSTMCell", "GRUCell", "SimpleRNNCell"}:
        return _RECURRENT
    if layer.kind.startswith("ConvLSTM"):
        return _RECURRENT
    if layer.kind.startswith(("Dense", "EinsumDense", "Conv", "DepthwiseConv", "MultiHead", "GroupedQuery")):
        return _PLAIN
    return ()
