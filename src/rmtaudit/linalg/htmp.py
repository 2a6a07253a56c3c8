"""The high-temperature Marchenko-Pastur law: densities, estimates of kappa, goodness of fit.

See ``docs/htmp.md``.

>>> from rmtaudit.linalg import htmp
>>> import torch
>>> law = htmp.HTMP(gamma=0.5, kappa=2.0)
>>> median = law.ppf(torch.tensor([0.5], dtype=torch.float64))
>>> round(float(law.cdf(median)), 9)
0.5
"""

from rmtaudit.kernels.htmp.estimate import KappaFit, fit_joint, fit_moment
from rmtaudit.kernels.htmp.goodness import bootstrap, distance, p_value
from rmtaudit.kernels.htmp.law import HTMP, InverseHTMP
from rmtaudit.kernels.htmp.product import product_pdf

__all__ = [
    "HTMP",
    "InverseHTMP",
    "KappaFit",
    "bootstrap",
    "distance",
    "fit_joint",
    "fit_moment",
    "p_value",
    "product_pdf",
]
