"""A state dict or a module that is already in memory, as a checkpoint."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.inert import Storage, StoredTensor
from rmtaudit.checkpoints.state import named_tensors
from rmtaudit.errors import InputError, UsageError
from rmtaudit.matrices.sharing import StorageView
from rmtaudit.matrices.tensors import ITEMSIZE, TensorSpec
from rmtaudit.names import display_name


class StateDictCheckpoint(Checkpoint):
    """Tensors in memory.

    Parameters
    ----------
    state
        A mapping of names to torch tensors or numpy arrays, wrapped or nested as in a file, or a
        ``torch.nn.Module``, whose ``state_dict()`` is taken. Values are not copied before they are read.
    name
        What stands for the path.

    Raises
    ------
    UsageError
        ``state`` is neither.
    """

    def __init__(self, state: Mapping[str, Any] | torch.nn.Module, name: str = "<state dict>") -> None:
        if isinstance(state, torch.nn.Module):
            state = state.state_dict()
        if not isinstance(state, Mapping):
            raise UsageError("RA-IN-096", f"Expected a mapping or a module, got {type(state).__name__}.")
        self.path = name
        self.format = "state-dict"
        values: list[Any] = []
        found = named_tensors(_inert(state, values, {}), name)
        self.warnings = tuple(found.warnings)
        self._values: dict[str, Any] = {}
        tensors = []
        for label, tensor in found.tensors:
            assert isinstance(tensor.data, Storage)
            value = values[int(tensor.data.key)]
            self._values[label] = value
            tensors.append(
                TensorSpec(
                    name=label,
                    shape=tensor.shape,
                    dtype=tensor.dtype,
                    alias=_alias(value),
                    unreadable=tensor.unreadable,
                )
            )
        self.tensors = tuple(tensors)
        self._unreadable = {spec.name: spec.unreadable for spec in tensors if spec.unreadable}

    def read(self, name: str) -> torch.Tensor:
        """Return a copy of one tensor on the CPU (see :meth:`Checkpoint.read`)."""
        value = self._values[name]
        if name in self._unreadable:
            raise InputError(
                "RA-IN-009", f"Tensor '{display_name(name)}' cannot be read: {self._unreadable[name]}."
            )
        if isinstance(value, torch.Tensor):
            return value.detach().to("cpu", copy=True).contiguous()
        return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("="), order="C"))


def _inert(value: Any, values: list[Any], made: dict[int, Any]) -> Any:
    """Return ``value`` with tensors replaced by descriptions whose storage is their place in ``values``."""
    if id(value) in made:
        return made[id(value)]
    if isinstance(value, torch.Tensor | np.ndarray):
        values.append(value)
        return _describe(value, str(len(values) - 1))
    if isinstance(value, Mapping):
        inner = made[id(value)] = {}
        inner.update((key, _inert(item, values, made)) for key, item in value.items())
        return inner
    if isinstance(value, list | tuple):
        items = made[id(value)] = []
        items.extend(_inert(item, values, made) for item in value)
        return items
    return None


def _describe(value: Any, key: str) -> StoredTensor:
    dtype = str(value.dtype).removeprefix("torch.")
    unreadable = None
    if isinstance(value, torch.Tensor):
        shape = tuple(value.shape) if not value.is_nested else ()
        if value.is_nested or value.layout != torch.strided:
            unreadable = "nested tensor" if value.is_nested else "sparse tensor"
        elif value.is_quantized:
            unreadable = f"quantised tensor ({dtype})"
        elif value.is_meta:
            unreadable = "meta tensor: it has no values"
    else:
        shape = tuple(value.shape)
        dtype = value.dtype.newbyteorder("=").name
    if unreadable is None and dtype not in ITEMSIZE:
        unreadable = f"dtype {display_name(dtype, longest=40)}"
    return StoredTensor(
        dtype=dtype, shape=shape, stride=(), offset=0, data=Storage(key, dtype, 0), unreadable=unreadable
    )


def _alias(value: Any) -> Hashable | None:
    if isinstance(value, torch.Tensor):
        if value.layout != torch.strided or value.is_nested or value.is_meta or value.is_quantized:
            return None
        place = value.untyped_storage().data_ptr()
        if not place:  # a subclass that keeps its values elsewhere
            return None
        return StorageView(
            storage=(str(value.device), place),
            dtype=str(value.dtype).removeprefix("torch."),
            offset=int(value.storage_offset()),
            shape=tuple(value.shape),
            stride=value.stride(),
        )
    return ("cpu", value.__array_interface__["data"][0], value.shape, value.strides)
