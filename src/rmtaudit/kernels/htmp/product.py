"""Free multiplicative convolution: HTMP seen through a population spectrum.

The eigenvalues of ``Σ^(1/2) X Σ^(1/2)``, ``X`` freely independent of ``Σ`` and with eigenvalues that follow
HTMP. With ``kappa`` infinite it is the generalised Marchenko-Pastur law.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rmtaudit.kernels.htmp.law import HTMP

    Complex = NDArray[np.complex128]

_ROUNDS, _ACCURACY = 2000, 1e-10  # of the fixed point: most rounds, and the relative change that ends them
_OFF = 1e-9
"""Height above the axis, relative to ``x``, at which the density is read."""


def product_pdf(law: HTMP, population: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the density of the free multiplicative convolution of HTMP with a population.

    Solved by subordination: with ``h(w) = η(w)/w``, ``η = ψ/(1+ψ)`` and ``ψ(w) = E wt/(1-wt)``, the fixed
    point of ``w -> z h_Σ(z h_X(w))`` in the upper half-plane gives ``η(z) = η_X(w)``.

    Parameters
    ----------
    law
        The law of ``X``.
    population
        Eigenvalues of ``Σ``, each of the same weight: shape ``(k,)``, positive, float64. A continuous
        population is given by its quantiles at ``(i + 1/2)/k``.
    x
        Where the density is wanted: positive, any shape.

    Returns
    -------
    torch.Tensor
        Float64, of the shape of ``x``. Absolute error about 1e-6 of the peak: what is smaller than that, in
        the tails, is not resolved.

    Raises
    ------
    ValueError
        If ``x`` or the population is not positive.
    ArithmeticError
        If the fixed point was not reached somewhere to 1e-10.

    References
    ----------
    Belinschi, Bercovici, *A new approach to subordination results in free probability*, J. Anal. Math. 101
    (2007), theorem 3.3.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import htmp
    >>> law = htmp.HTMP(gamma=0.5, kappa=2.0)
    >>> x = torch.tensor([0.5, 1.0], dtype=torch.float64)
    >>> density = htmp.product_pdf(law, torch.ones(1, dtype=torch.float64), x)  # times the identity
    >>> torch.allclose(density, law.pdf(x), atol=1e-5)
    True
    """
    atoms = population.detach().cpu().double().numpy().ravel()
    at = x.detach().cpu().double().numpy().ravel()
    if not (at > 0).all() or not atoms.size or not (atoms > 0).all():
        raise ValueError("the points and the population must be positive")
    z = 1 / (at * (1 - 1j * _OFF))
    w = _fixed_point(law, atoms, z)
    # 1 + ψ = 1/(1 - η), and the transform at 1/z is z (1 + ψ)
    transform = z / (1 - w * _h_law(law, w))
    return torch.from_numpy(np.maximum(transform.imag / np.pi, 0.0).reshape(x.shape))


def _fixed_point(law: HTMP, atoms: NDArray[np.float64], z: Complex) -> Complex:
    """Return the fixed point at every ``z``, by the iteration sped up with Aitken's extrapolation."""
    w: Complex = z * atoms.mean()
    open_ = np.arange(z.size)
    for _ in range(_ROUNDS):
        here, at = w[open_], z[open_]
        first = _step(law, atoms, at, here)
        second = _step(law, atoms, at, first)
        bend = second - 2 * first + here
        with np.errstate(divide="ignore", invalid="ignore"):
            leap = here - (first - here) ** 2 / bend
        good = np.isfinite(leap) & (leap.imag > 0)
        w[open_] = np.where(good, leap, second)
        open_ = open_[np.abs(second - first) > _ACCURACY * np.abs(second)]
        if not open_.size:
            return w
    raise ArithmeticError(f"the convolution was not found at {open_.size} of {z.size} points")


def _step(law: HTMP, atoms: NDArray[np.float64], z: Complex, w: Complex) -> Complex:
    return np.asarray(z * _h_atoms(atoms, z * _h_law(law, w)))


def _h_law(law: HTMP, w: Complex) -> Complex:
    resolvent = law.stieltjes(torch.from_numpy(-1 / w)).numpy()
    return np.asarray((1 + w / resolvent) / w)  # η = 1 - 1/(1+ψ), 1 + ψ = -S(-1/w)/w


def _h_atoms(atoms: NDArray[np.float64], w: Complex) -> Complex:
    total = (1 / (1 - w[:, None] * atoms)).mean(axis=1)
    return np.asarray((1 - 1 / total) / w)
