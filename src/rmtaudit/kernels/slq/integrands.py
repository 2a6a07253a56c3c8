"""The second noun: the function f in tr f(A), and what is known of its derivatives.

The signs of the derivatives decide on which side of the truth a quadrature rule lies (Golub, Meurant 2010,
chapter 6): the error of Gauss has the sign of an even derivative, that of Gauss-Radau of an odd one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

Sign = Literal[-1, 0, 1]
"""Of every derivative from some order on, over the domain; 0 where it is not known or changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Integrand:
    """A function of an eigenvalue.

    Attributes
    ----------
    name
        As it stands in formulas: ``log``, ``1/x`` …
    value, slope
        f and f', of float64 tensors.
    even, odd
        Signs of the even and of the odd derivatives of order above ``order``.
    order
        See ``even`` and ``odd``: quadrature of ``order/2`` nodes and more is bracketed.
    positive
        Whether f has no finite value or derivative at 0 and below, so that the matrix must be positive
        definite.
    at_zero
        f(0), ``None`` where there is none.
    """

    name: str
    value: Callable[[torch.Tensor], torch.Tensor]
    slope: Callable[[torch.Tensor], torch.Tensor]
    even: Sign
    odd: Sign
    order: float = 0.0
    positive: bool = False
    nonnegative: bool = False
    at_zero: float | None = None


LOG = Integrand(name="log", value=torch.log, slope=torch.reciprocal, even=-1, odd=1, positive=True)
"""Its trace is the log-determinant."""

INVERSE = Integrand(
    name="1/x", value=torch.reciprocal, slope=lambda x: -(x**-2), even=1, odd=-1, positive=True
)  # fmt: skip
"""Its trace is that of the inverse."""

IDENTITY = Integrand(
    name="x", value=lambda x: x, slope=torch.ones_like, even=1, odd=1, order=1.0, at_zero=0.0
)  # fmt: skip
"""Its trace is the trace; one node integrates it exactly."""


def power(exponent: float) -> Integrand:
    """Return ``x^q`` on the nonnegative axis; with q = p/2 and a Gram matrix, the Schatten-p norm to the p.

    Raises
    ------
    ValueError
        If the exponent is not finite or is 0.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators, slq
    >>> matrix = torch.diag(torch.linspace(1, 2, 200, dtype=torch.float64))
    >>> operator = operators.dense(matrix, smallest=1.0)
    >>> estimate = slq.trace(operator, slq.power(0.5), slq.Sampler(0), slq.Effort(probes=8))
    >>> abs(estimate.value - float(matrix.diagonal().sqrt().sum())) < 1e-6  # signs are exact on diagonals
    True
    """
    if not math.isfinite(exponent) or exponent == 0:
        raise ValueError(f"a finite exponent other than 0 is needed, not {exponent}")
    positive = exponent < 0
    # d^j x^q/dx^j has the sign of q (q - 1) ... (q - j + 1): fixed for all j > q but for the parity of j
    even: Sign = 1 if positive or math.ceil(exponent) % 2 == 0 else -1
    return Integrand(
        name=f"x^{exponent:g}",
        value=lambda x: x.clamp(min=0.0) ** exponent if not positive else x**exponent,
        slope=lambda x: exponent * x.clamp(min=1e-300) ** (exponent - 1),
        even=even,
        odd=1 if even == -1 else -1,
        order=max(exponent, 0.0),
        positive=positive,
        nonnegative=not positive,
        at_zero=None if positive else 0.0,
    )


def exponential(rate: float) -> Integrand:
    """Return ``exp(t x)``: the partition function, or with a negative rate the heat trace.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators, slq
    >>> matrix = torch.diag(torch.linspace(1, 2, 200, dtype=torch.float64))
    >>> operator = operators.dense(matrix, smallest=1.0)
    >>> estimate = slq.trace(operator, slq.exponential(-1.0), slq.Sampler(0), slq.Effort(probes=8))
    >>> truth = float(matrix.diagonal().neg().exp().sum())
    >>> abs(estimate.value - truth) < 1e-6  # signs are exact on diagonals
    True
    """
    if not math.isfinite(rate):
        raise ValueError(f"a finite rate is needed, not {rate}")
    return Integrand(
        name=f"exp({rate:g} x)",
        value=lambda x: torch.exp(rate * x),
        slope=lambda x: rate * torch.exp(rate * x),
        even=1,
        odd=1 if rate > 0 else -1,
        at_zero=1.0,
    )


def custom(
    name: str,
    value: Callable[[torch.Tensor], torch.Tensor],
    slope: Callable[[torch.Tensor], torch.Tensor],
    *,
    at_zero: float | None = None,
    positive: bool = False,
) -> Integrand:
    """Return a function of one's own, of whose derivatives nothing is known: there will be no bracket.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators, slq
    >>> matrix = torch.diag(torch.linspace(1, 2, 200, dtype=torch.float64))
    >>> operator = operators.dense(matrix, smallest=1.0)
    >>> square = slq.custom("x²", torch.square, lambda x: 2 * x)
    >>> estimate = slq.trace(operator, square, slq.Sampler(0), slq.Effort(probes=8))
    >>> abs(estimate.value - float((matrix**2).trace())) < 1e-6  # signs are exact on diagonals
    True
    """
    return Integrand(name=name, value=value, slope=slope, even=0, odd=0, positive=positive, at_zero=at_zero)
