"""Every kind of input as a small file of ``tests/data``, read as a user does, with an answer from elsewhere.

``tests/data/make.py`` wrote them. Tests on real models and data carry the marker ``shared``; these run
anywhere.
"""

from __future__ import annotations

import csv
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import rmtaudit
from rmtaudit.engine.logdet.requests import answer_request
from rmtaudit.engine.logdet.settings import LogdetSettings
from rmtaudit.engine.sources import SourceOptions
from rmtaudit.errors import CorruptError, NotACheckpointError

DATA = Path(__file__).parent / "data"
CHECKPOINTS = ("whole.safetensors", "zip.pt", "legacy.pt", "wrapped.pt", "sharded")


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    stored = torch.load(DATA / "zip.pt", weights_only=True)
    assert isinstance(stored, dict)
    return stored


def test_every_container_has_the_same_weights() -> None:
    reports = [rmtaudit.scan(DATA / name, analyzers=["scale"], threads=1) for name in CHECKPOINTS]
    assert len({report.subject["digest"] for report in reports}) == 1
    assert all(report.complete for report in reports)


def test_the_numbers_of_a_checkpoint(state: dict[str, torch.Tensor]) -> None:
    report = rmtaudit.scan(DATA / "legacy.pt", analyzers=["scale"], threads=1)
    rows = {row.name: row for row in report.layers}
    for name in ("embed.weight", "block.up.weight", "block.down.weight"):
        sigma = np.linalg.svd(state[name].double().numpy(), compute_uv=False)
        metrics = rows[name].metrics
        assert metrics["spectral_norm"].value == pytest.approx(sigma[0], rel=1e-9)
        assert metrics["frobenius_norm"].value == pytest.approx(np.sqrt((sigma**2).sum()), rel=1e-9)
    assert rows["block.down.weight"].metrics["numerical_rank"].value == 3
    assert [skip.name for skip in report.coverage.skipped] == ["block.norm.weight", "head.weight"]


@pytest.mark.parametrize(
    ("file", "error", "words"),
    [
        ("truncated.safetensors", CorruptError, r"the file looks truncated \(13% present\)"),
        ("header_bomb.safetensors", CorruptError, "announce a header of 4611686018427387904 bytes"),
        ("lfs_pointer.safetensors", NotACheckpointError, "133 bytes but should have 90868376"),
    ],
)
def test_broken_files_say_what_is_wrong(file: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        rmtaudit.scan(DATA / file)


def test_a_graph_has_its_spanning_trees() -> None:
    """The matrix-tree theorem, in exact arithmetic: the pseudo-determinant is n times the number of trees."""
    with (DATA / "graph.csv").open(newline="") as file:
        edges = [(int(row["source"]), int(row["target"])) for row in csv.DictReader(file)]
    size = 1 + max(max(edge) for edge in edges)
    laplacian = [[Fraction(0)] * size for _ in range(size)]
    for one, other in edges:
        laplacian[one][one] += 1
        laplacian[other][other] += 1
        laplacian[one][other] -= 1
        laplacian[other][one] -= 1
    trees = determinant([row[1:] for row in laplacian[1:]])
    answer = rmtaudit.logdet(DATA / "graph.csv", laplacian="combinatorial", pseudo=True, threads=1)
    truth = math.log(size * trees.numerator)
    assert trees.denominator == 1
    assert answer.margin is not None
    assert answer.margin.low <= truth <= answer.margin.high
    assert answer.margin.half_width < 1e-11


def determinant(rows: list[list[Fraction]]) -> Fraction:
    """Return the determinant by elimination; every pivot of a grounded Laplacian is positive."""
    product = Fraction(1)
    while rows:
        pivot, *rest = rows
        product *= pivot[0]
        rows = [
            [value - row[0] / pivot[0] * above for value, above in zip(row[1:], pivot[1:], strict=True)]
            for row in rest
        ]
    return product


def test_a_table_of_minors_predicts_what_it_holds() -> None:
    settings = LogdetSettings(size=512, up_to=256)
    answer = answer_request(str(DATA / "minors.csv"), SourceOptions(), settings, series=True, select="")
    with (DATA / "minors.csv").open(newline="") as file:
        truth = next(float(row["logdet"]) for row in csv.DictReader(file) if row["n"] == "512")
    assert answer.margin is not None
    assert answer.margin.low < truth < answer.margin.high
    assert answer.evidence["held_out"]["inside"]


def test_a_sample_has_the_exponent_of_its_law() -> None:
    """The fit is Hill's estimate at its own start of the tail, and near the exponent that was drawn from."""
    sample = np.sort(np.loadtxt(DATA / "sample.csv"))
    law = rmtaudit.tails(DATA / "sample.csv").to_dict()["upper"]
    tail = sample[sample >= law["xmin"]["value"]]
    assert law["alpha"]["value"] == pytest.approx(1 + len(tail) / np.log(tail / tail[0]).sum(), rel=1e-9)
    assert abs(law["alpha"]["value"] - 2.5) < 4 * law["alpha"]["se"]


def test_the_spectra_of_blocks_have_their_own_moments() -> None:
    """64 rows do not determine a matrix twice as large; what is said of the blocks themselves is exact."""
    spectra = np.load(DATA / "spectra.npy")
    document = rmtaudit.density(DATA / "spectra.npy", holds="spectra", size=128, replicas=0).document
    assert document["verdict"]["word"] == "refused"
    assert document["prediction"] is None
    block = document["block"]
    assert block["mean"] == pytest.approx(spectra.mean())
    assert block["standard_deviation"] == pytest.approx(spectra.std())
    assert block["log_det"] == pytest.approx(np.log(spectra).mean())
    assert block["upper_edge"] == pytest.approx(spectra.max())
