"""From the datasets of a Keras file to a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.hdf5.walk import Dataset, read_tree, values
from rmtaudit.checkpoints.keras.config import CONFIG_CAP, KerasLayer, parse_layers
from rmtaudit.checkpoints.keras.quantised import Decoded, decoded, holds_codes, is_quantised
from rmtaudit.checkpoints.keras.roles import Presented, present
from rmtaudit.checkpoints.keras.variables import Variable, variables
from rmtaudit.checkpoints.lazy import LazyCheckpoint, LazyTensor, Load, Span
from rmtaudit.matrices.tensors import Role, TensorSpec, Use
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import torch

    from rmtaudit.checkpoints.hdf5.span import Window


def keras_checkpoint(path: Path, format: str, window: Window, config: str | None) -> LazyCheckpoint:
    """Return the checkpoint of an HDF5 file; the caller closes the source if this raises.

    Parameters
    ----------
    path
        The file that was opened.
    format
        Name of the format.
    window
        The HDF5 file.
    config
        The model's configuration in JSON; ``None`` where it is to be looked for in the file.
    """
    tree = read_tree(window)
    warnings = list(tree.warnings)
    config = tree.texts.get((), {}).get("model_config") if config is None else config
    known = _layers(config, warnings)
    ours, state = variables(tree, known)
    if state:
        count = sum(_count(data) for data in state)
        warnings.append(f"{len(state)} arrays of the optimizer's state ({count} values) were skipped")
    groups: dict[tuple[str, ...], dict[str, Variable]] = {}
    for variable in ours:
        groups.setdefault(variable.group, {})[variable.role or variable.name] = variable
    first_of: dict[int, str] = {}
    for variable in ours:
        first_of.setdefault(variable.data.address, variable.name)
    shared = {each.data.address for each in ours if first_of[each.data.address] != each.name}
    tensors: list[LazyTensor] = []
    for group in groups.values():
        if is_quantised(group):
            tensors.extend(_quantised(window, group, decoded(group)))
        else:
            tensors.extend(_tensor(window, each, present(each, group), shared) for each in group.values())
    return LazyCheckpoint(path, format, [window.source], tensors, warnings)


def _layers(config: str | None, warnings: list[str]) -> Mapping[str, KerasLayer]:
    if config is None:
        return {}
    if len(config) > CONFIG_CAP:
        warnings.append(f"the model's configuration is longer than {CONFIG_CAP} characters and was not read")
        return {}
    try:
        return parse_layers(config)
    except ValueError as error:
        warnings.append(f"the model's configuration cannot be read: {display_name(str(error))}")
        return {}


def _count(data: Dataset) -> int:
    result = 1
    for size in data.shape:
        result *= size
    return result


def _tensor(window: Window, variable: Variable, seen: Presented, shared: set[int]) -> LazyTensor:
    data = variable.data
    spec = TensorSpec(
        name=variable.name,
        shape=seen.shape,
        dtype=data.kind.dtype,
        alias=data.address if data.address in shared else None,
        unreadable=data.problem or None,
        role=seen.role,
    )
    if data.problem:
        return LazyTensor(spec=spec, values=None)
    if seen.cudnn is not None:
        return LazyTensor(spec=spec, values=_from_cudnn(_load(window, data), *seen.cudnn))
    if data.offset is not None:
        return LazyTensor(spec=spec, values=_span(window, data, seen.shape))
    load = _load(window, data)
    return LazyTensor(spec=spec, values=lambda: load().reshape(seen.shape))


def _span(window: Window, data: Dataset, shape: tuple[int, ...]) -> Span:
    return Span(
        source=window.source,
        offset=data.offset or 0,
        dtype=data.kind.dtype,
        shape=shape,
        big_endian=data.kind.big_endian,
    )


def _load(window: Window, data: Dataset) -> Load:
    if data.offset is not None:
        return _span(window, data, data.shape).load
    return lambda: values(window, data)


def _from_cudnn(load: Load, gates: int, inputs: bool) -> Load:
    """Return the function that undoes the arrangement of cuDNN, gate by gate.

    A gate's kernel for the inputs has the values of (units, inputs) under the shape (inputs, units); one for
    the hidden state is transposed. Source: ``keras.engine.saving.preprocess_weights_for_loading`` of Keras 2.
    """

    def plain() -> torch.Tensor:
        import torch

        stored = load()
        rows, columns = stored.shape
        units = columns // gates
        parts = [stored[:, gate * units : (gate + 1) * units] for gate in range(gates)]
        if inputs:
            return torch.cat([part.reshape(units, rows).T for part in parts], dim=1)
        return torch.cat([part.T for part in parts], dim=1)

    return plain


def _quantised(window: Window, group: Mapping[str, Variable], weight: Decoded | None) -> list[LazyTensor]:
    """Return the variables of a layer whose weight is quantised: the weight as values, its parts by name."""
    if weight is None:
        names = ", ".join(display_name(each.name.rpartition("/")[2]) for each in group.values())
        reason = f"quantised (unknown: {names})"
        return [_undecoded(window, each, reason) for each in group.values()]
    result = []
    inner = {part.name for part in weight.parts}
    for each in group.values():
        if each.name == weight.parts[0].name:
            spec = TensorSpec(
                name=each.name,
                shape=weight.shape,
                dtype="float32",
                role=weight.role,
                encoding=weight.encoding,
            )
            loads = [_load(window, part.data) for part in weight.parts]
            result.append(LazyTensor(spec=spec, values=_decoding(weight, loads)))
        else:
            reason = "scale, zero point or index of a quantised weight" if each.name in inner else "bias"
            role = Role(use=Use.NONE, reason=reason, counted=each.name not in inner)
            seen = Presented(role=role, shape=each.data.shape)
            result.append(_tensor(window, each, seen, set()))
    return result


def _decoding(weight: Decoded, loads: list[Load]) -> Load:
    return lambda: weight.decode([load() for load in loads])


def _undecoded(window: Window, variable: Variable, reason: str) -> LazyTensor:
    """Return a variable of a layer whose scheme is not known: codes cannot be read, the others are parts."""
    data = variable.data
    if not holds_codes(variable):
        bias = variable.role == "bias"
        role = Role(use=Use.NONE, reason="bias" if bias else f"part of a weight: {reason}", counted=bias)
        return _tensor(window, variable, Presented(role=role, shape=data.shape), set())
    spec = TensorSpec(name=variable.name, shape=data.shape, dtype=data.kind.dtype, unreadable=reason)
    return LazyTensor(spec=spec, values=None)
