"""Whether the linear algebra of this machine is right, tested on matrices whose eigenvalues are known.

Some builds of OpenBLAS have kernels that return wrong numbers on processors newer than they are. A wrong
spectrum would look like a property of the model, so it is worth a tenth of a second to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch

from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues
from rmtaudit.kernels.spectra.openblas import Driver, load

SIZE = 384
"""Rows of the test matrices: several of the blocks that BLAS kernels work in, and a fraction of a second."""
TOLERANCES = {"float64": 1e-12, "float32": 5e-4}
"""Largest error of an eigenvalue over the largest one, by convention: 12 times ``SIZE`` roundings of the
dtype. Sound libraries reach 3e-15 and 6e-7; a faulty kernel is wrong in the first digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """The largest relative error of a route to eigenvalues, on a matrix whose eigenvalues are known."""

    route: str
    error: float
    dtype: str = "float64"

    @property
    def is_right(self) -> bool:
        """Whether the error is no more than rounding."""
        return self.error <= self.tolerance

    @property
    def tolerance(self) -> float:
        """The largest error that is no more than rounding."""
        return TOLERANCES[self.dtype]


def accuracies() -> tuple[Accuracy, ...]:
    """Return the accuracy of every route to eigenvalues that rmtaudit takes on the CPU.

    The matrix is ``H D H`` with a Householder reflection ``H`` and the eigenvalues ``D`` = 1, 2, … n.
    """
    exact = np.arange(1.0, SIZE + 1)
    vector = np.cos(np.arange(SIZE) ** 2 * 0.1)
    reflection = np.eye(SIZE) - 2 * np.outer(vector, vector) / (vector @ vector)
    symmetric = _product(reflection * exact, reflection)
    factor = np.sqrt(exact)[:, None] * reflection
    gram = gram_eigenvalues(torch.from_numpy(factor)).eigenvalues.numpy()
    routes = [
        Accuracy(route="Gram matrix and eigenvalues", error=_error(gram, exact)),
        Accuracy(
            route="eigenvalues by torch",
            error=_error(torch.linalg.eigvalsh(torch.from_numpy(symmetric)).numpy(), exact),
        ),
    ]
    library = load()
    if library is not None:
        for driver in get_args(Driver):
            values = library.symmetric_eigenvalues(symmetric.copy(), driver=driver)
            routes.append(Accuracy(route=f"eigenvalues by OpenBLAS ({driver})", error=_error(values, exact)))
        values = library.float32_eigenvalues(symmetric.astype(np.float32))
        route = "eigenvalues by OpenBLAS (ssytrd_2stage)"
        routes.append(Accuracy(route=route, error=_error(values, exact), dtype="float32"))
    return tuple(routes)


def _product(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return a product without BLAS, whose kernels are what is tested."""
    product: npt.NDArray[np.float64] = np.einsum("ij,jk->ik", left, right, optimize=False)
    return (product + product.T) / 2


def _error(values: npt.NDArray[np.floating], exact: npt.NDArray[np.float64]) -> float:
    return float(np.abs(np.sort(values) - exact).max() / exact[-1])
