"""The generalised exponential integral, which normalises a power law with an exponential cut-off."""

from __future__ import annotations

import math

_EULER = 0.5772156649015329
_ZETA = (math.pi**2 / 6, 1.2020569031595942, math.pi**4 / 90, 1.0369277551433699, math.pi**6 / 945)
_SERIES_BELOW = 1.5  # the power series converges fast below, the continued fraction above
_LARGE_ORDER = 1000.0
_PRECISION = 1e-16
_TERMS = 10_000


def scaled_exponential_integral(order: float, x: float) -> float:
    """Return ``exp(x) E_p(x)``, ``E_p(x) = ∫_1^∞ exp(-x t) t^(-p) dt``, for real ``p > 0.5`` and ``x > 0``.

    Equivalent to ``mpmath.exp(x) * mpmath.expint(p, x)`` to a relative 1e-12. It never overflows.

    References
    ----------
    NIST Digital Library of Mathematical Functions, 8.19(iv) (series), 8.19.12 (recurrence), 8.19.17
    (continued fraction) and 8.20.6 (large order).
    """
    if order > _LARGE_ORDER:
        return _large_order(order, x)
    return _fraction(order, x) if x >= _SERIES_BELOW else math.exp(x) * _series(order, x)


def _series(order: float, x: float) -> float:
    """Return ``E_p(x)`` for small ``x``: the series for ``p`` in [0.5, 1.5), then upwards by whole steps."""
    steps = math.floor(order - 0.5)
    p = order - steps
    rest = 1 - p
    # (Γ(1+t) x^(-t) - 1)/t for t = 1 - p, which is a difference of large numbers near t = 0
    total = math.expm1(_log_gamma_1p(rest) - rest * math.log(x)) / rest if rest else -_EULER - math.log(x)
    power = 1.0
    for k in range(1, _TERMS):
        power *= -x / k
        term = power / (k + rest)
        total -= term
        if abs(term) <= _PRECISION * abs(total):
            break
    decay = math.exp(-x)
    for _ in range(steps):
        total = (decay - x * total) / p
        p += 1
    return total


def _large_order(order: float, x: float) -> float:
    """Return ``exp(x) E_p(x)`` by its expansion in ``1/p``, whose next term is of order ``p^-4``."""
    total = x + order
    first = order / total**2
    second = first * (order - 2 * x) / total**2
    third = first * (6 * x * x - 8 * order * x + order * order) / total**4
    return (1 + first + second + third) / total


def _log_gamma_1p(t: float) -> float:
    """Return ``log Γ(1 + t)`` to full relative precision for small ``t``."""
    if abs(t) > 0.01:
        return math.lgamma(1 + t)
    return -_EULER * t + sum(zeta * (-t) ** k / k for k, zeta in enumerate(_ZETA, start=2))


def _fraction(order: float, x: float) -> float:
    """Return ``exp(x) E_p(x)`` by Lentz's method on its continued fraction."""
    b = x + order
    c = math.inf
    d = 1 / b
    value = d
    for k in range(1, _TERMS):
        a = -k * (k + order - 1)
        b += 2
        d = 1 / (a * d + b)
        c = b + a / c
        factor = c * d
        value *= factor
        if abs(factor - 1) <= _PRECISION * 2:
            break
    return value
