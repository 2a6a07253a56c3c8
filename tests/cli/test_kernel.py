"""``rmtaudit kernel``: a kernel on disk from the command line, and what reads it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run

zarr: Any = pytest.importorskip("zarr")

NETS = """
import time
import torch
from torch import nn

class Slow(nn.Module):
    def forward(self, x):
        time.sleep(0.01)
        return x

def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 3))

def cnn():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(128, 10),
    )

class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.places = nn.Embedding(11, 12, padding_idx=0), nn.Embedding(7, 12)
        layer = nn.TransformerEncoderLayer(12, 2, 24, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(12, 11, bias=False)

    def forward(self, x):
        return self.head(self.body(self.embed(x) + self.places(torch.arange(x.shape[1])[None])).mean(1))

def language():
    torch.manual_seed(0)
    return Language()

def slow():
    return nn.Sequential(Slow(), cnn())
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    np.savez(tmp_path / "digits.npz", inputs=digits.images[:, None] / 16, labels=digits.target)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments(kind: str, net: str, *more: str) -> list[str]:
    named = ["--data", "digits.npz", "--out", "K.zarr", "--allow-code", "--threads", "1"]
    return ["kernel", kind, f"nets.py:{net}", *named, *more]


def document(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert run(cli, [*words, "--format", "json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def module_of(name: str) -> torch.nn.Module:
    scope: dict[str, Any] = {}
    exec(NETS, scope)
    module: torch.nn.Module = scope[name]()
    return module.double().eval()


def direct(module: torch.nn.Module, count: int, name: str = "digits.npz") -> torch.Tensor:
    values = torch.from_numpy(np.load(name)["inputs"][:count])
    rows = []
    for sample in values:
        with sdpa_kernel(SDPBackend.MATH):
            outputs = module(sample[None])[0]
        for output in outputs:
            gradients = torch.autograd.grad(output, list(module.parameters()), retain_graph=True)
            rows.append(torch.cat([each.flatten() for each in gradients]))
    whole = torch.stack(rows)
    return whole @ whole.T


@pytest.mark.usefixtures("folder")
def test_a_trained_shape_of_network_and_the_commands_that_read_its_kernel(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = document(capsys, *arguments("ntk", "cnn", "--limit", "12", "--block", "5"))
    assert result["result"]["shape"] == [120, 120]
    assert result["result"]["blocks"] == 6
    assert "float64" in result["result"]["arithmetic"]
    true = direct(module_of("cnn"), 12)
    stored = torch.from_numpy(zarr.open_array("K.zarr", mode="r")[:])
    assert float((stored - true).abs().max() / true.abs().max()) < 1e-10
    expected = float(torch.linalg.slogdet(true)[1])
    exact = document(capsys, "logdet", "K.zarr", "--threads", "1")
    assert exact["result"]["logdet"] == pytest.approx(expected, rel=1e-9)
    lanczos = document(capsys, "logdet", "K.zarr", "--threads", "1", "--method", "slq")
    assert lanczos["result"]["logdet"] == pytest.approx(expected, rel=0.2)
    assert run(cli, ["density", "K.zarr", "--symmetric", "--format", "json"]) in (0, 3)
    np.save("eigenvalues.npy", torch.linalg.eigvalsh(stored).numpy())
    capsys.readouterr()
    assert run(cli, ["tails", "eigenvalues.npy", "--format", "json"]) == 0


@pytest.mark.usefixtures("folder")
def test_a_two_layer_transformer_and_the_commands_that_read_its_kernel(
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = np.random.default_rng(0).integers(0, 11, (40, 7))
    np.savez("words.npz", inputs=values)
    words = ["kernel", "ntk", "nets.py:language", "--data", "words.npz", "--out", "K.zarr", "--allow-code"]
    result = document(capsys, *words, "--threads", "1", "--limit", "20", "--block", "7")
    assert result["result"]["shape"] == [220, 220]
    true = direct(module_of("language"), 20, "words.npz")
    stored = torch.from_numpy(zarr.open_array("K.zarr", mode="r")[:])
    assert float((stored - true).abs().max() / true.abs().max()) < 1e-10
    expected = float(torch.linalg.slogdet(true)[1])
    read = ["logdet", "K.zarr", "--symmetric", "--threads", "1"]
    exact = document(capsys, *read)["result"]
    assert exact["logdet"] == pytest.approx(expected, rel=1e-9)
    lower = str(0.99 * float(torch.linalg.eigvalsh(true)[0]))
    lanczos = document(capsys, *read, "--method", "slq", "--smallest", lower)["result"]
    assert lanczos["margin"]["low"] <= expected <= lanczos["margin"]["high"]
    grown = document(
        capsys, *read, "--method", "flodance", "--outputs", "11", "--size", "20", "--up-to", "16",
        "--assume-random-order",
    )["result"]  # fmt: skip
    assert grown["margin"]["low"] <= expected <= grown["margin"]["high"]
    density = document(capsys, "density", "K.zarr", "--symmetric")
    assert density["verdict"]["word"] == "exact"
    log = density["prediction"]["functionals"]["log_det"]["value"]
    assert log * 220 == pytest.approx(expected, rel=1e-9)


@pytest.mark.usefixtures("folder")
def test_the_table_says_what_was_formed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, arguments("ntk", "small", "--limit", "9", "--outputs", "sum")) == 0
    out = capsys.readouterr().out
    assert re.search(r"neural tangent kernel +9 x 9", out)
    assert "the sum of 3 outputs divided by the root of their number" in out
    assert "100% by factors" in out
    assert run(cli, [*arguments("ck", "small", "--limit", "9"), "--out", "C.zarr"]) == 0
    assert "the 12 input features of '3'" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_a_kernel_of_more_rows_than_parameters_is_called_singular(capsys: pytest.CaptureFixture[str]) -> None:
    result = document(capsys, *arguments("ck", "small", "--limit", "20"))
    assert [each["code"] for each in result["warnings"]] == ["RA-KN-102"]


@pytest.mark.usefixtures("folder")
def test_the_log_determinant_as_the_kernel_is_formed(capsys: pytest.CaptureFixture[str]) -> None:
    whole = document(
        capsys, *arguments("ntk", "small", "--limit", "80", "--outputs", "0", "--pipe", "logdet")
    )
    exact = document(capsys, "logdet", "K.zarr", "--threads", "1")
    assert whole["logdet"]["result"]["logdet"] == pytest.approx(exact["result"]["logdet"], rel=1e-12)
    assert whole["result"]["order"] == "shuffled with seed 0"
    assert whole["result"]["samples"] == 80


@pytest.mark.usefixtures("folder")
def test_forming_stops_when_the_interval_is_tight_enough(capsys: pytest.CaptureFixture[str]) -> None:
    words = arguments("ntk", "cnn", "--limit", "600", "--outputs", "sum", "--block", "40")
    early = document(capsys, *words, "--pipe", "logdet", "--tol", "1.0")
    formed = early["result"]["samples"]
    assert formed < 600
    assert early["logdet"]["result"]["margin"]["kind"] == "prediction interval"
    stored = zarr.open_array("K.zarr", mode="r")
    assert stored.shape == (formed, formed)
    assert np.isfinite(stored[:]).all()
    again = document(capsys, *words, "--shuffle", "--resume")
    assert again["result"]["samples"] == 600
    assert again["run"]["blocks_resumed"] > 0
    true = document(capsys, "logdet", "K.zarr", "--threads", "1")["result"]["logdet"]
    margin = early["logdet"]["result"]["margin"]
    assert margin["low"] <= true <= margin["high"]


@pytest.mark.usefixtures("folder")
def test_a_kill_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    words = arguments("ntk", "slow", "--limit", "24", "--block", "2", "--memory", "1MB")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "rmtaudit", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    journal = Path("K.zarr/forming/journal")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (journal.exists() and journal.read_bytes().count(b"\n") >= 6):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = journal.read_bytes().count(b"\n")
    assert 6 <= kept < 78
    result = document(capsys, *words, "--resume")
    assert (result["run"]["blocks_resumed"], result["run"]["blocks_damaged"]) == (kept, 0)
    assert result["result"]["blocks"] == 78
    true = direct(module_of("slow"), 24)
    stored = torch.from_numpy(zarr.open_array("K.zarr", mode="r")[:])
    assert float((stored - true).abs().max() / true.abs().max()) < 1e-10


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--tol", "0.1"], "RA-KN-001"),
        (["--memory", "much"], "RA-KN-001"),
        (["--outputs", "x"], "RA-KN-001"),
        (["--outputs", "7"], "RA-KN-002"),
        (["--device", "tpu"], "RA-NW-002"),
        (["--state", "absent.pt"], "RA-IN-001"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_is_refused(words: list[str], code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, arguments("ntk", "small", *words)) == 2
    assert code in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_code_is_not_run_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    words = [each for each in arguments("ntk", "small") if each != "--allow-code"]
    assert run(cli, words) == 2
    assert "RA-NW-010" in capsys.readouterr().err


def test_every_code_has_its_row_on_the_page() -> None:
    root = Path(__file__).parents[2]
    sources = [*(root / "src/rmtaudit/engine/kernel").glob("*.py"), root / "src/rmtaudit/cli/kernel.py"]
    used = {code for path in sources for code in re.findall(r"RA-KN-\d{3}", path.read_text(encoding="utf-8"))}
    page = (root / "docs/errors.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (RA-KN-\d{3}) \|", page, re.MULTILINE) == sorted(used)
