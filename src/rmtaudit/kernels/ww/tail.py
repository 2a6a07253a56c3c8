"""The power-law fit of WeightWatcher 0.7.7, with its options: one function, :func:`fit_tail`.

Eigenvalues up to 1e-5, an absolute bound, are left out. The fits themselves are in
:mod:`rmtaudit.kernels.ww.candidates`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from rmtaudit.kernels.ww.candidates import Candidate, fit_small_or_large, fit_truncated
from rmtaudit.kernels.ww.cut_off import fit_cut_off

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Package = Literal["ww", "powerlaw"]
Fingers = Literal["clip_xmax", "xmin_peak"]
Law = Literal["PL", "TPL", "E_TPL"]

SMALLEST = 1e-5
"""Eigenvalues up to here do not enter a fit of WeightWatcher 0.7.7, whatever the scale of the matrix."""

# As in WeightWatcher 0.7.7.
_DEFAULT_MAX_FINGERS = 10
_LEAST_ALPHA = 2.0  # clipping stops where the exponent falls to it
_PEAK_BINS = 100

_Fit = Callable[["NDArray[np.float64]", float], Candidate]


@dataclass(frozen=True, slots=True, kw_only=True)
class TailOptions:
    """What may be asked of :func:`fit_tail`.

    Attributes
    ----------
    package
        Whose fit: ``"ww"`` is WeightWatcher's own, ``"powerlaw"`` that of the package powerlaw 1.5.
    xmax
        A whole number ``k``: the ``|k|`` largest eigenvalues are dropped first. ``"force"`` (powerlaw only):
        the law is truncated at the largest eigenvalue.
    fix_fingers
        ``"clip_xmax"``: drop large eigenvalues until the exponent falls by ``finger_thresh``.
        ``"xmin_peak"`` (powerlaw only): look for ``xmin`` near the peak of the spectrum alone.
    finger_thresh
        Fall of the exponent at which clipping stops.
    max_fingers
        Bound of the number of clipped eigenvalues. The peer resets it to 10 where it is below half of the
        number of eigenvalues; so does this.
    fit
        ``"PL"``: a power law. ``"TPL"`` (powerlaw only): one with an exponential cut-off.
        ``"E_TPL"``: the same, with ``fix_fingers="xmin_peak"``.
    """

    package: Package = "ww"
    xmax: int | Literal["force"] | None = None
    fix_fingers: Fingers | None = None
    finger_thresh: float = 1.0
    max_fingers: int = _DEFAULT_MAX_FINGERS
    fit: Law = "PL"


@dataclass(frozen=True, slots=True, kw_only=True)
class TailFit:
    """A fitted tail under the peer's names.

    ``alpha, xmin, D, sigma`` as in :class:`~rmtaudit.kernels.ww.candidates.Candidate`; ``xmax`` is the end of
    the fitted data (``None`` where powerlaw fits without one); ``num_pl_spikes`` the number of eigenvalues
    from ``xmin`` on, clipped fingers included; ``num_fingers, raw_alpha`` what clipping did (0 and ``alpha``
    without it); ``Lambda`` the rate of the cut-off (0 without one). ``sigma`` is ``None`` with a cut-off.
    """

    alpha: float
    xmin: float
    xmax: float | None
    D: float
    sigma: float | None
    num_pl_spikes: int
    num_fingers: int
    raw_alpha: float
    Lambda: float


def fit_tail(eigenvalues: torch.Tensor, options: TailOptions | None = None) -> TailFit:
    """Fit a power law to the upper tail of a spectrum as WeightWatcher 0.7.7 does.

    Parameters
    ----------
    eigenvalues
        Shape ``(n,)``, float64, ascending, finite, in (weight units)².
    options
        Variations of the fit; the peer's defaults if absent.

    Raises
    ------
    ArithmeticError
        Where the peer reports a failed fit (-1 everywhere), where all values of the tail are equal (the peer
        reports 0 or infinity), and for an ``xmax`` above half of the eigenvalues (the peer says that it stops
        there, and then fits something else).

    Notes
    -----
    Equivalent to ``WeightWatcher.analyze(pl_package=..., xmax=..., fix_fingers=...)``, release 0.7.7.
    """
    options = TailOptions() if options is None else options
    values = eigenvalues.detach().cpu().double().numpy()
    if isinstance(options.xmax, int):
        values = _without_largest(values, abs(options.xmax))
    usable = values[values > SMALLEST]
    fit = _fit_for(options, usable)
    end = float(usable[-1]) if usable.size else 0.0
    first = fit(usable, end)
    best, fingers = first, 0
    if options.fix_fingers == "clip_xmax":
        best, fingers = _clip(usable, first, fit, options, values.size)
    unbounded = options.package == "powerlaw" and options.xmax != "force"
    return TailFit(
        alpha=best.alpha,
        xmin=best.xmin,
        xmax=None if unbounded else best.xmax,
        D=best.D,
        sigma=best.sigma if options.fit == "PL" else None,
        num_pl_spikes=int(np.count_nonzero(values >= best.xmin)),
        num_fingers=fingers,
        raw_alpha=first.alpha,
        Lambda=best.Lambda,
    )


def _without_largest(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    if count > values.size / 2:
        raise ArithmeticError(f"xmax drops {count} of {values.size} eigenvalues, more than half")
    return values[: values.size - count]


def _fit_for(options: TailOptions, usable: NDArray[np.float64]) -> _Fit:
    """Return the fit of some eigenvalues, truncated (if at all) at a given end."""
    if options.package == "ww":
        return lambda values, _: fit_small_or_large(values)
    peaked = options.fix_fingers == "xmin_peak" or options.fit == "E_TPL"
    window = _around_peak(usable) if peaked else None
    of_law = fit_truncated if options.fit == "PL" else fit_cut_off
    forced = options.xmax == "force"
    return lambda values, end: of_law(values, xmax=end if forced else None, window=window)


def _around_peak(usable: NDArray[np.float64]) -> tuple[float, float]:
    """Return where ``xmin`` may lie. The lower end is a logarithm of what it should be: the peer's fault."""
    if not usable.size:
        raise ArithmeticError(f"no eigenvalue is above {SMALLEST:g}")
    counts, edges = np.histogram(np.log10(usable), bins=_PEAK_BINS)
    peak = float(10 ** edges[int(np.argmax(counts))])
    return float(np.log10(0.95 * peak)), 1.5 * peak


def _clip(
    usable: NDArray[np.float64], first: Candidate, fit: _Fit, options: TailOptions, size: int
) -> tuple[Candidate, int]:
    """Return the fit after clipping and the number of fingers reported, one less than were clipped.

    One finger alone is never tried. The peer ends by refitting with up to three more dropped, to no effect
    but that it fails where too few eigenvalues are left for that; so does this.
    """
    most = options.max_fingers if options.max_fingers >= size / 2 else _DEFAULT_MAX_FINGERS
    if most <= 2:
        raise ArithmeticError(
            f"max_fingers={most} leaves nothing to try, because the first attempt drops 2 eigenvalues"
        )
    best, fingers = first, 0
    for dropped in range(2, most):
        last = _dropping(usable, dropped, fit)
        if last.alpha + options.finger_thresh < first.alpha:
            best, fingers = last, dropped - 1
            break
        if last.alpha <= _LEAST_ALPHA:
            break
    if usable.size - (dropped + 3) < 2:
        for further in range(dropped + 1, dropped + 4):
            check = _dropping(usable, further, fit)
            if abs(check.alpha - last.alpha) > options.finger_thresh:
                break
    return best, fingers


def _dropping(usable: NDArray[np.float64], count: int, fit: _Fit) -> Candidate:
    if usable.size - count < 2:
        raise ArithmeticError(f"clipping ran out of eigenvalues: {count} of {usable.size} dropped")
    return fit(usable[:-count], float(usable[-count]))
