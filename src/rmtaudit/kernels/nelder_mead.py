"""The simplex search of Nelder and Mead, step for step as ``scipy.optimize.fmin`` takes it.

Fits of a peer that uses ``fmin`` are repeated with it: their results depend on the steps as long as their
tolerances are loose. For one or two parameters it takes a fraction of the time, and importing
``scipy.optimize`` costs more than hundreds of fits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Point = tuple[float, ...]

_STEP = 0.05  # of a further corner from the first, relative; absolute at 0
_STEP_AT_ZERO = 0.00025


def minimise(function: Callable[[Point], float], start: Sequence[float], *, tolerance: float = 1e-4) -> Point:
    """Return where ``function`` is least, searched from ``start``.

    Parameters
    ----------
    function
        Real function of a point. It need not be continuous; its values must not be NaN.
    start
        First corner of the simplex; each other one has one coordinate 5 % further from 0.
    tolerance
        The search ends when no corner, and no value, is further than this from the best.

    Notes
    -----
    Equivalent to ``scipy.optimize.fmin(function, start, xtol=tolerance, ftol=tolerance)``, except that the
    limit of ``200 len(start)`` evaluations is looked at between iterations only. Reflection 1, expansion 2,
    contraction and shrinking 1/2.
    """
    calls = 0

    def corner(point: Point) -> tuple[float, Point]:
        nonlocal calls
        calls += 1
        return function(point), point

    first = tuple(start)
    limit = 200 * len(first)
    simplex = [corner(first)]
    for axis, value in enumerate(first):
        moved = value * (1 + _STEP) if value else _STEP_AT_ZERO
        simplex.append(corner((*first[:axis], moved, *first[axis + 1 :])))
    simplex.sort(key=_value)
    for _ in range(1, limit):
        if calls >= limit or _is_small(simplex, tolerance):
            break
        (least, best), (most, worst) = simplex[0], simplex[-1]
        centre = tuple(sum(axis) / len(first) for axis in zip(*(at for _, at in simplex[:-1]), strict=True))
        reflected = corner(_between(centre, worst, -1.0))
        if reflected[0] < least:
            expanded = corner(_between(centre, worst, -2.0))
            simplex[-1] = expanded if expanded[0] < reflected[0] else reflected
        elif reflected[0] < simplex[-2][0]:
            simplex[-1] = reflected
        else:
            outside = reflected[0] < most
            contracted = corner(_between(centre, worst, -0.5 if outside else 0.5))
            # scipy takes an outside point that is as good as the reflected one, an inside one only if better
            if contracted[0] <= reflected[0] if outside else contracted[0] < most:
                simplex[-1] = contracted
            else:
                simplex[1:] = [corner(_between(best, at, 0.5)) for _, at in simplex[1:]]
        simplex.sort(key=_value)
    return simplex[0][1]


def _value(corner: tuple[float, Point]) -> float:
    return corner[0]


def _between(origin: Point, target: Point, share: float) -> Point:
    """Return the point at ``share`` of the way from ``origin`` to ``target``, negative for the other side."""
    return tuple((1 - share) * a + share * b for a, b in zip(origin, target, strict=True))


def _is_small(simplex: list[tuple[float, Point]], tolerance: float) -> bool:
    least, best = simplex[0]
    return all(
        abs(value - least) <= tolerance
        and all(abs(a - b) <= tolerance for a, b in zip(at, best, strict=True))
        for value, at in simplex[1:]
    )
