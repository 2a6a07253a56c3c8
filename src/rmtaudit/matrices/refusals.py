"""Which tensors become no layer, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rmtaudit.matrices import roles
from rmtaudit.matrices.layouts import SIDES, Layout, is_bias_of_heads, layout
from rmtaudit.matrices.tensors import FLOATING, TensorSpec, Use


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAnalysed:
    """A tensor that becomes no layer, and why.

    ``weight`` tells a matrix that could not be looked at from a tensor that is none (a bias, a buffer);
    ``counted`` is false for a tensor that only repeats the bytes of another, and ``learned`` for one that
    holds no parameters: indices, a mask, a table.
    """

    spec: TensorSpec
    reason: str
    weight: bool
    counted: bool = True
    learned: bool = True


def refusal(spec: TensorSpec, by_name: Mapping[str, TensorSpec]) -> NotAnalysed | None:
    """Return why a tensor is no weight matrix, or none that can be looked at; ``None`` if it can be.

    Parameters
    ----------
    spec
        The tensor.
    by_name
        All tensors of the checkpoint.
    """
    many = len(spec.shape) > 1
    if spec.unreadable is not None:
        return NotAnalysed(spec=spec, reason=spec.unreadable, weight=many)
    if spec.role is not None and spec.role.use is Use.NONE:
        return NotAnalysed(spec=spec, reason=spec.role.reason, weight=False, learned=spec.role.counted)
    if spec.parameters == 0:
        return NotAnalysed(spec=spec, reason="empty: a side of length 0", weight=many)
    if spec.dtype == "bool":
        return NotAnalysed(spec=spec, reason="boolean values, not weights", weight=False, learned=False)
    if spec.dtype not in FLOATING:
        kind = "complex" if spec.dtype.startswith("complex") else "integer"
        reason = f"{kind} values ({spec.dtype}), not real weights"
        index = roles.is_index(spec)
        return NotAnalysed(spec=spec, reason=reason, weight=many and not index, learned=not index)
    if not many:
        return NotAnalysed(
            spec=spec, reason="scalar" if not spec.shape else "vector (bias, norm, statistic)", weight=False
        )
    if spec.role is None and roles.is_buffer(spec):
        reason = "buffer of the architecture (mask, table), not a weight"
        return NotAnalysed(spec=spec, reason=reason, weight=False, learned=False)
    if spec.role is None and is_bias_of_heads(spec, by_name):
        return NotAnalysed(spec=spec, reason="vector (bias of several heads)", weight=False)
    if spec.role is None and len(spec.shape) in SIDES and layout(spec, by_name) is Layout.UNCLEAR:
        sides = " x ".join(map(str, spec.shape))
        return NotAnalysed(spec=spec, reason=f"layout: {sides} {Layout.UNCLEAR.value}", weight=True)
    return None
