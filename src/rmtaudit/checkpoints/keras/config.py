"""The configuration of a Keras model, read as facts: which class every layer has, and its settings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CONFIG_CAP = 64 << 20
"""Largest configuration in bytes."""

_WRAPPERS = frozenset({"Bidirectional", "TimeDistributed", "RNN", "Wrapper", "SpectralNormalization"})
_MODELS = frozenset({"Functional", "Sequential", "Model"})
_NUMBER = re.compile(r"_\d+$")
_CLASSES = (
    "Dense", "EinsumDense", "Embedding", "TokenAndPositionEmbedding", "PositionEmbedding",
    "Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose",
    "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D",
    "LSTM", "GRU", "SimpleRNN", "LSTMCell", "GRUCell", "SimpleRNNCell", "CuDNNLSTM", "CuDNNGRU",
    "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "MultiHeadAttention", "GroupedQueryAttention",
    "BatchNormalization", "LayerNormalization", "GroupNormalization", "UnitNormalization", "PReLU",
)  # fmt: skip


def _snake(name: str) -> str:
    """Return a class name as Keras names layers after it: ``Conv2DTranspose`` is ``conv2d_transpose``."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


_BY_SNAKE = {_snake(name): name for name in _CLASSES} | {name.lower(): name for name in _CLASSES}


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasLayer:
    """A layer: its class (``""`` where nothing says it) and its settings."""

    name: str
    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def quantisation(self) -> str:
        """The mode of its dtype policy: ``"int8"``, ``"int4/128"`` …; ``""`` where it has none."""
        policy = self.config.get("dtype")
        if isinstance(policy, dict):
            policy = policy.get("config")
        if isinstance(policy, dict):
            mode = policy.get("mode")
            policy = mode if isinstance(mode, str) else policy.get("name")
        text = policy if isinstance(policy, str) else ""
        return (
            text.partition("_from_")[0] if "_from_" in text or text.startswith(("int", "gptq", "awq")) else ""
        )


def parse_layers(text: str) -> dict[str, KerasLayer]:
    """Return the layers of a model's configuration by name, those of nested models among them.

    Two layers of one name and of different classes are left out.

    Raises
    ------
    ValueError
        The text is no JSON object, or is nested too deeply.
    """
    try:
        top = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(top, dict):
        raise ValueError("not an object")  # noqa: TRY004 - a value of the file, not of an argument
    result: dict[str, KerasLayer] = {}
    clashing = set()
    waiting: list[Any] = [top]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(reversed(value))
        if not isinstance(value, dict):
            continue
        waiting.extend(reversed(value.values()))
        kind, config = value.get("class_name"), value.get("config")
        if not isinstance(kind, str) or not isinstance(config, dict):
            continue
        name = config.get("name", value.get("name"))
        if not isinstance(name, str) or kind in _WRAPPERS or kind in _MODELS:
            continue
        if name in result and result[name].kind != kind:
            clashing.add(name)
        result[name] = KerasLayer(name=name, kind=kind, config=config)
    return {name: layer for name, layer in result.items() if name not in clashing}


def layer_of(path: Sequence[str], known: Mapping[str, KerasLayer]) -> KerasLayer:
    """Return the layer that a variable belongs to.

    Parameters
    ----------
    path
        Names of the layers and parts that lead to the variable, without its own.
    known
        The layers of the configuration. Without one, a name that Keras gives by itself says the class.
    """
    plain = [part.removeprefix("forward_").removeprefix("backward_") for part in reversed(path)]
    for name in plain:
        if name in known:
            return known[name]
    for name in plain:
        kind = _BY_SNAKE.get(name) or _BY_SNAKE.get(_NUMBER.sub("", name))
        if kind is not None:
            return KerasLayer(name=name, kind=kind)
    return KerasLayer(name=path[-1] if path else "", kind="")
