"""How far an edit takes a weight."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from edits import noisy, pruned, quantised, truncated

from rmtaudit.kernels.difference.distortion import distortion

Edit = Callable[[torch.Tensor], torch.Tensor]

EDITS: dict[str, Edit] = {
    "int4": lambda W: quantised(W, 4),
    "pruned": lambda W: pruned(W, 0.5),
    "truncated": lambda W: truncated(W, 3),
    "noise": lambda W: noisy(W, 0.1, torch.Generator().manual_seed(8)),
    "zero": torch.zeros_like,
    "float64": lambda W: 1.01 * W.double(),
}


def test_distortion_of_known_edits() -> None:
    W = torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0]))
    result = distortion(W, torch.diag(torch.tensor([4.0, 3.0, 0.0, 0.0])))
    assert result.relative_error == pytest.approx((5 / 30) ** 0.5)
    assert result.spectral_error == pytest.approx(0.5)
    assert result.kept == pytest.approx(0.5)
    same = distortion(W, W)
    assert (same.relative_error, same.spectral_error, same.kept) == (0, 0, 1)
    assert distortion(0 * W, 0 * W).kept == 1


@pytest.mark.parametrize("shape", [(90, 40), (40, 90), (300, 7), (1, 12)])
@pytest.mark.parametrize("name", EDITS)
def test_the_numbers_are_those_of_the_singular_values(name: str, shape: tuple[int, int]) -> None:
    W = torch.randn(shape, generator=torch.Generator().manual_seed(7))
    edited = EDITS[name](W)
    result = distortion(W, edited)

    E = edited.double() - W.double()
    values, largest = torch.linalg.svdvals(W.double()), float(torch.linalg.svdvals(E)[0])
    assert result.relative_error == pytest.approx(float(E.norm() / W.double().norm()), rel=1e-12)
    assert result.spectral_error == pytest.approx(largest / float(values[0]), rel=1e-10)
    # A change of everything has the weight's own singular values: the largest is on the edge.
    clear = (values / largest - 1).abs() > 1e-10 if largest else torch.ones_like(values, dtype=torch.bool)
    least, most = float((values[clear] > largest).sum()), float((values > largest).sum() + (~clear).sum())
    assert least / len(values) <= result.kept <= most / len(values)


@pytest.mark.parametrize("seed", range(12))
def test_a_truncation_keeps_its_rank(seed: int) -> None:
    W = torch.randn(60, 45, generator=torch.Generator().manual_seed(seed))
    rank = 1 + 3 * seed
    assert distortion(W, truncated(W.double(), rank)).kept == pytest.approx(rank / 45)
