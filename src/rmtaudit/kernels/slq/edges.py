"""The ends of a spectrum: given, or where the Ritz values of all probes have converged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from rmtaudit.kernels.lanczos import Jacobi
from rmtaudit.kernels.operators import Gram, Operator, Symmetric
from rmtaudit.kernels.slq.quadrature import Rule

_AGREE = 0.1
"""A convention: the relative residual at which the smallest Ritz value counts as converged."""

Edge = Literal["given", "converged", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Where the spectrum begins and ends, as far as it is known, and how.

    ``epsilon`` is the unit round-off that its products were computed with; ``reason`` says why there is no
    ``smallest``.
    """

    smallest: float | None
    largest: float | None
    source: Edge
    epsilon: float
    reason: str = ""


def check_domain(rules: list[Rule], relative: float, *, positive: bool, nonnegative: bool) -> None:
    """Raise ``ArithmeticError`` where a Ritz value lies where the function has no value.

    Parameters
    ----------
    rules
        Gauss rules of the probes; their nodes are Ritz values.
    relative
        What rounding may have moved a Ritz value by, over the largest one.
    positive, nonnegative
        Whether the function asks for a positive definite or semidefinite matrix.
    """
    if not (positive or nonnegative):
        return
    low = min(float(rule.nodes.min()) for rule in rules)
    high = max(float(rule.nodes.max()) for rule in rules)
    floor = relative * high
    if low < -floor or high < 0:
        raise ArithmeticError(
            f"the matrix is not positive {'definite' if positive else 'semidefinite'}: it has an "
            f"eigenvalue of {low:.3g} or less, and one of {high:.3g} or more"
        )
    if positive and low <= floor:
        raise ArithmeticError(
            "the matrix is singular to working precision: it has an eigenvalue of "
            f"{max(low, 0.0):.3g} or less, and one of {high:.3g} or more (floor {floor:.3g})"
        )


def spectrum_edges(
    operator: Operator, parts: list[Jacobi], rules: list[Rule], epsilon: float, *, positive: bool
) -> Edges:
    """Return the ends of the spectrum: those given, or where the smallest Ritz values have converged.

    Raises ``ArithmeticError`` for a given bound with Ritz values beyond it.
    """
    low = min(float(rule.nodes.min()) for rule in rules)
    high = max(float(rule.nodes.max()) for rule in rules)
    relative = 8 * epsilon * rules[0].nodes.shape[1] ** 0.5
    size = max(abs(low), abs(high))
    margin = relative * (size if isinstance(operator, Symmetric) else 2 * math.sqrt(low * size))
    for bound, wrong in (
        (operator.smallest, operator.smallest is not None and operator.smallest > low + margin),
        (operator.largest, operator.largest is not None and operator.largest < high - margin),
    ):
        if wrong:
            raise ArithmeticError(
                f"{bound:.6g} is not a bound of the spectrum: there are eigenvalues at {low:.6g} "
                f"and {high:.6g}"
            )
    largest = None if operator.largest is None else max(operator.largest, high + margin)
    known = 0.0 if operator.smallest is None and isinstance(operator, Gram) else operator.smallest
    if known is not None and (known > 0 or not positive):
        smallest = min(known, low - margin) if isinstance(operator, Symmetric) else min(known, low)
        if smallest > 0 or not positive:
            return Edges(smallest=smallest, largest=largest, source="given", epsilon=epsilon)
    bounds = torch.cat(
        [rule.nodes[:, 0] - part.next * rule.last[:, 0] for part, rule in zip(parts, rules, strict=True)]
    )
    smallest = float(bounds.min()) - margin
    ritz = torch.cat([rule.nodes[:, 0] for rule in rules])
    if bool((bounds > (1 - _AGREE) * ritz).all()) and smallest > 0:
        return Edges(smallest=smallest, largest=largest, source="converged", epsilon=epsilon)
    reason = (
        "no lower bound of the spectrum is known: none was given, and the smallest Ritz values have not "
        "converged in these steps"
    )
    return Edges(smallest=None, largest=largest, source="none", epsilon=epsilon, reason=reason)
