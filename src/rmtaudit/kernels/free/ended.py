"""Laws that cannot be decompressed without end, such as those of Kesten and McKay and of Wachter.

Their measure exists only up to a factor, the end. One atom and an end are the free Meixner laws: four free
cumulants, the end among them, with an error of its own. Where that does not explain the block, the furthest
end that does is found by halving.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from rmtaudit.kernels.free.atoms import chi_square, fit_atoms
from rmtaudit.kernels.free.empirical import Transform, empirical_transform
from rmtaudit.kernels.free.fit import REJECTED, LevyFit, fit_levy

_FIRST_END, _LAST_END, _HALVINGS = 1.05, 256.0, 9
"""A convention: factors between which an end is sought. Nine halvings find it to 1.1 %, since
``ln(256/1.05)/2^9 = 0.011``."""
_ENDED = 1.12
"""χ² per datum at which an end is too far: 1.03 to 1.11 at the true end, 1.8 to 2.5 a fifth beyond it."""


def fit_ended(spectra: torch.Tensor) -> LevyFit | None:
    """Return the fit of a law with an end to blocks that no law without one explains; ``None`` if none does.

    Parameters
    ----------
    spectra
        Shape ``(n,)`` or ``(R, n)``, float64.
    """
    one = one_atom_with_end(spectra)
    if one.chi_square <= REJECTED and one.measure.index > 0:
        return one
    return _furthest_end(spectra)


def one_atom_with_end(spectra: torch.Tensor | Transform) -> LevyFit:
    """Return the free Meixner law nearest to blocks; its index may come out negative, which is no end."""
    given = spectra if isinstance(spectra, Transform) else empirical_transform(spectra)
    third = float(((given.values - given.mean) ** 3).mean())
    measure = fit_atoms(given, np.array([third]), np.array([1.0]), ending=True)
    return LevyFit(
        measure=measure,
        chi_square=chi_square(given, measure) / given.n_data,
        n_data=given.n_data,
        slack=0.0,
        positive=False,
        atoms=1,
    )


def _furthest_end(spectra: torch.Tensor) -> LevyFit | None:
    """Return the fit with the furthest end that explains the blocks within noise.

    A law that can be decompressed by 10 can be by 5: χ² rises with the end, and halving finds where.
    """
    best = fit_levy(spectra, positive=False, index=1 / _FIRST_END)[0]
    low, high = math.log(_FIRST_END), math.log(_LAST_END)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        ended = fit_levy(spectra, positive=False, index=math.exp(-middle))[0]
        if ended.chi_square <= _ENDED:
            low, best = middle, ended
        else:
            high = middle
    return best if best.chi_square <= _ENDED else None
