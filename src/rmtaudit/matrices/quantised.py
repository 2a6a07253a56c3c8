"""Which tensors hold codes of a quantisation scheme instead of weights.

A spectrum of packed integer codes, or of 8-bit floats whose scales are kept apart, means nothing. Until their
formats can be decoded such tensors are recognised here, and skipped with the name of the scheme.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rmtaudit.matrices.tensors import TensorSpec

QUANTISED_DTYPES = frozenset({"qint8", "quint8", "qint32", "quint4x2", "quint2x4"})
"""The quantised dtypes of torch, whose tensors keep their scales to themselves."""

_PACKED = (
    (re.compile(r"(^|[._])qweight$"), "packed integer codes (.qweight)"),
    (re.compile(r"(^|[._])weight_packed$"), "packed codes (.weight_packed)"),
    (re.compile(r"_blocks$"), "MXFP4 blocks (_blocks)"),
    (re.compile(r"(^|[._])weight_q$|\.quantized$|\._data$"), "integer codes"),
)
_COMPANIONS = (
    "_scale_inv", "_scale", ".scale", ".scales", "_scales", ".qscale_weight", "_scb", ".absmax", ".quant_map",
)  # fmt: skip
_PARAMETERS_OF_A_SCHEME = re.compile(
    r"(^|[._])(qzeros|scales?|g_idx|weight_scale(_inv)?|weight_zero_point|weight_global_scale|weight_shape|"
    r"weight_g_idx|SCB|weight_format|absmax|nested_absmax|quant_map|nested_quant_map|input_scale|_scales?|"
    r"quant_state\.[a-z_0-9]+|zero_points?)$|_scale(s|_inv)?$"
)
_CODES = frozenset({"int8", "uint8"})


def scheme_of(spec: TensorSpec, names: Mapping[str, TensorSpec], config: Mapping[str, Any]) -> str:
    """Return the scheme whose codes the tensor holds, as a phrase; ``""`` if nothing says that it does.

    In the order of trust: the name's signature, a scale stored with it, ``quantization_config`` in the
    model's configuration, and the dtype: a matrix of 8-bit integers is codes of *some* scheme.
    """
    for pattern, scheme in _PACKED:
        if pattern.search(spec.name) and not spec.dtype.startswith(
            ("float16", "float32", "float64", "bfloat")
        ):
            return scheme
    narrow = spec.dtype.startswith("float8")
    if len(spec.shape) < 2 or not (narrow or spec.dtype in _CODES):
        return ""
    for ending in _COMPANIONS:
        for candidate in (spec.name + ending, spec.name + ending.upper(), _sibling(spec.name, ending)):
            if candidate in names and candidate != spec.name:
                return f"{spec.dtype} codes with scales in '{candidate}'"
    quantisation = config.get("quantization_config")
    method = quantisation.get("quant_method") if isinstance(quantisation, Mapping) else None
    if method is not None:
        return f"{spec.dtype} codes (config.json: {method})"
    return "" if narrow else f"{spec.dtype} codes of an unknown scheme"


def belongs_to_scheme(spec: TensorSpec, names: Mapping[str, TensorSpec]) -> bool:
    """Whether the tensor is a scale, zero point or table of a quantised weight in the checkpoint."""
    match = _PARAMETERS_OF_A_SCHEME.search(spec.name)
    if match is None:
        return False
    stem = spec.name[: match.start()]
    return any(
        names[other].dtype in _CODES or names[other].dtype.startswith(("int32", "float8"))
        for other in (
            f"{stem}",
            f"{stem}.weight",
            f"{stem}.qweight",
            f"{stem}.weight_packed",
            f"{stem}_blocks",
        )
        if other in names
    )


def _sibling(name: str, ending: str) -> str:
    """Return ``layer.SCB`` for ``layer.weight`` and ``_SCB``: the companion that replaces the last part."""
    stem, dot, _ = name.rpartition(".")
    return f"{stem}{dot}{ending.lstrip('._').upper()}"
