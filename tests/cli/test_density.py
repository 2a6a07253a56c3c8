"""``rmtaudit density``: the verdict, the exit codes, and what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmtaudit.cli import cli
from rmtaudit.cli.density_table import draw_density
from rmtaudit.cli.errors import run
from rmtaudit.cli.table import drawn_text


@pytest.fixture(scope="module")
def noise() -> torch.Tensor:
    return torch.randn(128, 384, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 384**0.5


@pytest.fixture
def eigenvalues(noise: torch.Tensor, tmp_path: Path) -> Path:
    path = tmp_path / "values.npy"
    np.save(path, torch.linalg.eigvalsh(noise @ noise.T).numpy())
    return path


@pytest.fixture
def decades(tmp_path: Path) -> Path:
    """A spectrum that no decompressible law has: two needles, far apart."""
    path = tmp_path / "decades.npy"
    np.save(path, np.concatenate([np.linspace(1, 1.01, 64), np.linspace(9, 9.01, 64)]))
    return path


def test_everything_is_written(
    eigenvalues: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    files = {name: tmp_path / name for name in ("out.json", "q.npy", "p.png")}
    asked = [
        *(
            "density",
            str(eigenvalues),
            "--factor",
            "2",
            "--replicas",
            "2",
            "--assume-free",
            "--assume-smooth",
        ),
        *("-o", str(files["out.json"]), "--quantiles", str(files["q.npy"]), "--plot", str(files["p.png"])),
        *("--against", str(eigenvalues)),
    ]
    assert run(cli, asked) == 0
    shown = capsys.readouterr()
    assert not shown.err
    assert max(map(len, shown.out.splitlines())) <= 80
    lines = shown.out.splitlines()
    assert lines[2].startswith("determined if free")
    assert "eigenvalues alone cannot tell whether the matrix is free" in " ".join(shown.out.split())
    assert "quantile 50%" in shown.out
    found = json.loads(files["out.json"].read_text())
    assert found["target"] == {"size": 256, "factor": 2.0}
    form = found["tests"]["form"]
    assert (form["name"], form["numbers"]) == ("Marchenko-Pastur", 1)
    assert form["p_value"] >= 0.05
    assert "a Marchenko-Pastur law explains the block" in " ".join(shown.out.split())
    assert found["tool"]["options"]["factor"] == 2.0
    predicted = np.load(files["q.npy"])
    assert len(predicted) == 256 - len(found["spikes"])
    assert bool((np.diff(predicted) >= 0).all())
    assert files["p.png"].read_bytes().startswith(b"\x89PNG")
    # at 160 columns all the simple laws, at 80 the best one, and nothing is cut
    monkeypatch.setenv("COLUMNS", "160")
    wide = drawn_text(lambda console: draw_density(console, found))
    assert all(f"{order} cum." in wide for order in found["baselines"])
    assert shown.out.count(" cum.") == 1


def test_nothing_is_predicted_where_it_cannot_be(
    decades: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quantiles, plot = tmp_path / "q.npy", tmp_path / "p.svg"
    asked = ["density", str(decades), "--size", "512", "--replicas", "0", "--quantiles", str(quantiles)]
    assert run(cli, [*asked, "--plot", str(plot), "--format", "json"]) == 3
    shown = capsys.readouterr()
    assert "not written: refused" in shown.err
    assert not quantiles.exists()
    assert plot.read_text().startswith("<svg")
    found: dict[str, Any] = json.loads(shown.out)
    assert found["verdict"]["word"] == "refused"
    assert found["verdict"]["reason"]
    assert found["prediction"] is None
    assert found["baselines"] == {}
    assert found["tests"]["fit"]["chi_square_per_datum"] > 2
    table = drawn_text(lambda console: draw_density(console, found))
    assert "Nothing is predicted" in table
    assert "predicted  " not in table


def test_a_layer_of_a_checkpoint(
    noise: torch.Tensor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    save_file({"fc.weight": noise.float(), "other.weight": noise.float()[:, :100].contiguous()}, path)
    asked = ["density", f"{path}::fc.weight", "--factor", "2", "--replicas", "2", "--format", "json"]
    assert run(cli, asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["subject"]["name"] == "WWᵀ of 'fc.weight'"
    assert found["subject"]["dimension"] == 384
    assert found["verdict"]["route"] == "growth by rows of the same kind"
    # Marchenko and Pastur at the ratio 256/384
    assert found["prediction"]["functionals"]["standard_deviation"]["value"] == pytest.approx(
        (2 / 3) ** 0.5, abs=0.02
    )
    assert run(cli, ["density", str(path), "--factor", "2"]) == 2
    assert "RA-MS-034" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--factor", "2", "--plot", "x.pdf"], "RA-US-506"),
        (["--factor", "0.5"], "RA-US-503"),
        (["--factor", "nan"], "RA-US-501"),
        ([], "RA-US-501"),
        (["--factor", "2", "--replicas", "1"], "RA-US-502"),
        (["--factor", "2", "--ridge", "-1"], "RA-US-505"),
        (["--factor", "2", "--block-size", "3"], "RA-US-504"),
    ],
)
def test_wrong_calls_have_codes(
    eigenvalues: Path, more: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cli, ["density", str(eigenvalues), *more]) == 2
    assert code in capsys.readouterr().err


def test_an_input_is_not_written_over(eigenvalues: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = eigenvalues.read_bytes()
    asked = ["density", str(eigenvalues), "--factor", "2", "--quantiles", str(eigenvalues)]
    assert run(cli, asked) == 2
    assert "RA-OU-002" in capsys.readouterr().err
    assert eigenvalues.read_bytes() == before
