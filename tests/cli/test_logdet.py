"""``rmtaudit logdet``: what is printed, what is written, the exit codes, and what an interrupt leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.matrices.sources import MaternMatrix, Shifted
from rmtaudit.report.strict_json import parse_json

RMTAUDIT = [sys.executable, "-m", "rmtaudit"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one matrix of every kind."""
    folder = tmp_path_factory.mktemp("logdet")
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(300, 2, generator=generator, dtype=torch.float64)
    np.save(folder / "points.npy", points.numpy())
    kernel = Shifted(MaternMatrix(points, nu=0.5, length=0.1), 0.1).dense()
    np.save(folder / "kernel.npy", kernel.numpy())
    A = torch.randn(40, 40, generator=generator, dtype=torch.float64)
    np.save(folder / "general.npy", A.numpy())
    np.save(folder / "indefinite.npy", ((A + A.T) / 2).numpy())
    np.save(folder / "tall.npy", A[:, :7].numpy())
    B = A[:, :9] @ A[:, :9].T
    np.save(folder / "low_rank.npy", ((B + B.T) / 2).numpy())
    edges = [(i, (7 * i + 1) % 30) for i in range(30)] + [(40, 41)]
    (folder / "edges.csv").write_text("a,b\n" + "".join(f"{a},{b}\n" for a, b in edges))
    rows = "".join(f"{n},{-2.0 * n * np.log(n)}\n" for n in (50, 100, 200, 400, 800))
    (folder / "table.csv").write_text(f"n,logdet\n{rows}")
    return folder


COMMANDS = {
    "cholesky": (["kernel.npy"], 0),
    "on disk": (["kernel.npy", "--memory", "1700kB", "--scratch", "scratch"], 0),
    "slq": (["kernel.npy", "--method", "slq"], 0),
    "slq with a tolerance": (["kernel.npy", "--method", "slq", "--tol", "1e-9", "--memory", "30MB"], 0),
    "mixed": (["kernel.npy", "--method", "mixed"], 0),
    "lu": (["general.npy"], 0),
    "ldlt": (["indefinite.npy"], 0),
    "not definite": (["indefinite.npy", "--method", "cholesky"], 3),
    "qr": (["tall.npy", "--as", "wtw"], 0),
    "rank": (["tall.npy", "--as", "wwt"], 3),
    "pseudo by shape": (["tall.npy", "--as", "wwt", "--pseudo"], 0),
    "singular": (["low_rank.npy"], 3),
    "pseudo": (["low_rank.npy", "--pseudo"], 0),
    "unshift": (["points.npy", "--kernel", "matern", "--length", "0.1", "--shift", "1e-9", "--unshift"], 0),
    "laplacian": (["edges.csv", "--laplacian", "normalised"], 3),
    "laplacian, pseudo": (["edges.csv", "--laplacian", "combinatorial", "--pseudo"], 0),
    "laplacian, slq": (["edges.csv", "--laplacian", "normalised", "--pseudo", "--method", "slq"], 0),
    "flodance": (["kernel.npy", "--size", "450", "--up-to", "250"], 0),
    "anytime": (["kernel.npy", "--size", "300", "--tol", "9", "--scratch", "scratch"], 0),
    "series": (
        ["table.csv", "--series", "--size", "800", "--up-to", "400", "--assume-random-order"],
        0,
    ),
    "no method": (["kernel.npy", "--memory", "10kB"], 3),
    "explained": (["kernel.npy", "--explain"], 0),
    "explained, on disk": (["kernel.npy", "--explain", "--memory", "1700kB"], 0),
    "explained, no method": (["edges.csv", "--laplacian", "normalised", "--explain"], 3),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_tables_fit_and_documents_are_strict(
    name: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments, code = COMMANDS[name]
    source, *flags = arguments
    monkeypatch.chdir(tmp_path)
    call = ["logdet", str(folder / source), *flags, "--threads", "1", "-q"]
    assert run(cli, [*call, "-o", "answer.json"]) == code
    document: dict[str, Any] = parse_json((tmp_path / "answer.json").read_text())
    assert document["schema"] == {"name": "rmtaudit.logdet", "version": "1.0"}
    shown = capsys.readouterr()
    assert not shown.err
    assert not shown.out
    from rmtaudit.cli.logdet_table import draw_logdet, draw_plan
    from rmtaudit.cli.table import drawn_text

    for width in (80, 110, 160):
        monkeypatch.setenv("COLUMNS", str(width))
        drawn = drawn_text(
            lambda console: (draw_logdet if "result" in document else draw_plan)(console, document)
        )
        assert max(map(len, drawn.splitlines())) <= width
        assert "…" not in drawn
        assert "None" not in drawn
    if "result" in document:
        result = document["result"]
        assert (result["status"] == "ok") == (code == 0)
        if code == 0:
            margin = result["margin"]
            assert margin is not None or name == "series"
            assert margin is None or margin["low"] <= result["logdet"] <= margin["high"]
            assert result["per_dimension"] == pytest.approx(result["logdet"] / result["dimension"])
        else:
            assert result["logdet"] is None
            assert result["reason"]
            assert result["advice"]
    else:
        assert {each["method"] for each in document["plan"]["candidates"]} >= {"cholesky", "slq", "flodance"}
        assert sum(each["verdict"] == "taken" for each in document["plan"]["candidates"]) == (code == 0)
    assert not (tmp_path / "scratch").exists()


def test_the_numbers_are_those_of_numpy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, ["logdet", str(folder / "general.npy"), "--format", "json"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    sign, value = np.linalg.slogdet(np.load(folder / "general.npy"))
    assert result["sign"] == sign
    assert result["margin"]["low"] <= value <= result["margin"]["high"]
    assert run(cli, ["logdet", str(folder / "general.npy")]) == 0
    table = capsys.readouterr().out
    assert f"{value:.6f}" in table
    assert "rounding bound" in table


def test_minors_are_written(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "minors.npy"
    kernel = np.load(folder / "kernel.npy")
    assert run(cli, ["logdet", str(folder / "kernel.npy"), "--minors", str(target)]) == 0
    minors = np.load(target)
    assert minors.shape == (300,)
    for n in (1, 150, 300):
        assert minors[n - 1] == pytest.approx(np.linalg.slogdet(kernel[:n, :n])[1])
    assert run(cli, ["logdet", str(folder / "indefinite.npy"), "--minors", str(tmp_path / "none.npy")]) == 0
    assert "does not give leading minors" in capsys.readouterr().err
    assert not (tmp_path / "none.npy").exists()
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nowhere.npy"], "RA-IN-001"),
        (["tall.npy"], "RA-MS-004"),
        (["kernel.npy", "--memory", "lots"], "RA-LD-030"),
        (["kernel.npy", "--pseudo", "--size", "3"], "RA-LD-031"),
        (["kernel.npy", "--up-to", "3"], "RA-LD-031"),
        (["kernel.npy", "--unshift"], "RA-LD-031"),
        (["kernel.npy", "--select", "x"], "RA-LD-031"),
        (["kernel.npy", "--method", "lu", "--minors", "m.npy"], "RA-LD-031"),
        (["table.csv", "--series"], "RA-LD-031"),
        (["table.csv", "--series", "--explain", "--size", "9"], "RA-LD-031"),
        (["table.csv", "--series", "--size", "9", "--kernel", "rbf"], "RA-MS-036"),
        (["table.csv"], "RA-MS-031"),
        (["edges.csv", "--series", "--size", "9"], "RA-LD-033"),
        (["kernel.npy", "--method", "magic"], "RA-US-001"),
        (["kernel.npy", "--tol", "0"], "RA-US-001"),
        (["kernel.npy", "-o", "x.csv"], "RA-US-002"),
        (["kernel.npy", "--minors", "kernel.npy"], "RA-OU-002"),
        (["kernel.npy::K", "--format", "json", "-o", "kernel.npy"], "RA-OU-002"),
        (["kernel.npy @ general.npy", "--format", "json", "-o", "general.npy"], "RA-OU-002"),
    ],
)
def test_what_is_refused_as_it_is_written(
    arguments: list[str],
    code: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert run(cli, ["logdet", *arguments]) == 2
    shown = capsys.readouterr()
    assert code in shown.err
    assert not shown.out


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_keeps_the_tiles_and_says_how_to_go_on(sent: signal.Signals, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    n = 3000
    noise = torch.randn(n, n, generator=generator, dtype=torch.float64) / (4 * n**0.5)
    np.save(tmp_path / "matrix.npy", (noise + noise.T + 2 * torch.eye(n, dtype=torch.float64)).numpy())
    call = [*RMTAUDIT, "logdet", "matrix.npy", "--symmetric", "--memory", "3MB", "--scratch", "kept"]
    journal = tmp_path / "kept" / "journal"
    with subprocess.Popen(
        [*call, "--threads", "1"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        started = time.monotonic()
        while not (journal.exists() and journal.stat().st_size) and time.monotonic() - started < 60:
            time.sleep(0.01)
        process.send_signal(sent)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert not out
    assert "Traceback" not in err
    assert journal.stat().st_size > 0
    (hint,) = [line for line in err.splitlines() if "Run the same command with --resume" in line]
    rest = hint.partition("the same command with ")[2].removesuffix(" to continue.").split()
    assert "--memory" in rest
    if sent is signal.SIGINT:
        return
    done = subprocess.run(
        [*RMTAUDIT, "logdet", "matrix.npy", "--symmetric", *rest, "--format", "json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert document["work"]["tiles_resumed"] > 0
    truth = float(np.linalg.slogdet(np.load(tmp_path / "matrix.npy"))[1])
    margin = document["result"]["margin"]
    assert margin["low"] - 1e-9 <= truth <= margin["high"] + 1e-9
    assert not (tmp_path / "kept").exists()


def test_help_loads_no_mathematics() -> None:
    code = (
        "import sys\nfrom rmtaudit.cli import cli\nfrom rmtaudit.cli.errors import run\n"
        "run(cli, ['logdet', '--help'])\n"
        "assert not {'torch', 'numpy', 'scipy', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, stdout=subprocess.DEVNULL)


def test_an_order_that_was_not_tested_is_an_assumption(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["logdet", str(folder / "table.csv"), "--series", "--size", "800", "--up-to", "400", "-q"]
    answers = {}
    for name, more, code in (("plain", [], 3), ("granted", ["--assume-random-order"], 0)):
        assert run(cli, [*call, *more, "-o", str(tmp_path / f"{name}.json")]) == code
        answers[name] = parse_json((tmp_path / f"{name}.json").read_text())["result"]
        assert answers[name]["assumption"] == "the points come in random order"
        assert answers[name]["granted"] == (code == 0)
    assert answers["plain"]["logdet"] == answers["granted"]["logdet"]
    assert run(cli, call[:-1]) == 3
    assert "--assume-random-order" in capsys.readouterr().out
    # a size that is known assumes nothing
    assert run(cli, [*call[:3], "--size", "400", "-q", "-o", str(tmp_path / "known.json")]) == 0
    assert parse_json((tmp_path / "known.json").read_text())["result"]["assumption"] is None
