"""``rmtaudit forecast``: what is printed, what is written, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.kernels.htmp.ensemble import Ensemble


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "values.npy"
    np.save(path, 7 * Ensemble(3.0, 200, 400).draw(torch.Generator().manual_seed(0)))
    return path


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert run(cli, ["forecast", *arguments, "--format", "json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("width", [80, 120, 160])
@pytest.mark.parametrize("shape", [["--matrix", "covariance"], ["--shape", "200", "400"]])
def test_the_table_fits_its_width(
    file: Path,
    width: int,
    shape: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(cli, ["forecast", str(file), *shape]) == 0
    shown = capsys.readouterr()
    assert not shown.err
    assert max(map(len, shown.out.splitlines())) <= width
    assert "…" not in shown.out
    text = " ".join(shown.out.split())
    assert "200 eigenvalues" in text
    assert "y = <w, φ>" in text
    assert "E φφᵀ = I" in text
    assert ("HTMP gamma" in text) == ("--shape" in shape)
    assert ("Only a scaling" in text) == ("--shape" not in shape)


def test_the_document(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, str(file), "--shape", "400", "200")
    law, empirical = found["htmp"], found["empirical"]
    assert isinstance(law, dict)
    assert isinstance(empirical, list)
    assert law["gamma"] == 0.5
    assert law["kappa"]["value"] == pytest.approx(3.0, abs=4 * law["kappa"]["se"])
    assert law["verdict"] == "not rejected"
    assert law["limit_exponent"] == min(2.0, law["delta"])
    assert law["paper_exponent"] == 2 + law["delta"]
    for row, fitted in zip(empirical, law["curve"], strict=True):
        assert row["mu"] == fitted["mu"]
        low, high = row["bias"]["ci"]
        assert low <= row["bias"]["value"] <= high
        assert fitted["bias"] == pytest.approx(row["bias"]["value"], rel=0.3)
    assert document(capsys, str(file), "--shape", "400", "200") == found
    without = document(capsys, str(file), "--bootstrap", "0", "--shape", "400", "200")
    assert isinstance(without["empirical"], list)
    assert without["empirical"][0]["bias"]["ci"] is None


def test_a_law_that_is_rejected_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "two.csv"
    values = [1 + 0.001 * i for i in range(100)] + [1000 + i for i in range(100)]
    path.write_text("\n".join(map(str, values)))
    law = document(capsys, str(path), "--shape", "200", "300")["htmp"]
    assert isinstance(law, dict)
    assert law["verdict"] == "rejected"
    assert run(cli, ["forecast", str(path), "--shape", "200", "300"]) == 0
    assert "The spectrum rejects HTMP" in " ".join(capsys.readouterr().out.split())


def test_zeros_count_and_leave_no_law(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "zeros.csv"
    path.write_text("0\n0\n1\n2\n3\n")
    found = document(capsys, str(path), "--shape", "5", "9")
    assert isinstance(found["subject"], dict)
    assert isinstance(found["htmp"], dict)
    assert isinstance(found["empirical"], list)
    assert found["subject"]["zeros"] == 2
    assert found["htmp"]["status"] == "failed"
    assert found["empirical"][0]["bias"]["value"] > 0.4


@pytest.mark.parametrize(
    ("content", "arguments", "exit_code", "code"),
    [
        ("0\n0\n", ["--matrix", "kernel"], 3, "RA-NA-003"),
        ("1\n-2\n", [], 2, "RA-SA-009"),
        ("1\n2\n", [], 2, "RA-US-403"),
        ("1\n2\n", ["--shape", "2", "2"], 2, "RA-US-403"),
        ("1\n2\n", ["--matrix", "kernel", "--shape", "3", "2"], 2, "RA-US-402"),
        ("0.1\n1\n2\n", ["--shape", "3", "2"], 2, "RA-US-404"),
        ("0.1\n1\n2\n", ["--shape", "2", "3"], 2, "RA-US-404"),
        ("1\n2\n", ["--matrix", "kernel", "--signal", "values.csv"], 2, "RA-US-405"),
        ("1\n2\n", ["--matrix", "covariance", "--population", "values.csv"], 2, "RA-US-405"),
        ("1\n2\n", ["--shape", "2", "3", "--population", "values.csv"], 2, "RA-US-405"),
        ("1\n2\n", ["--shape", "3", "4"], 2, "RA-US-402"),
        ("1\n2\n", ["--bootstrap", "1"], 2, "RA-US-001"),
        ("1\n2\n", ["-o", "x.csv"], 2, "RA-US-002"),
    ],
)
def test_what_is_refused(
    content: str,
    arguments: list[str],
    exit_code: int,
    code: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "values.csv"
    path.write_text(content)
    monkeypatch.chdir(tmp_path)
    assert run(cli, ["forecast", str(path), *arguments]) == exit_code
    assert code in capsys.readouterr().err


def sample(n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw features with the population 1/i; return their kernel matrix and the population."""
    population = 1 / np.arange(1.0, p + 1)
    x = np.random.default_rng(0).standard_normal((n, p)) * np.sqrt(population)
    return x @ x.T, population


@pytest.mark.parametrize(("n", "p"), [(60, 120), (120, 60)])
def test_kernel_and_covariance_forecast_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], n: int, p: int
) -> None:
    kernel, _ = sample(n, p)
    values = np.linalg.eigvalsh(kernel).clip(0)
    # the zeros of both matrices, and the scale of the sample covariance
    shared = values[n - min(n, p) :]
    np.save(tmp_path / "kernel.npy", values)
    np.save(tmp_path / "covariance.npy", np.append(np.zeros(p - len(shared)), shared / n))
    of_kernel = document(capsys, str(tmp_path / "kernel.npy"), "--shape", str(n), str(p))
    of_covariance = document(capsys, str(tmp_path / "covariance.npy"), "--shape", str(n), str(p))
    assert of_kernel["subject"]["matrix"] == "kernel"  # type: ignore[index]
    assert of_covariance["subject"]["matrix"] == "covariance"  # type: ignore[index]
    for one, other in zip(of_kernel["empirical"], of_covariance["empirical"], strict=True):  # type: ignore[call-overload]
        assert one["mu"] == pytest.approx(n * other["mu"])
        assert one["bias"]["value"] == pytest.approx(other["bias"]["value"])
        assert (one["risk"] is None) == (other["risk"] is None)
        if one["risk"] is not None:
            assert one["risk"]["value"] == pytest.approx(other["risk"]["value"])
    without = document(capsys, str(tmp_path / "kernel.npy"), "--matrix", "kernel")
    one, other = (each["empirical"][-1]["risk"] for each in (without, of_kernel))  # type: ignore[index]
    assert one["value"] == pytest.approx(other["value"])
    assert one["ci"] == pytest.approx(other["ci"])
    assert without["empirical"][-1]["bias"] is None  # type: ignore[index]


def test_a_population_that_is_not_that_of_the_sample_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel, population = sample(150, 300)
    np.save(tmp_path / "kernel.npy", np.linalg.eigvalsh(kernel).clip(0))
    np.save(tmp_path / "divided.npy", np.linalg.eigvalsh(kernel / 150).clip(0))
    np.save(tmp_path / "population.npy", population)
    np.save(tmp_path / "signal.npy", population**1.5)
    more = ["--shape", "150", "300", "--population", str(tmp_path / "population.npy")]
    found = document(capsys, str(tmp_path / "kernel.npy"), *more)
    assert found["isotropy"]["verdict"] == "contradicted"  # type: ignore[index]
    assert found["population"]["verdict"] == "consistent"  # type: ignore[index]
    assert found["population"]["trace_ratio"] == pytest.approx(1, abs=0.1)  # type: ignore[index]
    for row, other in zip(found["empirical"], found["population"]["curve"], strict=True):  # type: ignore[index, call-overload]
        if row["risk"] is not None:
            assert other["risk"] == pytest.approx(row["risk"]["value"], rel=0.1)
    wrong = document(capsys, str(tmp_path / "divided.npy"), *more)
    assert wrong["population"]["verdict"] == "contradicted"  # type: ignore[index]
    assert run(cli, ["forecast", str(tmp_path / "divided.npy"), *more]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "does not come from this population" in text
    assert "not divided by n" in text
    aligned = document(capsys, str(tmp_path / "kernel.npy"), *more, "--signal", str(tmp_path / "signal.npy"))
    assert aligned["population"]["curve"][0]["risk"] < found["population"]["curve"][0]["risk"] / 20  # type: ignore[index]


def test_a_risk_that_cannot_be_told_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).standard_normal((60, 60))
    np.save(tmp_path / "kernel.npy", np.linalg.eigvalsh(x @ x.T).clip(0))
    rows = document(capsys, str(tmp_path / "kernel.npy"), "--matrix", "kernel")["empirical"]
    assert isinstance(rows, list)
    assert rows[0]["risk"] is None
    assert rows[0]["residual"] < 20 <= rows[-1]["residual"]
    assert rows[-1]["risk"] is not None
    assert run(cli, ["forecast", str(tmp_path / "kernel.npy"), "--matrix", "kernel"]) == 0
    assert "too few to estimate the risk" in " ".join(capsys.readouterr().out.split())
