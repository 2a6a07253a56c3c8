"""Compressed weights of Core ML: linear quantisation, look-up tables, casts.

Source: ``constexpr_*`` of the iOS 16 and iOS 18 operator sets of coremltools.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.coreml.program import BITS, Operation, Value

if TYPE_CHECKING:
    import torch

    from rmtaudit.checkpoints.coreml.blobs import Blobs

_DEPTH = 4
Decode = Callable[["Blobs"], "torch.Tensor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressed:
    """A compressed weight.

    Attributes
    ----------
    shape
        Of its values.
    scheme, dtype
        What its users call the compression, and the type of its codes.
    block
        Rows and columns that share a scale or a table; ``None`` where one serves all, or it is no matrix.
    bits
        Stored bits a value.
    codes
        Name of the constant that holds the codes; ``""`` where the operator holds them itself.
    others
        Names of the constants that hold scales, offsets and tables.
    decode
        Returns the values.
    """

    shape: tuple[int, ...]
    scheme: str
    dtype: str
    block: tuple[int, int] | None
    bits: float
    codes: str
    others: tuple[str, ...]
    decode: Decode


@dataclass(frozen=True, slots=True, kw_only=True)
class _Input:
    """An input of a compressing operator: the value, its shape, the constant's name, how it is loaded."""

    value: Value | None
    shape: tuple[int, ...]
    name: str
    load: Decode
    stored: float


class Decoder:
    """Resolves the inputs of compressing operators.

    Parameters
    ----------
    operations
        All operators that make constants, by the names of their outputs.
    """

    def __init__(self, operations: Mapping[str, Operation]) -> None:
        self._operations = operations

    def compressed(self, operation: Operation, left: int = _DEPTH) -> Compressed | None:
        """Return the weight that a compressing operator makes; ``None`` where that is not known."""
        if not operation.outputs or left == 0 or not all(operation.shape):
            return None
        inputs = {name: self._input(operation, name, left) for name in operation.inputs}
        present = {name: each for name, each in inputs.items() if each is not None}
        kind = operation.type.removeprefix("constexpr_")
        if kind == "blockwise_shift_scale" and {"data", "scale"} <= present.keys():
            return _shifted_and_scaled(operation, present)
        if kind == "affine_dequantize" and {"quantized_data", "scale", "zero_point"} <= present.keys():
            return _affine(operation, present)
        if kind == "lut_to_dense" and {"indices", "lut"} <= present.keys():
            return _looked_up(operation, present)
        return None

    def _input(self, operation: Operation, name: str, left: int) -> _Input | None:
        given = operation.inputs[name]
        label = f"{operation.outputs[0]}/{name}"
        if isinstance(given, Value):
            return _of_value(given, "", label)
        source = self._operations.get(given)
        if source is None:
            return None
        if source.type == "const":
            value = source.inputs.get("val")
            return _of_value(value, given, given) if isinstance(value, Value) else None
        inner = self.compressed(source, left - 1)
        if inner is None:
            return None
        stored = inner.bits * math.prod(inner.shape)
        return _Input(value=None, shape=inner.shape, name=given, load=inner.decode, stored=stored)


def _of_value(value: Value, name: str, label: str) -> _Input | None:
    if value.type not in BITS or not (value.file or value.complete):
        return None
    return _Input(
        value=value,
        shape=value.shape,
        name=name,
        load=lambda blobs: blobs.load(value, label),
        stored=value.elements * BITS[value.type],
    )


def _shifted_and_scaled(operation: Operation, inputs: Mapping[str, _Input]) -> Compressed | None:
    """Return ``scale * (data - offset)``, a scale and an offset a block (iOS 18)."""
    data, scale, offset = inputs["data"], inputs["scale"], inputs.get("offset")
    shape = data.shape
    if ("offset" in operation.inputs and offset is None) or not _divides(scale.shape, shape):
        return None
    if offset is not None and offset.shape != scale.shape:
        return None

    def decode(blobs: Blobs) -> torch.Tensor:
        codes = data.load(blobs).float()
        if offset is not None:
            codes = codes - _spread(offset.load(blobs).float(), shape)
        return codes * _spread(scale.load(blobs).float(), shape)

    return _made(operation, (shape, "linear"), _block(scale.shape, shape), (data, scale, offset), decode)


def _affine(operation: Operation, inputs: Mapping[str, _Input]) -> Compressed | None:
    """Return ``scale * (data - zero point)``, a scale and a zero point along one axis (iOS 16)."""
    data, scale, zero = inputs["quantized_data"], inputs["scale"], inputs["zero_point"]
    axis = inputs.get("axis")
    shape = data.shape
    side = _integer(axis) if axis is not None else 0
    if side is None or not -len(shape) <= side < len(shape):
        return None
    sides = tuple(shape[side] if i == side % len(shape) else 1 for i in range(len(shape)))
    if any(each.shape not in {(), (1,), (shape[side],)} for each in (scale, zero)):
        return None

    def column(each: _Input, blobs: Blobs) -> torch.Tensor:
        values = each.load(blobs).float()
        return values if values.numel() == 1 else values.reshape(sides)

    def decode(blobs: Blobs) -> torch.Tensor:
        return (data.load(blobs).float() - column(zero, blobs)) * column(scale, blobs)

    block = _block(sides, shape) if math.prod(scale.shape) > 1 else None
    return _made(operation, (shape, "linear"), block, (data, scale, zero, axis), decode)


def _looked_up(operation: Operation, inputs: Mapping[str, _Input]) -> Compressed | None:
    """Return the entries of a table that indices name: one table (iOS 16), or one a block (iOS 18)."""
    indices, table = inputs["indices"], inputs["lut"]
    shape = operation.shape
    if "shape" in operation.inputs or len(table.shape) == 1:
        return _one_table(operation, inputs)
    if len(table.shape) != len(shape) + 2 or table.shape[-1] != 1 or indices.shape != shape:
        return None
    blocks, entries = table.shape[:-2], table.shape[-2]
    if not _divides(blocks, shape):
        return None

    def decode(blobs: Blobs) -> torch.Tensor:
        import torch

        codes = indices.load(blobs).long()
        tables = table.load(blobs).float().reshape(-1, entries)
        numbers = torch.arange(len(tables)).reshape(blocks)
        place = _spread(numbers, shape) * entries + codes.clamp(0, entries - 1)
        return tables.flatten()[place]

    return _made(operation, (shape, "palette"), _block(blocks, shape), (indices, table), decode)


def _one_table(operation: Operation, inputs: Mapping[str, _Input]) -> Compressed | None:
    indices, table = inputs["indices"], inputs["lut"]
    shape = operation.shape
    entries = math.prod(table.shape)
    bits = entries.bit_length() - 1
    packed = indices.value
    if entries < 2 or entries != 1 << bits or packed is None or packed.type != "uint8" or bits > 8:
        return None
    if math.prod(indices.shape) != -(-math.prod(shape) * bits // 8):
        return None

    def decode(blobs: Blobs) -> torch.Tensor:
        from rmtaudit.checkpoints.coreml.blobs import unpacked

        stream = indices.load(blobs).numpy().data
        codes = unpacked(stream, bits, math.prod(shape)).long()
        return table.load(blobs).float().flatten()[codes].reshape(shape)

    return _made(
        operation, (shape, "palette"), None, (indices, table, inputs.get("shape")), decode, bits=bits
    )


def _made(
    operation: Operation,
    what: tuple[tuple[int, ...], str],
    block: tuple[int, int] | None,
    inputs: tuple[_Input | None, ...],
    decode: Decode,
    bits: int = 0,
) -> Compressed | None:
    shape, family = what
    codes = inputs[0]
    if codes is None or operation.shape != shape:
        return None
    kind = f"uint{bits}" if bits else codes.value.type if codes.value is not None else "codes"
    return Compressed(
        shape=shape,
        scheme=f"Core ML {family} {kind}",
        dtype=kind,
        block=block,
        bits=sum(each.stored for each in inputs if each is not None) / max(math.prod(shape), 1),
        codes=codes.name,
        others=tuple(each.name for each in inputs[1:] if each is not None and each.name),
        decode=decode,
    )


def _integer(given: _Input) -> int | None:
    numbers = given.value.numbers if given.value is not None else None
    return int(numbers[0]) if numbers and math.isfinite(numbers[0]) else None


def _divides(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    return len(small) == len(large) and all(a and b % a == 0 for a, b in zip(small, large, strict=True))


def _spread(values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Repeat every value over its block."""
    for side, size in enumerate(shape):
        if values.shape[side] not in {1, size}:
            values = values.repeat_interleave(size // values.shape[side], dim=side)
    return values


def _block(scales: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, int] | None:
    if len(shape) != 2 or math.prod(scales) == 1:
        return None
    return (shape[0] // scales[0], shape[1] // scales[1])
