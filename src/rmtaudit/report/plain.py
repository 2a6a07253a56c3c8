"""Values as strict JSON takes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0)]
Number = int | float
"""A finite number; a whole one stays whole when a document is read and written again."""


def plain(value: Any, where: str = "") -> Any:
    """Return ``value`` as JSON takes it: subclasses of scalars (enums, NumPy's float64) become their base.

    ``where`` is its place in the document. Raises as :meth:`Report.to_dict`.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value!r}: a report can hold only finite numbers")
        return float(value)
    if isinstance(value, Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{where}.{key}" if where else str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise TypeError(f"{where} is a {type(value).__name__}: a report can hold only plain values")
