"""The layer of a name."""

from __future__ import annotations

from collections.abc import Sequence

from rmtaudit.names import display_name, suggestion
from rmtaudit.report.model import LayerResult


def layer_of(layers: Sequence[LayerResult], name: object) -> LayerResult:
    """Return the layer of that name, or the only one of the tensor of that name.

    Raises
    ------
    KeyError
        Where there is none; the message has the nearest name, or the layers of a tensor that holds several.
    """
    if not isinstance(name, str):
        raise KeyError(f"A layer is looked up by its name, not by {type(name).__name__}; see report.layers.")
    for layer in layers:
        if layer.name == name:
            return layer
    parts = [layer for layer in layers if layer.tensor == name]
    if len(parts) == 1:
        return parts[0]
    shown = display_name(name)
    if parts:
        listed = ", ".join(display_name(layer.name) for layer in parts[:5])
        more = f" and {len(parts) - 5} more" if len(parts) > 5 else ""
        raise KeyError(f"The tensor {shown!r} holds {len(parts)} layers: {listed}{more}.")
    names = [layer.name for layer in layers]
    inside = [known for known in names if name and name in known]
    if inside:
        listed = ", ".join(repr(display_name(known)) for known in inside[:5])
        more = f" and {len(inside) - 5} more" if len(inside) > 5 else ""
        raise KeyError(f"No layer {shown!r}. It is part of {listed}{more}.")
    raise KeyError(f"No layer {shown!r}.{display_name(suggestion(name, names))}")
