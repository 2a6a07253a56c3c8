"""From files and arrays to a document: what is drawn, what is refused, and what real data say."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rmtaudit
from rmtaudit.engine.density import DensityResult, DensitySettings
from rmtaudit.engine.density.blocks import Blocks, block_order, draw_blocks, open_file
from rmtaudit.engine.density.companions import moments_without_freeness
from rmtaudit.engine.density.ridge import ridge_document
from rmtaudit.engine.sources import SourceOptions
from rmtaudit.errors import RmtauditError, UsageError
from rmtaudit.kernels.extrapolation import Prediction
from rmtaudit.matrices.sources import Gram, TensorSource
from rmtaudit.report.document import dumps


def noise(rows: int, cols: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, cols, generator=generator, dtype=torch.float64) / cols**0.5


def saved(folder: Path, name: str, values: Any) -> str:
    path = folder / name
    np.save(path, np.asarray(values))
    return str(path)


HOSTILE: dict[str, tuple[np.ndarray, dict[str, Any], str]] = {
    "nan": (np.array([1.0, math.nan, 2.0]), {}, "RA-SA-008"),
    "empty": (np.empty(0), {}, "RA-SA-007"),
    "complex": (np.ones(40) * 1j, {}, "RA-SA-005"),
    "constant": (np.ones(300), {}, "RA-DE-005"),
    "three": (np.arange(3.0), {}, "RA-DE-005"),
    "a number": (np.array(1.0), {}, "RA-MS-002"),
    "1 x 1, beyond it": (np.ones((1, 1)), {"factor": 1.0, "method": "blocks"}, "RA-US-503"),
    "enormous": (np.linspace(1, 2, 300) * 1e150, {}, "RA-DE-006"),
    "minute": (np.linspace(1, 2, 300) * 1e-300, {}, "RA-DE-006"),
    "not symmetric": (np.arange(16.0).reshape(4, 4), {}, "RA-DE-002"),
    "not symmetric, said": (np.arange(16.0).reshape(4, 4), {"holds": "matrix"}, "RA-DE-003"),
    "two sides": (np.ones((3, 40)), {}, "RA-DE-002"),
    "NaN in a matrix": (np.full((8, 8), math.nan), {"holds": "matrix"}, "RA-MS-005"),
    "three sides": (np.ones((2, 2, 2)), {}, "RA-MS-002"),
    "smaller than a block": (np.eye(20), {"sample": 30}, "RA-US-504"),
    "identity": (np.eye(200), {"sample": 100, "samples": 1}, "RA-DE-005"),
    "the block is the target": (np.arange(40.0), {"size": 40, "factor": None}, "RA-US-503"),
    "eigenvalues are not drawn": (np.arange(40.0), {"samples": 3}, "RA-US-504"),
    "no size": (np.arange(40.0), {"factor": None}, "RA-US-501"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_cannot_be_read_has_a_code(tmp_path: Path, case: str) -> None:
    values, more, code = HOSTILE[case]
    asked: dict[str, Any] = {"factor": 1.0 if values.ndim == 2 else 2.0, **more}
    if case == "not symmetric":
        asked["factor"] = 2.0
    with pytest.raises(RmtauditError) as caught:
        rmtaudit.density(saved(tmp_path, "values.npy", values), **asked)
    assert caught.value.code == code
    docs = Path(__file__).parents[3] / "docs"
    text = "".join((docs / name).read_text(encoding="utf-8") for name in ("errors.md", "exit-codes.md"))
    assert f"| {code} |" in text


def test_a_text_file_is_asked_back(tmp_path: Path) -> None:
    path = tmp_path / "values.csv"
    path.write_text("\n".join(str(value) for value in range(1, 200)))
    with pytest.raises(UsageError, match="does not state which") as caught:
        rmtaudit.density(path, factor=2)
    assert caught.value.code == "RA-DE-001"
    found = open_file(str(path), SourceOptions(), DensitySettings(factor=2, holds="eigenvalues"))
    assert isinstance(found, Blocks)
    assert found.size == 199


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"size": 10, "factor": 2.0}, "RA-US-501"),
        ({"factor": -1.0}, "RA-US-501"),
        ({"factor": math.inf}, "RA-US-501"),
        ({"replicas": 1}, "RA-US-502"),
        ({"ridge": 0.0}, "RA-US-505"),
        ({"ridge": math.nan}, "RA-US-505"),
        ({"sampling": "blocks"}, "RA-US-504"),
        ({"block_size": 3}, "RA-US-504"),
    ],
)
def test_settings_that_contradict_each_other(more: dict[str, Any], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        DensitySettings(**more)
    assert caught.value.code == code


class Recorded(TensorSource):
    """A matrix that remembers which principal submatrices were asked for."""

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__(matrix)
        self.asked: list[torch.Tensor] = []

    def principal(self, indices: torch.Tensor) -> torch.Tensor:
        self.asked.append(indices)
        return super().principal(indices)


def drawn(**more: Any) -> tuple[Recorded, Blocks]:
    source = Recorded(noise(60, 90) @ noise(60, 90).T)
    return source, draw_blocks(source, DensitySettings(size=60, **more))


def test_blocks_are_drawn_as_asked() -> None:
    source, blocks = drawn(sample=20, samples=5)
    assert [len(one.unique()) for one in source.asked] == [20] * 5
    assert blocks.spectra.shape == (5, 20)
    assert len({tuple(one.tolist()) for one in source.asked}) == 5
    again = drawn(sample=20, samples=5)[0]
    assert all(torch.equal(one, other) for one, other in zip(source.asked, again.asked, strict=True))
    other = drawn(sample=20, samples=5, seed=1)[0]
    assert not torch.equal(source.asked[0], other.asked[0])


def test_pairs_share_no_index() -> None:
    source, _ = drawn(sample=30, samples=4, sampling="paired")
    for one, other in ((0, 1), (2, 3)):
        assert not set(source.asked[one].tolist()) & set(source.asked[other].tolist())
    with pytest.raises(UsageError, match="without a common index"):
        drawn(sample=31, samples=4, sampling="paired")


def test_runs_stay_together() -> None:
    source, _ = drawn(sample=20, samples=3, sampling="blocks", block_size=5)
    for indices in source.asked:
        runs = indices.reshape(-1, 5)
        assert torch.equal(runs - runs[:, :1], torch.arange(5).expand(4, 5))
        assert bool((runs[:, 0] % 5 == 0).all())
    with pytest.raises(UsageError, match="whole number of runs"):
        drawn(sample=21, sampling="blocks", block_size=5)


@pytest.mark.parametrize(
    ("order", "more", "expected"),
    [
        (5000, {}, 1024),
        (1000, {}, 500),
        (1000, {"factor": 2.0}, 1000),
        (3000, {"factor": 2.0}, 1024),
        (1000, {"size": 400}, 200),
        (1000, {"sample": 77}, 77),
        (1003, {"sampling": "blocks", "block_size": 10}, 500),
    ],
)
def test_the_order_of_a_block(order: int, more: dict[str, Any], expected: int) -> None:
    assert block_order(order, DensitySettings(**more)) == expected


def test_a_gram_matrix_knows_its_dimension() -> None:
    weights = noise(40, 70)
    for of, dimension in (("rows", 70), ("columns", 40)):
        source = Gram(TensorSource(weights), of)  # type: ignore[arg-type]
        assert draw_blocks(source, DensitySettings(sample=10, samples=2)).dimension == dimension
    assert drawn(sample=10)[1].dimension is None


def test_moments_need_no_freeness() -> None:
    """The mean over all blocks of one index and of two is that of the matrix, whatever the matrix."""
    matrix = torch.diag(torch.arange(1.0, 41.0).double()) + 0.5
    blocks = draw_blocks(TensorSource(matrix), DensitySettings(size=41, sample=40))
    found = moments_without_freeness(blocks, 40)
    assert found is not None
    values = torch.linalg.eigvalsh(matrix)
    assert found["mean"]["value"] == pytest.approx(float(values.mean()))
    assert found["variance"]["value"] == pytest.approx(float(values.var(correction=0)))
    assert found["mean"]["se"] is None


@pytest.fixture(scope="module")
def wishart() -> tuple[torch.Tensor, DensityResult]:
    weights = noise(320, 640)
    matrix = weights @ weights.T
    result = rmtaudit.density(matrix, sample=160, samples=2, ridge=4.0)
    assert isinstance(result, DensityResult)
    return matrix, result


def test_a_matrix_is_predicted_from_blocks(wishart: tuple[torch.Tensor, Any]) -> None:
    matrix, result = wishart
    true = torch.linalg.eigvalsh(matrix)
    assert result.verdict == "determined"
    assert result.complete
    predicted = result.quantiles()
    assert len(predicted) == 320
    assert float((predicted - true).abs().mean()) < 0.03
    document = json.loads(dumps(result.document))
    assert document["schema"] == {"name": "rmtaudit.density", "version": "2.0"}
    assert document["subject"]["samples"] == 2
    assert document["tests"]["mass"] == pytest.approx(1, abs=1e-3)
    assert document["tests"]["freeness"] is None or document["tests"]["freeness"]["p_value"] > 0.001
    curve = document["prediction"]["curve"]
    assert np.trapezoid(curve["density"], curve["x"]) == pytest.approx(1, abs=0.02)
    assert document["kpm"]["distance"] < 0.03


def test_the_ridge_of_a_matrix(wishart: tuple[torch.Tensor, Any]) -> None:
    matrix, result = wishart
    ridge = result.document["ridge"]
    true = torch.linalg.eigvalsh(matrix)
    assert ridge["status"] == "ok"
    assert ridge["log_det"]["value"] == pytest.approx(float((true + 4).log().mean()), abs=0.01)
    assert ridge["effective_dimension"]["value"] == pytest.approx(float((true / (true + 4)).mean()), abs=0.01)
    assert ridge["missed"] < 0.05


def test_a_ridge_below_the_scale_is_refused(wishart: tuple[torch.Tensor, Any]) -> None:
    _, result = wishart
    least = result.document["ridge"]["r_min"]
    free: Prediction = replace(result.prediction, route="free")
    below = ridge_document(result.blocks, free, 2.0, 0.99 * least, torch.Generator())
    assert below["status"] == "refused"
    assert "do not resolve a ridge below" in below["reason"]
    above = ridge_document(result.blocks, free, 2.0, 1.5 * least, torch.Generator().manual_seed(0))
    assert above["status"] == "ok"


@pytest.mark.slow
def test_the_ten_samples_of_a_real_kernel(shared: Callable[..., Path]) -> None:
    """The logarithm of an NTK, 1024 to 16384: the bar is a pooled KS of 0.3 %."""
    folder = ("data", "ntk_resnet50_cifar10")
    path = shared(*folder, "cifar_resnet50_fp64_logm_n55K_eig_n01024_samples.npy")
    true = shared(*folder, "cifar_resnet50_fp64_logm_n55K_eig_n16384.npy")
    result = rmtaudit.density(path, size=16384, holds="spectra", against=true)
    assert result.verdict == "determined if free and smooth"
    assert not result.complete
    assert result.document["against"]["ks"] <= 0.003
    assert result.document["against"]["wasserstein"] <= 0.02
    assert result.document["against"]["ks"] < result.document["against"]["two_moments"]


def test_a_kernel_over_many_decades_is_refused_or_right(shared: Callable[..., Path]) -> None:
    folder = ("data", "ntk_resnet50_cifar10")
    block = shared(*folder, "cifar_resnet50_fp64_l9_p08.npy")
    true = shared(*folder, "cifar_resnet50_fp64_l9_p11.npy")
    result = rmtaudit.density(block, size=18432, against=true, replicas=0)
    assert isinstance(result, DensityResult)
    if result.prediction.law is None:
        assert result.document["prediction"] is None
        assert result.document["baselines"] == {}
        assert result.document["verdict"]["reason"]
    else:
        exact = float(torch.from_numpy(np.load(true)).log().mean())
        assert result.prediction.numbers()["log_det"].value == pytest.approx(exact, abs=0.05)


@pytest.mark.slow
def test_a_graph_is_not_free(shared: Callable[..., Path]) -> None:
    path = shared("data", "facebook_graph", "edges.csv")
    options = SourceOptions(laplacian="normalised")
    result = rmtaudit.density(path, sample=4096, samples=1, options=options)
    assert result.verdict == "refused"
    assert result.document["tests"]["freeness"]["p_value"] < 1e-3
    assert "free of its coordinates" in result.document["verdict"]["reason"]
    # the mean and variance that need no freeness, against those of the whole matrix
    assert result.document["moments"]["mean"]["value"] == pytest.approx(1.0, abs=1e-9)
    assert result.document["moments"]["variance"]["value"] == pytest.approx(0.109, abs=0.01)


def test_a_kernel_matrix_is_not_free(tmp_path: Path) -> None:
    points = torch.rand(512, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    path = saved(tmp_path, "points.npy", points.numpy())
    options = SourceOptions(kernel="matern", length=0.3)
    result = rmtaudit.density(path, sample=128, samples=2, replicas=0, kpm=False, ridge=1.0, options=options)
    assert result.verdict == "refused"
    assert result.document["prediction"] is None
    assert result.document["kpm"] == {"status": "skipped", "reason": "not requested"}
    if result.document["ridge"]["status"] == "ok":  # what needs no density may still be told
        from rmtaudit.kernels.covariance import matern_into

        whole = torch.empty(512, 512, dtype=torch.float64)
        matern_into(points, points, whole, nu=1.5, length=0.3)
        exact = float((torch.linalg.eigvalsh(whole).clamp(min=0) + 1).log().mean())
        found = result.document["ridge"]["log_det"]
        assert abs(found["value"] - exact) <= 4 * found["se"]
