"""Laws held against the matrix: the right one stands, wrong ones do not; and growth over many decades."""

from __future__ import annotations

import pytest
import torch

from rmtaudit.kernels.extrapolation import Obstacle, Prediction, Verdict, grown_gram, refuted, witness
from rmtaudit.kernels.extrapolation.functionals import Law
from rmtaudit.kernels.operators import gram


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def accepted(law: Law, spikes: int = 0) -> Prediction:
    return Prediction(
        verdict=Verdict(), route="rows", law=law, replicas=(), alternatives=(), extremes=(),
        pooled=False, positive=True, bulk=torch.zeros(1, 1),
        spikes=((1.0, None),) * spikes, free=None, nested=None, diagonal_share=None, baselines={}, order=400,
    )  # fmt: skip


@pytest.fixture(scope="module")
def law() -> Law:
    vectors = gaussian(600, 200)
    return grown_gram(torch.linalg.eigvalsh(vectors.T @ vectors), 600, 2.0)


def test_the_law_of_the_matrix_stands(law: Law) -> None:
    for seed in range(3):
        seen = witness(accepted(law), gram(gaussian(600, 400, seed=seed + 1)), seed)
        assert not seen.contradicts
        assert 0 < seen.standard_error < 0.01
        assert refuted(accepted(law), seen) == accepted(law)


def test_a_law_that_is_not_the_matrix_is_refused(law: Law) -> None:
    wrong = {
        "larger": 1.2 * gaussian(600, 400),
        "of low rank": gaussian(600, 300) @ gaussian(300, 400, seed=1) / 300**0.5,
        "with a tenth of the columns small": gaussian(600, 400)
        * torch.where(torch.arange(400) < 40, 0.1, 1.0),
    }
    for name, matrix in wrong.items():
        seen = witness(accepted(law), gram(matrix), 0)
        assert seen.contradicts, name
        found = refuted(accepted(law), seen)
        assert (found.verdict.obstacle, found.law) == (Obstacle.CONTRADICTED, None)
        assert "contradict" in found.reason
        with pytest.raises(ValueError, match="refused"):
            witness(found, gram(matrix), 0)


def test_the_products_find_what_the_eigenvalues_say(law: Law) -> None:
    matrix = gaussian(600, 400, seed=5)
    matrix[:, :3] *= 40
    seen = witness(accepted(law, spikes=3), gram(matrix), 0)
    exact = torch.linalg.eigvalsh(matrix.T @ matrix)
    mean = float((exact / (exact + seen.scale)).mean())
    assert seen.low - 4 * seen.standard_error <= mean <= seen.high + 4 * seen.standard_error
    assert seen.high - seen.low < 0.01
    assert not seen.contradicts


def test_vectors_whose_sizes_span_three_decades_keep_their_mass_and_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = torch.rand(768, generator=generator, dtype=torch.float64).clamp(min=1e-3).pow(-0.5)
    vectors = gaussian(1024, 768) * sizes
    half = vectors[:, torch.randperm(768, generator=generator)[:384]]
    block = torch.linalg.eigvalsh(half.T @ half)
    found = grown_gram(block, 1024, 2.0)
    assert found.mass == pytest.approx(1, abs=1e-3)
    assert float(found.quantiles(4000).mean()) == pytest.approx(float(block.mean()), rel=0.02)
    exact = torch.linalg.eigvalsh(vectors.T @ vectors)
    assert float(found.quantiles(3)[1]) == pytest.approx(float(exact.median()), rel=0.1)
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    assert torch.allclose(found.cdf(found.ppf(levels)), levels, atol=2e-3)
