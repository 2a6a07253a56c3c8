"""Public kernels that work on the CPU alone by nature: why, and a call that a GPU's tensor makes fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from kernel_inputs import Put, covariance, normal

from rmtaudit.kernels import lanczos, operators
from rmtaudit.kernels.equivalents.hermite import hermite_coefficients
from rmtaudit.kernels.slq import distribution, integrands, quadrature
from rmtaudit.kernels.spectra import openblas
from rmtaudit.kernels.spectra.accuracy import Accuracy
from rmtaudit.kernels.spectra.narrow import float32_spectrum
from rmtaudit.kernels.spectra.smallest import smallest_singular_values


class HostKernel(NamedTuple):
    """Why a kernel takes no tensor of a GPU, and a call of it that is refused there."""

    reason: str
    call: Callable[[Put], Any]


def _jacobi() -> lanczos.Jacobi:
    return lanczos.start(operators.dense(covariance()), normal(2, 40) / 40**0.5).extend(6)


def _scaled_by(factor: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: torch.relu(x * factor)


def _smallest(put: Put) -> Any:
    library = openblas.load()
    if library is None:
        return put(normal(4)).numpy()  # what the kernel would do first
    return smallest_singular_values(put(normal(64, 64).float()), 2, library, tolerance=math.inf)


_NODES = "It works on a Jacobi matrix of some dozen steps, which is on the CPU as its class says."
_FUNCTION = "The function is evaluated at quadrature nodes, which are on the CPU."

HOST_KERNELS = {
    "equivalents.hermite.hermite_coefficients": HostKernel(
        _FUNCTION,
        lambda put: hermite_coefficients(_scaled_by(put(torch.ones(1).double()))),
    ),
    "slq.distribution.brackets": HostKernel(
        _NODES, lambda put: distribution.brackets(_jacobi(), put(torch.tensor([0.5, 1.0]).double()))
    ),
    "slq.integrands.custom": HostKernel(
        _FUNCTION,
        lambda put: quadrature.gauss(_jacobi()).integral(
            integrands.custom("scaled", _scaled_by(put(torch.ones(1).double())), torch.ones_like)
        ),
    ),
    "slq.quadrature.with_last": HostKernel(
        _NODES, lambda put: quadrature.with_last(_jacobi(), put(torch.tensor([9.0, 9.0]).double()))
    ),
    "spectra.narrow.float32_spectrum": HostKernel(
        "It calls OpenBLAS, and returns None for a matrix on a GPU, whose spectrum is in float64.",
        lambda put: float32_spectrum(put(normal(40, 80).float()), accuracy=Accuracy.LARGE, epsilon=2.0**-9),
    ),
    "spectra.smallest.smallest_singular_values": HostKernel(
        "It calls OpenBLAS, for the float32 spectra of the CPU alone.", _smallest
    ),
}
