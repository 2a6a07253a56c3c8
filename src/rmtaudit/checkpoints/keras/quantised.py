"""Quantised layers of Keras 3: int8 divides by its scale, grouped int4 multiplies and has a zero point.

Source: ``Dense``, ``EinsumDense`` and ``Embedding`` of ``keras.layers`` in Keras 3.15 (``_int8_call``,
``_int4_call``, ``quantizers.dequantize_with_sz_map``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.keras.roles import kernel_split
from rmtaudit.checkpoints.keras.variables import Variable
from rmtaudit.matrices.tensors import ITEMSIZE, Encoding, Role, Use

if TYPE_CHECKING:
    import torch

_INTEGERS = frozenset({"int8", "uint8", "int16", "uint16", "int32", "uint32"})
_NAMES = ("kernel", "embeddings")
_CODES = frozenset({*_NAMES, "quantized_kernel", "_kernel", "recurrent_kernel"})
_SIZE = re.compile(r"[1-9][0-9]{0,8}")
_LARGEST_GROUP_INDEX = 1 << 24  # group indices are float32 numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A quantised weight: how it is stored, and how its values come from those of its parts."""

    shape: tuple[int, ...]
    role: Role
    encoding: Encoding
    parts: tuple[Variable, ...]
    decode: Callable[[list[torch.Tensor]], torch.Tensor]


def is_quantised(siblings: Mapping[str, Variable]) -> bool:
    """Whether the variables of one layer hold codes: a matrix of integers that Keras names, and others.

    Files of anything else, with names of their own, are left to :mod:`rmtaudit.checkpoints.schemes`.
    """
    codes = [each for each in siblings.values() if holds_codes(each)]
    return len(siblings) > 1 and any(
        each.group and (each.group[-1] == "vars" or each.role in _CODES) for each in codes
    )


def holds_codes(variable: Variable) -> bool:
    """Whether a variable is a matrix of small integers."""
    return len(variable.data.shape) > 1 and variable.data.kind.dtype in _INTEGERS


def decoded(siblings: Mapping[str, Variable]) -> Decoded | None:
    """Return the quantised weight of one layer; ``None`` where its scheme is not known for sure."""
    name = next((each for each in _NAMES if each in siblings), None)
    if name is None or f"{name}_scale" not in siblings:
        return None
    codes, scale = siblings[name], siblings[f"{name}_scale"]
    zero, groups = siblings.get(f"{name}_zero"), siblings.get("g_idx")
    if codes.data.kind.dtype != "int8" or scale.data.kind.dtype not in {"float32", "float16", "bfloat16"}:
        return None
    mode = codes.layer.quantisation.partition("/")[0]
    if mode not in {"", "int8", "int4"} or any(each.data.problem for each in siblings.values()):
        return None
    if name == "embeddings":
        return _rows(codes, scale, zero, groups) if codes.layer.kind == "Embedding" else None
    if name == "kernel" and zero is not None and groups is not None:
        return _grouped_int4(codes, scale, zero, groups)
    if zero is None and groups is None:
        return _columns(codes, scale, mode)
    return None


def _rows(codes: Variable, scale: Variable, zero: Variable | None, groups: Variable | None) -> Decoded | None:
    """Return a table with a scale a row, or, of int4, a scale and a zero point a row and group of columns.

    Nothing in the file itself tells int8 from two int4 a byte: only the configuration does.
    """
    shape, mode = codes.data.shape, codes.layer.quantisation.partition("/")[0]
    columns = codes.layer.config.get("output_dim")
    if len(shape) != 2 or type(columns) is not int or not 0 < columns < _LARGEST_GROUP_INDEX:
        return None
    packed = mode == "int4"
    if shape[1] != (-(-columns // 2) if packed else columns) or mode not in {"int4", "int8"}:
        return None
    kind = (f"Keras {mode}", mode, (1, columns))
    role = Role(use=Use.EMBEDDING, axes="OI")
    whole = (shape[0], columns)
    if zero is None and groups is None:
        if scale.data.shape != shape[:1]:
            return None

        def decode(parts: list[torch.Tensor]) -> torch.Tensor:
            values = _nibbles(parts[0], columns) if packed else parts[0]
            return values.float() / parts[1].float()[:, None]

        return _made(whole, role, kind, (codes, scale), decode)
    if zero is None or groups is None or not packed or len(scale.data.shape) != 2:
        return None
    count = scale.data.shape[1]
    if (
        scale.data.shape[0] != shape[0]
        or zero.data.shape != scale.data.shape
        or groups.data.shape != (columns,)
    ):
        return None

    def decode_groups(parts: list[torch.Tensor]) -> torch.Tensor:
        index = parts[3].long().clamp(0, count - 1)
        return (_nibbles(parts[0], columns).float() - parts[2].float()[:, index]) * parts[1].float()[:, index]

    kind = ("Keras int4", "int4", (1, _block(codes.layer.quantisation, columns, count)))
    return _made(whole, role, kind, (codes, scale, zero, groups), decode_groups)


def _columns(codes: Variable, scale: Variable, mode: str) -> Decoded | None:
    """Return a kernel with one scale an output: int8, or int4 with two outputs a byte."""
    shape = codes.data.shape
    split = kernel_split(codes)
    if split is None or len(shape) < 2:
        return None
    split = 1 if len(shape) == 2 else split  # int4 merges the sides
    rows, columns = _product(shape[:split]), _product(shape[split:])
    outputs = _product(scale.data.shape)
    role = Role(use=Use.DENSE, axes="IO")
    if mode != "int4" and outputs == columns:

        def decode(parts: list[torch.Tensor]) -> torch.Tensor:
            return parts[0].reshape(rows, columns).float() / parts[1].float().reshape(1, columns)

        kind = ("Keras int8", "int8", (rows, 1))
        return _made((rows, columns), role, kind, (codes, scale), decode)
    if mode == "int8" or scale.data.shape != (outputs,) or columns != -(-outputs // 2):
        return None

    def decode_int4(parts: list[torch.Tensor]) -> torch.Tensor:
        return _nibbles(parts[0], outputs).float() / parts[1].float()

    kind = ("Keras int4", "int4", (rows, 1))
    return _made((rows, outputs), role, kind, (codes, scale), decode_int4)


def _grouped_int4(codes: Variable, scale: Variable, zero: Variable, groups: Variable) -> Decoded | None:
    """Return a kernel of int4 in groups of inputs, each with a scale and a zero point an output."""
    shape = codes.data.shape
    if kernel_split(codes) is None or len(shape) != 2 or len(scale.data.shape) != 2:
        return None
    count, outputs = scale.data.shape
    fits = zero.data.shape == (count, outputs) and groups.data.shape == shape[:1]
    if not fits or shape[1] != -(-outputs // 2) or not 0 < count < _LARGEST_GROUP_INDEX:
        return None

    def decode(parts: list[torch.Tensor]) -> torch.Tensor:
        index = parts[3].long().clamp(0, count - 1)
        values = _nibbles(parts[0], outputs).float() - parts[2].float()[index]
        return values * parts[1].float()[index]

    block = _block(codes.layer.quantisation, shape[0], count)
    kind = ("Keras int4", "int4", (block, 1))
    role = Role(use=Use.DENSE, axes="IO")
    return _made((shape[0], outputs), role, kind, (codes, scale, zero, groups), decode)


def _block(mode: str, inputs: int, groups: int) -> int:
    """Return the inputs of a group: what the policy says (``int4/128``), or an even share."""
    given = mode.partition("/")[2]
    return min(int(given), inputs) if _SIZE.fullmatch(given) else -(-inputs // groups)


def _nibbles(packed: torch.Tensor, columns: int) -> torch.Tensor:
    """Return signed int4 numbers, two a byte along the last side, the low half first."""
    import torch

    wide = packed.view(torch.uint8).to(torch.int16)
    halves = torch.stack((wide & 15, wide >> 4), dim=-1).flatten(-2)[..., :columns]
    return torch.where(halves > 7, halves - 16, halves)


def _made(
    shape: tuple[int, ...],
    role: Role,
    kind: tuple[str, str, tuple[int, int]],
    parts: tuple[Variable, ...],
    decode: Callable[[list[torch.Tensor]], torch.Tensor],
) -> Decoded:
    scheme, dtype, block = kind
    stored = sum(_product(part.data.shape) * ITEMSIZE[part.data.kind.dtype] for part in parts)
    encoding = Encoding(
        scheme=scheme,
        dtype=dtype,
        block=block,
        bits=8 * stored / max(_product(shape), 1),
        parts=tuple(part.name for part in parts),
    )
    return Decoded(shape=shape, role=role, encoding=encoding, parts=parts, decode=decode)


def _product(sizes: tuple[int, ...]) -> int:
    result = 1
    for size in sizes:
        result *= size
    return result
