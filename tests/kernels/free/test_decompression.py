"""The whole method: verdicts, bands, real matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rmtaudit.kernels.free import laws
from rmtaudit.kernels.free.decompression import decompress_spectrum, take_spikes
from rmtaudit.kernels.free.evolution import evolve
from rmtaudit.kernels.free.validation import choose, freeness, ks_distance

NTK = ("data", "ntk_resnet50_cifar10")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def load(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.load(path)).sort(-1).values


def gram(n: int, d: int, seed: int) -> torch.Tensor:
    x = torch.randn(n, d, generator=generator(seed), dtype=torch.float64)
    return x @ x.T / d


def test_a_poisson_law_is_predicted_and_three_cumulants_do_as_well() -> None:
    eigenvalues = torch.linalg.eigvalsh(gram(256, 4096, 0))
    found = decompress_spectrum(eigenvalues, 8.0, generator=generator(), replicas=4)
    assert found.verdict in ("decompressible", "baseline as good")
    truth = evolve(laws.marchenko_pastur(1 / 16).levy(), 8.0)
    assert ks_distance(found.quantiles(2000), truth.quantiles(2000)) < 0.02
    levels = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    low, high = found.band(levels)
    assert bool((low < found.law.ppf(levels)).all())
    assert bool((found.law.ppf(levels) < high).all())
    value, below, above = found.interval(lambda law: law.log_det())
    assert below < value < above
    assert below < truth.log_det() < above
    assert set(found.baselines) >= {2, 3}
    assert found.unresolved < 0.02


@pytest.mark.slow
def test_the_same_seed_gives_the_same_answer() -> None:
    eigenvalues = torch.linalg.eigvalsh(gram(130, 520, 0))
    one, other = (decompress_spectrum(eigenvalues, 2.0, generator=generator(3), replicas=2) for _ in range(2))
    assert torch.equal(one.law.x, other.law.x)
    assert one.verdict == other.verdict
    at = torch.tensor([0.5], dtype=torch.float64)
    assert torch.equal(one.band(at)[0], other.band(at)[0])


def test_without_replicas_there_is_no_band() -> None:
    eigenvalues = torch.linalg.eigvalsh(gram(130, 520, 0))
    found = decompress_spectrum(eigenvalues, 2.0, generator=generator(), replicas=0)
    low, high = found.band(torch.tensor([0.5], dtype=torch.float64))
    assert (float(low), float(high)) == (-math.inf, math.inf)


def test_a_law_is_stopped_at_its_end() -> None:
    eigenvalues = torch.linalg.eigvalsh(laws.kesten_mckay(5.0).sample_matrix(400, generator(1)))
    found = decompress_spectrum(eigenvalues, 6.0, generator=generator(), replicas=0)
    assert found.verdict == "not decompressible"
    assert "can be decompressed by about" in found.reason
    assert found.last_factor == pytest.approx(5, rel=0.25)


def test_a_matrix_with_a_structured_diagonal_is_refused() -> None:
    scales = torch.exp(torch.randn(200, generator=generator(5), dtype=torch.float64))
    matrix = gram(200, 800, 1) * (scales[:, None] * scales) ** 0.5
    eigenvalues = torch.linalg.eigvalsh(matrix)
    found = decompress_spectrum(eigenvalues, 4.0, generator=generator(), matrix=matrix, replicas=0)
    assert found.verdict == "not decompressible"
    assert found.freeness is not None
    assert not found.freeness.free
    assert found.freeness.diagonal_share > 0.5


def test_a_rotated_matrix_passes_the_test_of_freeness() -> None:
    matrix = laws.marchenko_pastur(0.25).sample_matrix(200, generator(2))
    result = freeness(matrix, generator())
    assert result.free
    assert result.diagonal_share < 0.05


def test_too_few_eigenvalues_are_refused() -> None:
    found = decompress_spectrum(
        torch.linalg.eigvalsh(gram(100, 400, 0)), 2.0, generator=generator(), replicas=0
    )
    assert found.verdict == "not decompressible"
    assert "128" in found.reason


@pytest.mark.slow
def test_says_what_the_block_does_not_fix() -> None:
    scales = torch.exp(2 * torch.randn(3600, generator=generator(0), dtype=torch.float64))
    x = torch.randn(300, 3600, generator=generator(1), dtype=torch.float64)
    eigenvalues = torch.linalg.eigvalsh((x * scales) @ x.T / 3600)
    found = decompress_spectrum(eigenvalues, 8.0, generator=generator(), replicas=2)
    assert found.verdict == "not decompressible" or "fit the block equally well" in found.reason


@pytest.mark.slow
def test_spikes_are_taken_out_and_carried_on() -> None:
    eigenvalues = torch.cat(
        [torch.linalg.eigvalsh(gram(200, 2000, 0)), torch.tensor([9.0], dtype=torch.float64)]
    )
    found = decompress_spectrum(eigenvalues, 2.0, generator=generator(), replicas=0)
    ((value, carried),) = found.spikes
    assert value == 9.0
    # along its characteristic: z + (factor - 1) F(z), F near z - mean
    assert carried == pytest.approx(9 + 8, abs=0.3)
    assert float(found.quantiles(400).max()) < 3
    rows, spikes = take_spikes(torch.linalg.eigvalsh(gram(200, 2000, 0))[None])
    assert spikes == ()
    assert rows.shape == (1, 200)


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_only_larger_matrices_are_predicted(factor: float) -> None:
    with pytest.raises(ValueError, match="above 1"):
        decompress_spectrum(torch.arange(200.0), factor, generator=generator())


def test_validation_needs_128_eigenvalues() -> None:
    assert choose(torch.arange(127.0), positive=False, index=0.0, generator=generator()) is None


def test_the_log_kernel_is_predicted_sixteenfold(shared: Callable[..., Path]) -> None:
    # the single block that once ended in an error, and the pool of ten
    block = load(shared(*NTK, "cifar_resnet50_fp64_logm_n55K_eig_n01024.npy"))
    truth = load(shared(*NTK, "cifar_resnet50_fp64_logm_n55K_eig_n16384.npy"))
    found = decompress_spectrum(block, 16.0, generator=generator(), replicas=0)
    assert found.verdict != "not decompressible"
    guess = found.quantiles(len(truth))
    assert bool((guess.diff() >= 0).all())
    assert ks_distance(guess, truth) < 0.03
    assert found.law.mass == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_ten_blocks_of_the_log_kernel_pooled(shared: Callable[..., Path]) -> None:
    samples = load(shared(*NTK, "cifar_resnet50_fp64_logm_n55K_eig_n01024_samples.npy"))
    truth = load(shared(*NTK, "cifar_resnet50_fp64_logm_n55K_eig_n16384.npy"))
    found = decompress_spectrum(samples, 16.0, generator=generator())
    guess = found.quantiles(len(truth))
    assert ks_distance(guess, truth) <= 0.003
    assert float((guess - truth).abs().mean()) <= 0.02


@pytest.mark.slow
def test_the_nine_output_kernel_is_refused(shared: Callable[..., Path]) -> None:
    block = load(shared(*NTK, "cifar_resnet50_fp64_l9_p08.npy"))
    found = decompress_spectrum(block, 8.0, generator=generator(), replicas=0)
    assert found.verdict == "not decompressible"
    assert "χ²" in found.reason
