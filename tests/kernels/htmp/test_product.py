"""The free convolution with a population: trivial populations, the Silverstein equation, and matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rmtaudit.kernels.htmp.ensemble import Ensemble
from rmtaudit.kernels.htmp.law import HTMP
from rmtaudit.kernels.htmp.product import product_pdf


def test_a_population_of_one_value_only_scales() -> None:
    x = torch.logspace(-1.5, 1.2, 60, dtype=torch.float64)
    found = product_pdf(HTMP(0.5, 5.0), torch.tensor([2.0, 2.0]), x)
    assert torch.allclose(found, HTMP(0.5, 5.0, mean=2.0).pdf(x), rtol=1e-6, atol=1e-7)


def test_of_large_kappa_it_solves_silversteins_equation() -> None:
    ratio, population = 0.5, np.array([1.0, 4.0])
    x = torch.linspace(0.3, 9.0, 40, dtype=torch.float64)
    z = x.numpy() + 1e-6j
    m = -1 / z
    for _ in range(4000):
        m = (m + (1 / (np.outer(1 - ratio - ratio * z * m, population) - z[:, None])).mean(1)) / 2
    found = product_pdf(HTMP(ratio, 2e4), torch.from_numpy(population), x)
    assert found.numpy() == pytest.approx(m.imag / np.pi, abs=5e-4)


def test_matrices_follow_it() -> None:
    size, generator = 400, torch.Generator().manual_seed(0)
    ensemble, population = Ensemble(5.0, size, 800), torch.tensor([1.0] * 200 + [4.0] * 200).double()
    spectra = []
    for _ in range(3):
        values = torch.from_numpy(ensemble.draw(generator))
        frame = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=generator)).Q
        root = population.sqrt()
        spectra.append(torch.linalg.eigvalsh(root[:, None] * (frame * values @ frame.T) * root))
    values = torch.cat(spectra).sort().values
    x = torch.logspace(-4, 2, 800, dtype=torch.float64)
    density = product_pdf(HTMP.of(ensemble), population, x)
    below = torch.cumulative_trapezoid(density * x, x.log())
    assert float(below[-1]) == pytest.approx(1, abs=1e-3)
    assert float(torch.trapezoid(density * x * x, x.log())) == pytest.approx(2.5, rel=1e-3)
    seen = torch.searchsorted(values, x[1:].contiguous()) / len(values)
    assert float((below - seen).abs().max()) < 0.03


def test_what_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        product_pdf(HTMP(0.5, 5.0), torch.tensor([1.0, 0.0]), torch.tensor([1.0]))
