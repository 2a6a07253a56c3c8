"""From the functions of a Core ML program to a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.coreml.blobs import Blobs
from rmtaudit.checkpoints.coreml.decoding import Compressed, Decoder
from rmtaudit.checkpoints.coreml.program import BITS, FLOATS, TORCH, Operation, Value
from rmtaudit.checkpoints.coreml.roles import roles
from rmtaudit.checkpoints.lazy import LazyCheckpoint, LazyTensor, Load, Span
from rmtaudit.matrices.tensors import Encoding, Role, TensorSpec, Use

if TYPE_CHECKING:
    import torch

    from rmtaudit.checkpoints.files import FileSource


def coreml_checkpoint(
    path: Path,
    format: str,
    program: tuple[FileSource, Mapping[str, list[Operation]]],
    blobs: Blobs,
) -> LazyCheckpoint:
    """Return the checkpoint of a program; the caller closes the files if this raises.

    Parameters
    ----------
    path, format
        The folder that was opened, and the name of the format.
    program
        The file of the program, and the operators of its functions.
    blobs
        The files of values.
    """
    source, functions = program
    tensors: list[LazyTensor] = []
    for name, operations in functions.items():
        prefix = f"{name}/" if len(functions) > 1 else ""
        tensors.extend(_Reading(operations, blobs, prefix).tensors())
    seen: set[str] = set()
    unique = []
    for tensor in tensors:  # outputs have unique names in a function; a file that breaks this keeps the first
        if tensor.spec.name not in seen:
            seen.add(tensor.spec.name)
            unique.append(tensor)
    return LazyCheckpoint(path, format, [source, *blobs.sources], unique, [])


class _Reading:
    """The constants of one function."""

    def __init__(self, operations: list[Operation], blobs: Blobs, prefix: str) -> None:
        self._blobs, self._prefix = blobs, prefix
        makers = {
            each.outputs[0]: each
            for each in operations
            if each.outputs and (each.type == "const" or each.type.startswith("constexpr_"))
        }
        decoder = Decoder(makers)
        self._compressed = {
            name: decoder.compressed(each) for name, each in makers.items() if each.type != "const"
        }
        self._operations = {name: each for name, each in makers.items() if each.type != "const"}
        self._values = {
            name: value
            for name, each in makers.items()
            if each.type == "const" and isinstance(value := each.inputs.get("val"), Value) and _listed(value)
        }
        for each in operations:
            if each.outputs and each.outputs[0] not in makers:
                for name, value in each.inputs.items():
                    if isinstance(value, Value) and value.file:
                        self._values[f"{each.outputs[0]}/{name}"] = value
        shapes = {name: value.shape for name, value in self._values.items()}
        shapes |= {name: each.shape for name, each in self._operations.items()}
        self._roles = roles(operations, shapes)
        made = [each for each in self._compressed.values() if each is not None]
        self._codes = {each.codes for each in made} | self._inner()
        self._others = {name for each in made for name in each.others}

    def _inner(self) -> set[str]:
        """Return compressed constants that are parts of other ones: tables and scales that are compressed."""
        return {
            given
            for each in self._operations.values()
            for given in each.inputs.values()
            if isinstance(given, str) and given in self._operations
        }

    def tensors(self) -> Iterator[LazyTensor]:
        """Yield the constants, compressed ones as the values that they stand for."""
        for name, value in self._values.items():
            if name not in self._codes:
                yield self._constant(name, value)
        for name, weight in self._compressed.items():
            if name not in self._codes:
                yield self._weight(name, weight)

    def _constant(self, name: str, value: Value) -> LazyTensor:
        role = self._roles.get(name)
        if name in self._others:
            role = Role(use=Use.NONE, reason="scale, offset or table of a quantised weight", counted=False)
        elif value.type not in FLOATS and len(value.shape) < 2:
            role = Role(use=Use.NONE, reason="shape, axis or index", counted=False)
        unreadable = None
        if value.type not in TORCH:
            unreadable = (
                f"quantised (unknown: {value.type})"
                if len(value.shape) > 1
                else f"values of type {value.type}"
            )
        spec = TensorSpec(
            name=self._prefix + name,
            shape=value.shape,
            dtype=TORCH.get(value.type, "uint8"),
            alias=f"{value.file}:{value.offset}" if value.file and self._prefix else None,
            unreadable=unreadable,
            role=role,
        )
        if unreadable:
            return LazyTensor(spec=spec, values=None)
        if not value.file:
            self._blobs.check_numbers(value, name)
            return LazyTensor(spec=spec, values=_loading(lambda blobs: blobs.load(value, name), self._blobs))
        source, start, _ = self._blobs.check(value, name)
        return LazyTensor(
            spec=spec, values=Span(source=source, offset=start, dtype=TORCH[value.type], shape=value.shape)
        )

    def _weight(self, name: str, weight: Compressed | None) -> LazyTensor:
        operation = self._operations[name]
        if weight is None:
            spec = TensorSpec(
                name=self._prefix + name,
                shape=operation.shape,
                dtype="float32",
                unreadable=f"quantised (unknown: {operation.type})",
            )
            return LazyTensor(spec=spec, values=None)
        for key, value in operation.inputs.items():
            if isinstance(value, Value) and value.file:
                self._blobs.check(value, f"{name}/{key}")
        parts = (weight.codes, *weight.others) if weight.codes else ()
        encoding = Encoding(
            scheme=weight.scheme,
            dtype=weight.dtype,
            block=weight.block,
            bits=weight.bits,
            parts=tuple(self._prefix + part for part in parts),
        )
        spec = TensorSpec(
            name=self._prefix + name,
            shape=weight.shape,
            dtype="float32",
            role=self._roles.get(name),
            encoding=encoding,
        )
        return LazyTensor(spec=spec, values=_loading(weight.decode, self._blobs))


def _listed(value: Value) -> bool:
    """Whether a constant is one of the model's numbers, and no setting of an operator."""
    return value.type in BITS and (bool(value.file) or (value.type in FLOATS and value.elements > 1))


def _loading(decode: Callable[[Blobs], torch.Tensor], blobs: Blobs) -> Load:
    return lambda: decode(blobs)
