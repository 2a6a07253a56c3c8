"""``rmtaudit forecast ridge``: its answers, what is printed and written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rmtaudit
from rmtaudit.cli import cli
from rmtaudit.cli.errors import run

Arrays = dict[str, np.ndarray[Any, Any]]


def samples(count: int = 160, tested: int = 100, features: int = 10, noise: float = 0.0) -> Arrays:
    """Return a target that is no linear function of the inputs."""
    random = np.random.default_rng(0)
    x = random.normal(size=(count + tested, features))
    y = np.abs(x[:, 0]) + x[:, 1] + noise * random.normal(size=count + tested)
    return {"x": x[:count], "y": y[:count], "x_test": x[count:], "y_test": y[count:]}


def save(path: Path, arrays: Arrays) -> None:
    np.savez(path, allow_pickle=False, **arrays)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ridge") / "data.npz"
    save(path, samples())
    return path


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(cli, ["forecast", "ridge", *arguments, "--format", "json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_the_document(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = document(capsys, "--data", str(file), "--draws", "6", "--points", "5")
    assert answer["schema"]["name"] == "rmtaudit.forecast.ridge"
    subject, best = answer["subject"], answer["best"]
    assert (subject["samples"], subject["tested"], subject["features"]) == (160, 100, 10)
    assert not subject["held_out"]
    assert best["test"]["value"] == min(row["tuned"]["test"]["value"] for row in answer["width"])
    assert answer["network"]["width"] == best["width"]
    assert answer["network"]["test"] == best["test"]
    for row in answer["width"]:
        assert row["tuned"]["test"]["value"] <= row["test"]["value"] * (1 + 1e-9)
        low, high = row["test"]["ci"]
        assert low < row["test"]["value"] < high
    assert [row["samples"] for row in answer["samples"]] == [20, 40, 80, 160]
    errors = [row["test"]["value"] for row in answer["samples"]]
    assert errors == sorted(errors, reverse=True)
    assert answer["answers"]["data"]["verdict"] == "helps"
    assert answer["answers"]["data"]["gain"]["value"] == pytest.approx(errors[2] - errors[3])
    assert answer["answers"]["data"]["same_factor"] == pytest.approx(errors[3] ** 2 / errors[2])
    assert answer["answers"]["data"]["hindcast"]["predicted"] == pytest.approx(errors[2] ** 2 / errors[1])
    assert answer["check"]["verdict"] == "agrees"
    assert document(capsys, "--data", str(file), "--draws", "6", "--points", "5") == answer


def test_double_descent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "noisy.npz"
    save(path, samples(noise=1.0))
    answer = document(
        capsys, "--data", str(path), "--width", "160", "--ridge", "1e-5", "--draws", "0", "--points", "5"
    )
    peak = answer["peak"]
    assert peak["status"] == "ok"
    assert peak["width"] == 160
    at_peak = next(row for row in answer["width"] if row["width"] == 160)
    assert at_peak["test"]["value"] == pytest.approx(peak["test"])
    # at the peak, with a fixed small ridge, 160 units and half the samples do better than all of them
    assert answer["answers"]["data"]["verdict"] == "hurts"
    assert answer["answers"]["data"]["same_factor"] is None
    assert answer["answers"]["width"]["verdict"] == "helps"
    assert answer["check"]["verdict"] == "not checked"
    tuned = document(capsys, "--data", str(path), "--width", "160", "--draws", "0", "--points", "2")
    assert tuned["network"]["test"]["value"] < peak["test"] / 2
    assert tuned["answers"]["data"]["verdict"] != "hurts"


def test_a_target_that_is_noise_gains_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    arrays = {"x": random.normal(size=(400, 5)), "y": random.normal(size=400)}
    path = tmp_path / "noise.npz"
    save(path, arrays)
    answer = document(capsys, "--data", str(path), "--draws", "0", "--width", "100", "--points", "3")
    assert answer["subject"]["held_out"]
    assert (answer["subject"]["samples"], answer["subject"]["tested"]) == (300, 100)
    assert answer["answers"]["data"]["verdict"] == "no difference seen"
    assert answer["network"]["test"]["value"] == pytest.approx(answer["subject"]["constant_error"], rel=0.1)
    assert answer["best"]["at_edge"] or answer["best"]["ridge"] > 0.1


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_its_width(
    file: Path, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(cli, ["forecast", "ridge", "--data", str(file), "--points", "4", "--draws", "2"]) == 0
    shown = capsys.readouterr()
    assert not shown.err
    assert max(map(len, shown.out.splitlines())) <= width
    assert "…" not in shown.out
    text = " ".join(shown.out.split())
    assert "more data? helps: the test error falls by" in text
    assert "theory and trained networks agree" in text


def test_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(2)
    labels = random.integers(0, 3, size=300)
    x = random.normal(size=(300, 6)) + 3 * np.eye(6)[labels]
    path = tmp_path / "classes.npz"
    np.savez(path, x=x.reshape(300, 2, 3).astype(np.float32), y=labels)
    answer = document(capsys, "--data", str(path), "--labels", "--draws", "0", "--points", "3")
    assert (answer["subject"]["classes"], answer["subject"]["outputs"]) == (3, 3)
    assert answer["subject"]["constant_error"] == pytest.approx(2 / 9, abs=0.02)
    assert answer["best"]["test"]["value"] < 0.07
    two = rmtaudit.forecast_ridge(x, labels == 0, labels=True, draws=0, points=3)
    assert (two["subject"]["classes"], two["subject"]["outputs"]) == (2, 1)
    assert two["subject"]["constant_error"] == pytest.approx(8 / 9, abs=0.2)


def test_the_scale_of_the_inputs_does_not_matter_unless_raw() -> None:
    arrays = samples()
    same, other = (
        rmtaudit.forecast_ridge(arrays["x"] * factor + shift, arrays["y"], draws=0, points=3)["best"]
        for factor, shift in ((1.0, 0.0), (1e3, 50.0))
    )
    assert same["test"]["value"] == pytest.approx(other["test"]["value"], rel=1e-6)
    raw = rmtaudit.forecast_ridge(arrays["x"] * 1e3, arrays["y"], draws=0, points=3, raw=True)["best"]
    assert raw["test"]["value"] != pytest.approx(other["test"]["value"], rel=1e-3)


def test_a_plot(file: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for ending in ("png", "svg"):
        plot = tmp_path / f"curves.{ending}"
        arguments = ["--data", str(file), "--points", "3", "--draws", "2", "--plot", str(plot)]
        assert run(cli, ["forecast", "ridge", *arguments, "-q", "-o", str(tmp_path / "curves.json")]) == 0
        assert plot.stat().st_size > 5000
    assert run(cli, ["forecast", "ridge", "--data", str(file), "--plot", str(tmp_path / "x.pdf")]) == 2


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"y": None}, "RA-SA-017"),
        ({"y_test": None}, "RA-SA-017"),
        ({"y": np.ones((159, 1))}, "RA-SA-018"),
        ({"x": np.ones(160)}, "RA-SA-018"),
        ({"x_test": np.ones((100, 3))}, "RA-SA-018"),
        ({"x": np.ones((160, 10))}, "RA-SA-019"),
        ({"y": np.ones(160)}, "RA-SA-019"),
        ({"x": np.full((160, 10), np.nan)}, "RA-SA-008"),
        ({"y": np.full(160, 1j)}, "RA-SA-005"),
        ({"y": np.array(["a"] * 160)}, "RA-SA-005"),
        ({"x": np.ones((20, 10)), "y": np.arange(20)}, "RA-SA-019"),
    ],
)
def test_data_that_are_refused(
    changed: dict[str, Any], code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = {name: array for name, array in {**samples(), **changed}.items() if array is not None}
    path = tmp_path / "data.npz"
    save(path, arrays)
    assert run(cli, ["forecast", "ridge", "--data", str(path)]) == 2
    assert code in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--activation", "hardtanh"], "RA-US-407"),
        (["--draws", "1"], "RA-US-407"),
        (["--ridge", "0"], "RA-US-001"),
        (["--ridge", "inf"], "RA-US-407"),
    ],
)
def test_settings_that_are_refused(
    arguments: list[str], code: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cli, ["forecast", "ridge", "--data", str(file), *arguments]) == 2
    assert code in capsys.readouterr().err


def test_a_file_of_another_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "data.csv"
    path.write_text("1\n")
    assert run(cli, ["forecast", "ridge", "--data", str(path)]) == 2
    assert "RA-SA-017" in capsys.readouterr().err


def test_forecast_of_a_spectrum_is_still_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "values.csv"
    path.write_text("1\n2\n3\n")
    arguments = ["forecast", str(path), "--matrix", "kernel", "--bootstrap", "0", "--format", "json"]
    assert run(cli, arguments) == 0
    assert json.loads(capsys.readouterr().out)["schema"]["name"] == "rmtaudit.forecast"
