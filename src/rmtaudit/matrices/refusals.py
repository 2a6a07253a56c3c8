"""Which tensors become no layer, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rmtaudit.matrices import roles
from rmtaudit.matrices.layouts import SIDES, Layout, is_bias_of_heads, layout
from rmtaudit.matrices.quantised import QUANTISED_DTYPES, belongs_to_scheme, scheme_of
from rmtaudit.matrices.skips import Skip, SkipReason
from rmtaudit.matrices.tensors import FLOATING, TensorSpec, Use


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


def refusal(
    spec: TensorSpec, by_name: Mapping[str, TensorSpec], config: Mapping[str, Any]
) -> NotAnalysed | None:
    """Return why a tensor is no weight matrix, or none that can be analysed; ``None`` if it can be.

    Parameters
    ----------
    spec
        The tensor.
    by_name
        All tensors of the checkpoint.
    config
        The model's ``config.json``; empty where there is none.
    """
    many = len(spec.shape) > 1
    if spec.unreadable is not None:
        skip = Skip.of(SkipReason.NO_VALUES, problem=spec.unreadable)
        if spec.dtype in QUANTISED_DTYPES:
            skip = Skip.of(SkipReason.QUANTISED, scheme=f"torch's {spec.dtype}")
        return NotAnalysed(spec=spec, skip=skip, weight=many)
    if spec.role is not None and spec.role.use is Use.NONE:
        skip = Skip.of(SkipReason.NO_WEIGHT, role=spec.role.reason)
        return NotAnalysed(spec=spec, skip=skip, weight=False)
    scheme = scheme_of(spec, by_name, config)
    if scheme:
        return NotAnalysed(spec=spec, skip=Skip.of(SkipReason.QUANTISED, scheme=scheme), weight=True)
    if belongs_to_scheme(spec, by_name):
        return NotAnalysed(spec=spec, skip=Skip(SkipReason.QUANTISATION_PARAMETER), weight=False)
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
