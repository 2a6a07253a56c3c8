"""From what operators take to what the report needs: one tensor specification a constant, with its role."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec

from rmtaudit.checkpoints.graphs.expressions import (
    Dequantised,
    Expression,
    Leaf,
    Pieces,
    Reshaped,
    Transposed,
    Unpacked,
    companions,
    is_view,
    leaf_of,
)
from rmtaudit.checkpoints.graphs.model import Constant
from rmtaudit.checkpoints.graphs.places import NARROW, bits_of
from rmtaudit.matrices.skips import SkipReason
from rmtaudit.matrices.tensors import FLOATING, ITEMSIZE, Encoding, Role, TensorSpec, Use

Part = tuple[str, int, int]

_WHOLE = frozenset({"int64", "int32", "uint64", "uint32", "bool", "string"})
"""dtypes of constants that are no weights where no operator takes them as codes."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What one operator does with one value.

    Attributes
    ----------
    expression
        How the value comes of constants.
    role
        Of the value, as the operator takes it: its axes are the sides of ``expression``. ``None`` for a value
        that is dequantised, and of which no operator says what it is for.
    scheme
        The name of the encoding, where the value is dequantised.
    unknown
        Names of the tensors that make a scheme which is not known; the weight cannot be read then.
    """

    expression: Expression
    role: Role | None
    scheme: str = ""
    unknown: tuple[str, ...] = ()


def belongings(expressions: Iterable[Expression | None]) -> Iterable[Claim]:
    """Yield claims on what belongs to a weight that cannot be read: scales, codebooks, workspaces."""
    for expression in expressions:
        yield from none(expression, "belongs to a quantised weight that cannot be read", parameter=False)


def none(expression: Expression | None, reason: str, *, parameter: bool = True) -> Iterable[Claim]:
    """Yield the claim on a value that is no weight, where it comes of constants.

    ``parameter`` is false for a parameter of a quantisation scheme, which is none of the model.
    """
    if expression is not None:
        numbers = isinstance(expression, Dequantised) or leaf_of(expression).constant.dtype in FLOATING
        skip = SkipReason.NO_WEIGHT if parameter else SkipReason.QUANTISATION_PARAMETER
        role = Role(use=Use.NONE, reason=reason, counted=parameter and numbers, skip=skip)
        yield Claim(expression=expression, role=role)


def specifications(
    constants: Iterable[Constant], claims: Iterable[Claim]
) -> list[tuple[TensorSpec, Expression]]:
    """Return a specification for each constant, with the expression of the values that it announces.

    Parameters
    ----------
    constants
        All of the file, names unique, in stored order.
    claims
        What operators do with them, in the order of the operators. Of several weights that one constant
        makes, the first counts; ranges of the outputs that several operators take become parts.
    """
    weights: dict[Constant, list[Claim]] = {}
    others: dict[Constant, Claim] = {}
    scales: dict[Constant, str] = {}
    aimless: dict[Constant, Claim] = {}
    for claim in claims:
        constant = leaf_of(claim.expression).constant
        if claim.role is None:
            aimless.setdefault(constant, claim)
        elif claim.role.use is Use.NONE:
            others.setdefault(constant, claim)
        else:
            weights.setdefault(constant, []).append(_pulled_back(claim, claim.role))
        what = "bias" if claim.role is not None and claim.role.use is Use.NONE else "weight"
        for part in companions(claim.expression):
            scales.setdefault(part, f"scale or zero point of a quantised {what}")
    found = []
    for constant in constants:
        if constant in weights:
            found.append(_weight(constant, weights[constant]))
        elif constant in others and constant not in scales:
            found.append(_other(constant, others[constant]))
        elif constant in aimless:
            found.append(_aimless(constant, aimless[constant]))
        else:
            found.append((_plain(constant, scales.get(constant)), Leaf(constant)))
    return found


def _weight(constant: Constant, claims: Sequence[Claim]) -> tuple[TensorSpec, Expression]:
    claim = claims[0]
    role = claim.role
    assert role is not None
    parts: list[Part] = []
    for each in claims:
        if each.expression == claim.expression and each.role is not None and each.role.axes == role.axes:
            parts += each.role.parts
    role = replace(role, parts=_tiled(parts, role.axes, claim.expression.shape))
    spec = TensorSpec(
        name=constant.name,
        shape=claim.expression.shape,
        dtype=_dtype(claim.expression),
        alias=constant.alias,
        unreadable=constant.unreadable or _unknown(claim),
        skip=SkipReason.QUANTISED if claim.unknown else constant.skip,
        role=role,
        encoding=None if claim.unknown else _encoding(claim),
    )
    return spec, claim.expression


def _other(constant: Constant, claim: Claim) -> tuple[TensorSpec, Expression]:
    expression = claim.expression if isinstance(claim.expression, Dequantised) else Leaf(constant)
    spec = msgspec.structs.replace(_plain(constant, None), role=claim.role)
    if isinstance(expression, Dequantised):
        spec = msgspec.structs.replace(spec, dtype=expression.dtype, unreadable=constant.unreadable)
    return spec, expression


def _aimless(constant: Constant, claim: Claim) -> tuple[TensorSpec, Expression]:
    spec = msgspec.structs.replace(
        _plain(constant, None),
        shape=claim.expression.shape,
        dtype=_dtype(claim.expression),
        unreadable=constant.unreadable,
        role=None,
        encoding=_encoding(claim),
    )
    return spec, claim.expression


def _plain(constant: Constant, scale: str | None) -> TensorSpec:
    """Return the specification of a constant that no operator explains; ``scale`` says whose it is one of."""
    unreadable, skip = constant.unreadable, constant.skip
    if unreadable is None and (constant.dtype in NARROW or constant.dtype not in ITEMSIZE):
        unreadable = f"dtype {constant.dtype}, whose meaning no operator states"
        skip = SkipReason.QUANTISED
    role = None
    if scale is not None:
        role = Role(use=Use.NONE, reason=scale, counted=False, skip=SkipReason.QUANTISATION_PARAMETER)
    elif constant.dtype in _WHOLE:
        reason = "whole numbers of the graph (shapes, indices, settings)"
        role = Role(use=Use.NONE, reason=reason, counted=False)
    return TensorSpec(
        name=constant.name,
        shape=constant.shape,
        dtype=constant.dtype,
        alias=constant.alias,
        unreadable=unreadable,
        skip=skip,
        role=role,
    )


def _unknown(claim: Claim) -> str | None:
    return f"quantised (unknown: {', '.join(claim.unknown)})" if claim.unknown else None


def _dtype(expression: Expression) -> str:
    while not isinstance(expression, Leaf):
        if isinstance(expression, Dequantised):
            return expression.dtype
        expression = expression.codes if isinstance(expression, Unpacked) else expression.of
    return expression.constant.dtype


def _encoding(claim: Claim) -> Encoding | None:
    expression = claim.expression
    if is_view(expression):
        return None
    codes = leaf_of(expression).constant
    stored = (codes, *companions(expression))
    bits = sum(part.elements * bits_of(part.dtype) for part in stored)
    dtype, block = codes.dtype, None
    core: Expression = expression
    while not isinstance(core, Leaf):
        if isinstance(core, Unpacked):
            dtype = f"uint{core.bits}"
        if isinstance(core, Dequantised) and core is expression:
            block = _block(core)
        core = core.codes if isinstance(core, Dequantised | Unpacked) else core.of
    elements = max(1, math.prod(expression.shape))
    return Encoding(
        scheme=claim.scheme or "DequantizeLinear",
        dtype=dtype,
        block=block,
        bits=bits / elements,
        parts=tuple(part.name for part in stored if part.name),
    )


def _block(core: Dequantised) -> tuple[int, int] | None:
    if len(core.shape) != 2 or core.side is None:
        return None
    length = core.block or 1
    rows, columns = core.shape
    if core.side == 0:
        return (length, 1) if core.block else (1, columns)
    return (1, length) if core.block else (rows, 1)


def _pulled_back(claim: Claim, role: Role) -> Claim:
    """Return the claim on the value before it was reordered and cut: nearer to what is stored."""
    expression, axes, parts = claim.expression, list(role.axes), role.parts
    while True:
        if isinstance(expression, Transposed):
            before = [""] * len(axes)
            for side, axis in zip(expression.order, axes, strict=True):
                before[side] = axis
            axes, expression = before, expression.of
        elif isinstance(expression, Pieces):
            if axes[expression.side] == "O":
                parts = _placed(parts, expression.ranges)
            expression = expression.of
        elif isinstance(expression, Reshaped):
            moved = _squeezed(expression, axes)
            if moved is None:
                break
            axes, expression = moved, expression.of
        else:
            break
    use = role.use
    if use is Use.CONVOLUTION and not set(axes) & set("DHW"):
        use = Use.DENSE
    role = replace(role, use=use, axes="".join(axes), parts=parts)
    return msgspec.structs.replace(claim, expression=expression, role=role)


def _placed(parts: tuple[Part, ...], ranges: tuple[tuple[int, int], ...]) -> tuple[Part, ...]:
    """Return the parts of joined ranges as parts of what the ranges were cut from."""
    placed: list[Part] = []
    offset = 0
    for start, stop in ranges:
        length = stop - start
        inside = [part for part in parts if offset <= part[1] and part[2] <= offset + length]
        if inside:
            placed += [
                (label, first - offset + start, last - offset + start) for label, first, last in inside
            ]
        else:
            placed.append((f"{start}:{stop}", start, stop))
        offset += length
    return tuple(placed)


def _squeezed(expression: Reshaped, axes: list[str]) -> list[str] | None:
    """Return the axes before a reshape that only adds or drops sides of 1; ``None`` for any other."""
    long = [axis for axis, side in zip(axes, expression.shape, strict=True) if side != 1]
    before = expression.of.shape
    if [side for side in before if side != 1] != [side for side in expression.shape if side != 1]:
        return None
    rest = iter(long)
    return ["1" if side == 1 else next(rest) for side in before]


def _tiled(parts: list[Part], axes: str, shape: tuple[int, ...]) -> tuple[Part, ...]:
    """Return parts in the order of their place if they cover the outputs without gaps; none otherwise."""
    if "O" not in axes:
        return ()
    outputs = shape[axes.index("O")]
    ordered = sorted(set(parts), key=lambda part: (part[1], part[2]))
    edges = [0, *(part[2] for part in ordered)]
    tiles = all(part[1] == edge for part, edge in zip(ordered, edges, strict=False)) and edges[-1] == outputs
    names = {part[0] for part in ordered}
    return tuple(ordered) if len(ordered) > 1 and tiles and len(names) == len(ordered) else ()
