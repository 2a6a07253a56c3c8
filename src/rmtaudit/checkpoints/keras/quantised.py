"""Quantised layers of Keras 3: int8 divides by its scale, grouped int4 multiplies and has a zero point.

Source: ``Dense``, ``EinsumDense`` and ``Embedding`` of ``keras.layers`` in Keras 3.15 (``_int8_call``,
``_int4_call``, ``quantizers.dequantize_with_sz_map``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.keras.roles import einsum_sides
from rmtaudit.checkpoints.keras.variables import Variable
from rmtaudit.matrices.tensors import ITEMSIZE, Encoding, Role, Use

if TYPE_CHECKING:
    import torch

_INTEGERS = frozenset({"int8", "uint8", "int16", "uint16", "int32", "uint32"})
_NAMES = ("kernel", "embeddings")
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
    """Whether the variables of one layer hold integer codes: a matrix of integers, with others beside it."""
    codes = [
        each for each in siblings.values() if len(each.data.shape) > 1 and each.data.kind.dtype in _INTEGERS
    ]
    return bool(codes) and len(siblings) > 1


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
    if name == "embeddings" and codes.layer.kind in {"Embedding", ""} and zero is None and mode != "int4":
        return _rows_of_int8(codes, scale)
    if name == "kernel" and zero is not None and groups is not None:
        return _grouped_int4(codes, scale, zero, groups)
    if name == "kernel" and zero is None and groups is None:
        return _columns(codes, scale, mode)
    return None


def _rows_of_int8(codes: Variable, scale: Variable) -> Decoded | None:
    shape = codes.data.shape
    if len(shape) != 2 or scale.data.shape != shape[:1]:
        return None

    def decode(parts: list[torch.Tensor]) -> torch.Tensor:
        return parts[0].float() / parts[1].float()[:, None]

    role = Role(use=Use.EMBEDDING, axes="OI")
    return _made(shape, role, ("Keras int8", "int8", (1, shape[1])), (codes, scale), decode)


def _columns(codes: Variable, scale: Variable, mode: str) -> Decoded | None:
    """Return a kernel with one scale an output: int8, or int4 with two outputs a byte."""
    shape = codes.data.shape
    axes, split = "IO", 1
    if codes.layer.kind == "EinsumDense":
        sides = einsum_sides(codes.layer.config.get("equation"), len(shape))
        if sides is None or sides[0] != "IO" or mode == "int4":
            return None
        axes, split = sides
    elif len(shape) != 2 or codes.layer.kind not in {"Dense", ""}:
        return None
    rows, columns = _product(shape[:split]), _product(shape[split:])
    outputs = _product(scale.data.shape)
    role = Role(use=Use.DENSE, axes=axes)
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
    if codes.layer.kind not in {"Dense", ""} or len(shape) != 2 or len(scale.data.shape) != 2:
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
    return min(int(given), inputs) if given.isdigit() and len(given) < 9 else -(-inputs // groups)


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
