"""Which tensors become no layer, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rmtaudit.matrices import roles
from rmtaudit.matrices.layouts import SIDES, Layout, is_bias_of_heads, layout
from rmtaudit.matrices.skips import Skip, SkipReason
from rmtaudit.matrices.tensors import FLOATING, TensorSpec, Use

_QUANTISED = frozenset({"qint8", "quint8", "qint32", "quint4x2", "quint2x4"})
"""The quantised dtypes of torch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAnalysed:
    """A tensor that becomes no layer, and why.

    ``weight`` distinguishes a matrix that cannot be analysed from a tensor that is none (a bias, a buffer);
    ``counted`` is false for a tensor that only repeats the bytes of another, and ``learned`` for one that
    holds no parameters: indices, a mask, a table.
    """

    spec: TensorSpec
    skip: Skip
    weight: bool
    counted: bool = True
    learned: bool = True

    @property
    def reason(self) -> str:
        """Why, as a sentence."""
        return self.skip.sentence


def refusal(spec: TensorSpec, by_name: Mapping[str, TensorSpec]) -> NotAnalysed | None:
    """Return why a tensor is no weight matrix, or none that can be analysed; ``None`` if it can be.

    Parameters
    ----------
    spec
        The tensor.
    by_name
        All tensors of the checkpoint.
    """
    many = len(spec.shape) > 1
    if spec.role is not None and spec.role.use is Use.NONE:
        skip = Skip.of(spec.role.skip, role=spec.role.reason)
        return NotAnalysed(spec=spec, skip=skip, weight=False, learned=spec.role.counted)
    if spec.unreadable is not None:
        reason = SkipReason.QUANTISED if spec.dtype in _QUANTISED else spec.skip
        return NotAnalysed(spec=spec, skip=Skip.of(reason, problem=spec.unreadable), weight=many)
    if spec.parameters == 0:
        return NotAnalysed(spec=spec, skip=Skip(SkipReason.EMPTY), weight=many)
    if spec.dtype == "bool":
        return NotAnalysed(spec=spec, skip=Skip(SkipReason.BOOLEAN), weight=False, learned=False)
    if spec.dtype not in FLOATING:
        reason = SkipReason.COMPLEX if spec.dtype.startswith("complex") else SkipReason.INTEGER
        skip, index = Skip.of(reason, dtype=spec.dtype), roles.is_index(spec)
        return NotAnalysed(spec=spec, skip=skip, weight=many and not index, learned=not index)
    if not many:
        reason = SkipReason.ONE_DIMENSIONAL if spec.shape else SkipReason.SCALAR
        return NotAnalysed(spec=spec, skip=Skip(reason), weight=False)
    if spec.role is None and roles.is_buffer(spec):
        return NotAnalysed(spec=spec, skip=Skip(SkipReason.BUFFER), weight=False, learned=False)
    if spec.role is None and is_bias_of_heads(spec, by_name):
        return NotAnalysed(spec=spec, skip=Skip(SkipReason.HEAD_BIAS), weight=False)
    if spec.role is None and len(spec.shape) in SIDES and layout(spec, by_name) is Layout.UNCLEAR:
        sides = " x ".join(map(str, spec.shape))
        skip = Skip.of(SkipReason.UNCLEAR_LAYOUT, sides=sides, layout=Layout.UNCLEAR.value)
        return NotAnalysed(spec=spec, skip=skip, weight=True)
    return None
