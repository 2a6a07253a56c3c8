"""Extrapolations of matrices whose points come in an order that means something are refused."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import rmtaudit
from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.matrices.sources import MaternMatrix

logdet = partial(rmtaudit.logdet, threads=1)


@pytest.fixture(scope="module")
def matrix() -> torch.Tensor:
    """Return a Matérn covariance of 300 points sorted by a coordinate."""
    points = torch.rand(300, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    return MaternMatrix(points[points[:, 0].argsort()], nu=1.5, length=0.1).dense()


def test_sorted_points_are_refused_and_shuffled_ones_answered(matrix: torch.Tensor) -> None:
    refused = logdet(matrix, size=280, up_to=150)
    assert refused.status == "refused"
    assert refused.method == "flodance"
    assert "random order" in refused.reason
    assert refused.evidence["extrapolation"] == "ORDER"
    assert refused.evidence["order"]["p_value"] < 0.01
    assert "rows_factored" not in refused.work  # it is tested before anything is factored
    shuffle = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    answered = logdet(matrix[shuffle][:, shuffle], size=280, up_to=150)
    assert answered.status == "ok", answered.reason
    assert answered.evidence["order"]["p_value"] >= 0.01
    assert "ORDER_UNCHECKED" not in answered.evidence["flags"]
    # the same seed gives the same bytes
    again = logdet(matrix[shuffle][:, shuffle], size=280, up_to=150)
    assert again.to_dict()["evidence"] == answered.to_dict()["evidence"]


def test_the_command_says_so(
    matrix: torch.Tensor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sorted.npy"
    np.save(path, matrix.numpy())
    call = ["logdet", str(path), "--size", "280", "--up-to", "150", "--threads", "1", "-q"]
    assert run(cli, call) == 3
    assert "order of points" in capsys.readouterr().out
    assert run(cli, [*call, "--format", "json"]) == 3
    assert json.loads(capsys.readouterr().out)["evidence"]["extrapolation"] == "ORDER"
