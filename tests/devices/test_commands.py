"""Commands with ``--device`` on the pretend GPU: the numbers of the CPU, and refusals where there is none."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kernel_inputs import covariance as product
from kernel_inputs import normal, spectrum, weight
from pretend_gpu import pretend_gpu

import rmtaudit
from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.engine.resources.device_names import Device
from rmtaudit.engine.resources.devices import chosen_device
from rmtaudit.engine.samples.ridge import RidgeSettings, forecast_ridge_arrays
from rmtaudit.engine.sources import SourceOptions
from rmtaudit.engine.sources.products import products_on
from rmtaudit.errors import UsageError
from rmtaudit.matrices.sources import TensorSource
from rmtaudit.matrices.sources.sparse import SparseMatrix


def covariance(size: int) -> torch.Tensor:
    """Return a covariance that is symmetric to the last bit."""
    A = product(size)
    return (A + A.T) / 2


def _logdet(method: str | None = None, **more: Any) -> Callable[[Device], Any]:
    def compute(device: Device) -> Any:
        matrix = covariance(60)
        answer = rmtaudit.logdet(matrix, method=method, device=device, **more)
        assert answer.logdet is not None, answer.reason
        assert answer.to_dict()["run"]["device"] == device
        return answer.logdet, answer.method, answer.sign

    return compute


def _tiles(device: Device) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / "factor"
        answer = rmtaudit.logdet(
            covariance(600), method="cholesky", device=device, memory=2_200_000, scratch=scratch
        )
    assert answer.work["tiles"] > 1, answer.work
    return answer.logdet, answer.work["tiles"]


def _gram(device: Device) -> Any:
    return rmtaudit.logdet(normal(60, 30), view="wtw", method="slq", probes=4, device=device).logdet


def _extrapolated(device: Device) -> Any:
    answer = rmtaudit.logdet(covariance(120), size=200, device=device)
    assert answer.method == "flodance"
    return answer.logdet


def _density(**more: Any) -> Callable[[Device], Any]:
    def compute(device: Device) -> Any:
        return rmtaudit.density(covariance(60), device=device, **more).quantiles()

    return compute


def _density_of_a_layer(device: Device) -> Any:
    options = SourceOptions(view="wtw")
    return rmtaudit.density(weight(), options=options, method="products", steps=8, device=device).quantiles()


def _forecast_ridge(device: Device) -> Any:
    x = normal(96, 6)
    arrays = {"x": x, "y": torch.relu(x[:, 0]) + 0.1 * normal(96, seed=1)}
    settings = RidgeSettings(points=3, draws=2, device=device)
    document = forecast_ridge_arrays(arrays, settings)
    return document["best"], document["samples"], document["answers"], document["check"]


def _compare(device: Device) -> Any:
    base = {"layer.weight": weight()}
    other = {"layer.weight": weight() + 0.02 * (normal(96, 2, seed=6) @ normal(2, 64, seed=7)).float()}
    row = rmtaudit.compare(base, other, device=device).layers[0]
    assert row.diagnosis is not None
    assert row.change is not None
    assert row.distortion is not None
    metrics = {name: each.candidate.value for name, each in row.metrics.items()}
    change = (row.change.relative_frobenius, row.change.relative_spectral)
    return row.diagnosis.kind, change, row.distortion.value, metrics


COMMANDS: dict[str, Callable[[Device], Any]] = {
    "logdet by Cholesky": _logdet("cholesky"),
    "logdet by tiles on disk": _tiles,
    "logdet by LU": _logdet("lu"),
    "logdet by eigenvalues": _logdet("eigenvalues", pseudo=True),
    "logdet in mixed precision": _logdet("mixed", probes=4),
    "logdet by quadrature": _logdet("slq", probes=4),
    "logdet of a Gram matrix": _gram,
    "logdet beyond the matrix": _extrapolated,
    "density by eigenvalues": _density(method="eigenvalues"),
    "density by products": _density(method="products", steps=8, probes=4),
    "density of a layer": _density_of_a_layer,
    "compare": _compare,
    "forecast ridge": _forecast_ridge,
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_gives_the_numbers_of_the_cpu(name: str) -> None:
    expected = COMMANDS[name]("cpu")
    with pretend_gpu() as traffic:
        computed = COMMANDS[name]("cuda")
    numbers, words = _leaves(computed, (int, float)), _leaves(computed, str)
    assert words == _leaves(expected, str)
    assert numbers == pytest.approx(_leaves(expected, (int, float)), rel=1e-6, abs=1e-9)
    used = traffic.operators > 0
    assert used is (name != "logdet by LU"), "pivoted factors are of the CPU, and nothing else is"


@pytest.mark.slow
def test_a_prediction_from_eigenvalues_gives_the_numbers_of_the_cpu() -> None:
    values = spectrum(120)

    def predicted(device: Device) -> Any:
        result = rmtaudit.density(values, factor=1.5, replicas=0, assume_free=True, device=device)
        return result.document["verdict"]["word"], result.quantiles()

    expected = predicted("cpu")
    with pretend_gpu():
        computed = predicted("cuda")
    assert computed[0] == expected[0]
    assert computed[1].numpy() == pytest.approx(expected[1].numpy(), rel=1e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("command", ["logdet", "density", "compare", "scan"])
def test_a_device_that_is_not_there_is_refused(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "matrix.npy", covariance(20).numpy())
    torch.save({"layer.weight": weight()}, tmp_path / "model.pt")
    model = str(tmp_path / "model.pt")
    arguments = {
        "logdet": [str(tmp_path / "matrix.npy")],
        "density": [str(tmp_path / "matrix.npy")],
        "compare": [model, model],
        "scan": [model],
    }[command]
    assert run(cli, [command, *arguments, "--device", "cuda"]) == 2
    assert "This machine has no CUDA device" in capsys.readouterr().err


def test_a_claim_does_not_go_with_a_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"layer.weight": weight()}, tmp_path / "model.pt")
    model = str(tmp_path / "model.pt")
    line = ["compare", model, model, "--claim", "bf16 of BASE", "--device", "cuda"]
    assert run(cli, line) == 2
    assert "A claim is checked on the CPU" in capsys.readouterr().err


def test_auto_takes_a_gpu_where_there_is_one() -> None:
    with pretend_gpu():
        assert chosen_device("auto").type == "cuda"
        assert chosen_device("cpu").type == "cpu"


def test_a_sparse_matrix_and_a_large_one_stay_on_the_cpu() -> None:
    import scipy.sparse

    with pretend_gpu():
        device = chosen_device("cuda")
        dense = TensorSource(covariance(20), "dense")
        sparse = SparseMatrix(scipy.sparse.eye_array(20, format="csr"), "sparse")
        assert products_on(dense, device, 8 * 400).device.type == "cuda"
        assert products_on(dense, device, 8 * 400 - 1).device.type == "cpu"
        assert products_on(sparse, device, 1 << 30).device.type == "cpu"


def test_a_matrix_that_does_not_fit_the_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    source = TensorSource(covariance(20), "dense")
    with pretend_gpu():
        device = chosen_device("cuda")
        monkeypatch.setattr(torch, "empty", full)
        with pytest.raises(UsageError, match="CUDA device") as refused:
            products_on(source, device, 1 << 30)
    assert refused.value.code == "RA-US-203"


def _leaves(value: Any, kind: Any) -> list[Any]:
    """Return what is of a kind among the parts of a value."""
    if isinstance(value, torch.Tensor):
        return _leaves(value.tolist(), kind)
    if isinstance(value, dict):
        return [each for part in value.values() for each in _leaves(part, kind)]
    if isinstance(value, tuple | list):
        return [each for part in value for each in _leaves(part, kind)]
    return [value] if isinstance(value, kind) else []
