"""A spectrum of atoms alone is refused in the words of the subject, and nothing else is."""

from __future__ import annotations

import pytest
import torch

from rmtaudit.kernels.extrapolation import predict
from rmtaudit.kernels.extrapolation.atomic import atoms_alone
from rmtaudit.kernels.extrapolation.verdict import Obstacle


def test_a_projector_consists_of_atoms() -> None:
    found = atoms_alone(torch.cat([torch.zeros(200), torch.ones(300)]).double())
    assert found == (2, 1.0, 0)
    assert found.reason.startswith("the spectrum consists of atoms: 2 places hold all of the eigenvalues;")


def test_rounding_keeps_atoms_together() -> None:
    noise = 1e-15 * torch.randn(300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = torch.cat([torch.zeros(100), torch.ones(200)]).double() + noise
    assert atoms_alone(values.sort().values) == (2, 1.0, 0)


def test_a_few_others_do_not_make_a_law() -> None:
    values = torch.cat([torch.zeros(120), torch.linspace(1, 2, 20)]).double()
    found = atoms_alone(values)
    assert found is not None
    assert (found.places, found.share, found.elsewhere) == pytest.approx((1, 6 / 7, 20))
    assert "1 place holds 85.7% of the eigenvalues, and the other 20 are too few" in found.reason


def test_what_is_more_than_atoms_is_left_to_the_fit() -> None:
    assert atoms_alone(torch.ones(300).double()) is None
    assert atoms_alone(torch.linspace(0, 1, 300).double()) is None
    assert atoms_alone(torch.cat([torch.zeros(200), torch.linspace(1, 2, 60)]).double()) is None


def test_a_prediction_from_atoms_is_refused() -> None:
    values = torch.cat([torch.zeros(200), torch.ones(300)]).double()
    found = predict(values, 4.0, generator=torch.Generator().manual_seed(0))
    assert found.law is None
    assert found.verdict.obstacle is Obstacle.ATOMS
    assert "consists of atoms" in found.reason
    assert found.numbers() == {}
