"""The usual initialisations by their scale."""

from __future__ import annotations

import math

from rmtaudit.kernels.starts.laws import Family, truncated_std


def scale_names(family: Family, std: float, rows: int, cols: int, *, dense: bool) -> tuple[str, ...]:
    """Return the usual initialisations of this family whose scale this is, within 4 standard errors.

    Parameters
    ----------
    family
        As of :class:`rmtaudit.kernels.starts.laws.EntryLaw`.
    std
        Standard deviation of the entries, in weight units.
    rows, cols
        Shape: outputs and inputs. Keras stores the transpose, so both readings are tried.
    dense
        Whether the sides are the fans; of a flattened convolution only the inputs are.
    """
    kurtosis = {"normal": 3.0, "uniform": 1.8, "truncated normal": 2.37}[family]
    tolerance = 4 * math.sqrt((kurtosis - 1) / (4 * rows * cols)) + 1e-4
    return tuple(
        name
        for name, target in _usual(family, rows, cols, dense=dense).items()
        if abs(math.log(std / target)) <= tolerance
    )


def _usual(family: Family, rows: int, cols: int, *, dense: bool) -> dict[str, float]:
    """Return the standard deviations that libraries draw with."""
    names: dict[str, float] = {}
    fans = {"fan in": cols, **({"fan out": rows} if dense else {})}
    for fan, size in fans.items():
        names[f"Kaiming {family}, relu, {fan} {size}"] = math.sqrt(2 / size)
        names[f"LeCun {family}, {fan} {size}"] = math.sqrt(1 / size)
        if family == "uniform":
            names[f"PyTorch default (Kaiming uniform, a=√5), {fan} {size}"] = math.sqrt(1 / (3 * size))
    if dense:
        names[f"Xavier {family}, fans {cols} and {rows}"] = math.sqrt(2 / (rows + cols))
    if family == "uniform":
        names.update({f"uniform ±{a}": a / math.sqrt(3) for a in (0.01, 0.05, 0.1, 1.0)})
    else:
        cut = truncated_std() if family == "truncated normal" else 1.0
        names.update({f"{family}, std {std}": std * cut for std in (0.01, 0.02, 0.05, 1.0)})
    return names
