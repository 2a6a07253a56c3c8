"""How far eigenvalues are from the fitted HTMP, and how often its own spectra are as far.

Tables for independent draws do not hold: eigenvalues repel each other, the more the larger ``kappa``, and two
parameters were fitted. In simulation ``sqrt(N) D`` after the joint fit has a distribution that depends on
``kappa`` alone, to 5 %: neither ``N`` from 32 to 2000 nor gamma from 0.1 to 1 matters. So one table serves.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from rmtaudit.kernels.htmp.censored import fit_joint_censored
from rmtaudit.kernels.htmp.ensemble import Ensemble
from rmtaudit.kernels.htmp.estimate import KappaFit, fit_joint
from rmtaudit.kernels.htmp.law import HTMP

LEVELS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
"""Tail probabilities of the table."""
LEAST = LEVELS[-1]
"""No p-value of the table is smaller."""

# benchmarks/calibrate_htmp.py: kappa, and sqrt(N) D at the levels
_TABLE = (
    (0.05, (0.649, 0.804, 0.903, 1.009, 1.123, 1.182, 1.256)),  # 2000 draws
    (0.2, (0.620, 0.778, 0.859, 0.944, 1.065, 1.131, 1.190)),  # 2000 draws
    (1, (0.565, 0.678, 0.751, 0.811, 0.914, 0.970, 1.006)),  # 2000 draws
    (3, (0.503, 0.596, 0.660, 0.708, 0.773, 0.811, 0.868)),  # 2000 draws
    (10, (0.403, 0.470, 0.511, 0.545, 0.589, 0.617, 0.646)),  # 2000 draws
    (30, (0.310, 0.353, 0.381, 0.409, 0.437, 0.452, 0.469)),  # 2000 draws
    (100, (0.218, 0.245, 0.263, 0.279, 0.294, 0.314, 0.325)),  # 2000 draws
    (300, (0.152, 0.169, 0.180, 0.188, 0.198, 0.207, 0.216)),  # 2000 draws
    (1000, (0.099, 0.108, 0.114, 0.121, 0.126, 0.130, 0.133)),  # 1000 draws
    (4000, (0.059, 0.063, 0.067, 0.069, 0.072, 0.073, 0.074)),  # 300 draws
)
_KAPPAS = np.log([kappa for kappa, _ in _TABLE])
_QUANTILES = np.log([row for _, row in _TABLE])


def distance(eigenvalues: torch.Tensor, fit: KappaFit) -> float:
    """Return the Kolmogorov-Smirnov distance between ascending eigenvalues and the law of the fit.

    Eigenvalues that the fit took as censored only count as so many: the distance is over the values above.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import htmp
    >>> law = htmp.HTMP(gamma=0.5, kappa=2.0)
    >>> eigenvalues = law.draw(400, torch.Generator().manual_seed(0)).sort().values
    >>> htmp.distance(eigenvalues, htmp.fit_moment(eigenvalues, 400, 800)) < 0.1
    True
    """
    at = HTMP.of(fit.ensemble, fit.mean).cdf(eigenvalues[fit.censored :]).numpy()
    levels = np.arange(fit.censored, len(eigenvalues) + 1) / len(eigenvalues)
    return float(max((at - levels[:-1]).max(), (levels[1:] - at).max()))


def p_value(root_n_distance: float, kappa: float) -> float:
    """Return the share of HTMP spectra that are as far from their own joint fit, from the table.

    Parameters
    ----------
    root_n_distance
        ``sqrt(N) D`` of the joint fit.
    kappa
        Its estimate. Below 0.05 and above 4000 the ends of the table stand in.

    Returns
    -------
    float
        At least 0.005, where it is only a bound; :func:`bootstrap` knows smaller ones.

    Examples
    --------
    >>> from rmtaudit.linalg import htmp
    >>> htmp.p_value(0.1, kappa=5.0) > 0.5 > htmp.p_value(2.0, kappa=5.0)
    True
    """
    quantiles = np.array([np.interp(math.log(kappa), _KAPPAS, column) for column in _QUANTILES.T])
    # below the median, down to half of it, the share rises to 1
    points = np.concatenate([[math.exp(quantiles[0]) / 2], np.exp(quantiles)])
    logs = np.log([1.0, *LEVELS])
    return float(np.exp(np.interp(root_n_distance, points, logs)))


def bootstrap(
    root_n_distance: float, fit: KappaFit, *, draws: int, generator: torch.Generator, floor: float = 0.0
) -> tuple[float, float]:
    """Return the same share from fresh spectra of the fitted ensemble, each fitted anew, and its error.

    Parameters
    ----------
    root_n_distance
        ``sqrt(N) D`` of the layer.
    fit
        Its joint fit.
    draws
        Spectra drawn, at least 1: about 8 ms each for ``N = 384``, 0.4 s for 4096.
    generator
        Of the draws.
    floor
        Where eigenvalues were censored, over the mean eigenvalue: draws are censored and fitted alike.

    Returns
    -------
    tuple
        ``(1 + number as far)/(1 + draws)``, and the binomial standard error of that.

    Raises
    ------
    ArithmeticError
        If spectra of the fitted ensemble hold eigenvalues too small for a float (``delta`` near 0) and there
        is no floor, or a draw cannot be fitted.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import htmp
    >>> generator = torch.Generator().manual_seed(0)
    >>> eigenvalues = htmp.HTMP(gamma=0.5, kappa=2.0).draw(40, generator).sort().values
    >>> fit = htmp.fit_moment(eigenvalues, 40, 80)
    >>> distance = 40**0.5 * htmp.distance(eigenvalues, fit)
    >>> share, error = htmp.bootstrap(distance, fit, draws=20, generator=generator)
    >>> 1 / 21 <= share <= 1
    True
    """
    ensemble: Ensemble = fit.ensemble
    exceeding = 0
    for _ in range(draws):
        values = torch.from_numpy(ensemble.draw(generator))
        if not float(values[0]) > floor:
            if not floor:
                raise ArithmeticError("eigenvalues of the fitted ensemble are too small for a float")
            again = fit_joint_censored(values, ensemble.size, ensemble.longer, floor=floor)
        else:
            again = fit_joint(values, ensemble.size, ensemble.longer)
        exceeding += math.sqrt(ensemble.size) * distance(values, again) >= root_n_distance
    share = (1 + exceeding) / (1 + draws)
    return share, math.sqrt(share * (1 - share) / draws)
