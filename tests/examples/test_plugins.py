"""The example plugins: their own tests, and what becomes of them on a command line."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import rmtaudit
from rmtaudit import entry_points
from rmtaudit.cli import cli
from rmtaudit.cli.errors import COULD_NOT_JUDGE, FINE, run
from rmtaudit.errors import InputError, UsageError

FOLDER = Path(__file__).parents[2] / "examples" / "plugins"
TRUTH = 1499 * math.log(-math.expm1(-2 / 9))
"""Log-determinant of ``exp(-|i - j| / 9)`` of order 1500: its inverse is tridiagonal."""


def load(folder: str, name: str) -> ModuleType:
    """Import a module of an example under its own name, as an installed one has."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


load("analyzer", "top_share")
load("reader", "npy_reader")
load("source", "toeplitz_source")
TestTopShare = load("analyzer", "test_top_share").TestTopShare
TestFolder = load("reader", "test_npy_reader").TestFolder
TestFile = load("reader", "test_npy_reader").TestFile
TestToeplitz = load("source", "test_toeplitz_source").TestToeplitz


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that installs entry points: a group, and names with their values."""
    before = entry_points._installed
    others: list[EntryPoint] = []

    def found(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
        return (*before(group, path), *(each for each in others if each.group == group))

    def install(group: str, **values: str) -> None:
        others.extend(EntryPoint(name, value, f"rmtaudit.{group}") for name, value in values.items())

    monkeypatch.setattr(entry_points, "_installed", found)
    return install


def weights(folder: Path) -> Path:
    """Write two layers as `.npy` files: one of noise, one in which one direction holds all the energy."""
    folder.mkdir()
    noise = torch.randn(64, 48, generator=torch.Generator().manual_seed(0))
    dominated = 0.01 * noise + 10 * torch.outer(torch.ones(64), torch.ones(48))
    np.save(folder / "noise.weight.npy", noise.numpy())
    np.save(folder / "dominated.weight.npy", dominated.numpy())
    return folder


def test_a_column_and_a_finding_of_a_plugin(
    tmp_path: Path, installed: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    installed("analyzers", top_share="top_share:TopShare")
    installed("readers", npy="npy_reader:NpyReader")
    folder = weights(tmp_path / "model")
    flags = ["--analyzers", "top_share", "--columns", "top_share"]
    assert run(cli, ["scan", str(folder), *flags]) == FINE
    shown = capsys.readouterr().out
    assert "top_share" in shown
    assert "of the energy" in " ".join(shown.split())
    assert run(cli, ["scan", str(folder), *flags, "--format", "json"]) == FINE
    report = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in report["layers"]}
    assert rows["dominated.weight"]["metrics"]["top_share"]["value"] > 0.99
    (finding,) = rows["dominated.weight"]["findings"]
    assert (finding["code"], finding["severity"]) == ("TS-001", "warning")
    assert rows["noise.weight"]["findings"] == []
    assert report["findings"][0]["code"] == "TS-001"


def test_a_finding_of_a_plugin_is_explained(
    installed: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cli, ["explain", "TS-001"]) == COULD_NOT_JUDGE
    capsys.readouterr()
    installed("analyzers", top_share="top_share:TopShare", broken="no.such.module:Analyzer")
    assert run(cli, ["explain", "ts-001"]) == FINE
    shown = capsys.readouterr()
    assert shown.out.startswith("TS-001: few directions hold the energy\n")
    assert "Calibration: Not calibrated: findings of this kind are warnings at most." in shown.out
    assert "'broken' of unknown cannot be imported" in shown.err
    assert run(cli, ["explain"]) == FINE
    assert "TS-001  few directions hold the energy" in capsys.readouterr().out
    assert run(cli, ["explain", "RA-FO-001"]) == FINE
    assert capsys.readouterr().err == ""  # nothing of others is imported for our own codes


def test_a_reader_opens_its_file_alone_and_in_a_folder(
    tmp_path: Path, installed: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = weights(tmp_path / "model")
    alone = folder / "noise.weight.npy"
    assert run(cli, ["scan", str(folder)]) == COULD_NOT_JUDGE
    with rmtaudit.open_checkpoint(alone) as checkpoint:
        assert type(checkpoint).__module__.startswith("rmtaudit.")  # ours, until a plugin wants it
    installed("readers", npy="npy_reader:NpyReader")
    for path, count in ((folder, 2), (alone, 1)):
        with rmtaudit.open_checkpoint(path) as checkpoint:
            assert (checkpoint.format, len(checkpoint.tensors)) == ("npy", count)
            assert type(checkpoint).__name__ == "NpyCheckpoint"
        assert run(cli, ["scan", str(path), "--analyzers", "scale"]) == FINE
    capsys.readouterr()
    assert run(cli, ["logdet", f"{folder}::noise.weight", "--format", "json"]) == FINE
    assert json.loads(capsys.readouterr().out)["subject"]["name"].endswith("'noise.weight'")


def test_a_source_has_a_log_determinant(
    installed: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cli, ["logdet", "toeplitz:1500"]) == COULD_NOT_JUDGE
    installed("sources", toeplitz="toeplitz_source:ToeplitzOpener")
    capsys.readouterr()
    assert run(cli, ["logdet", "toeplitz:1500:9", "--threads", "1", "--format", "json"]) == FINE
    document = json.loads(capsys.readouterr().out)
    margin, subject = document["result"]["margin"], document["subject"]
    assert margin["low"] <= TRUTH <= margin["high"]
    assert margin["half_width"] < 1e-4
    assert (subject["kind"], subject["length"], subject["source"]) == ("toeplitz", 9.0, "toeplitz:1500:9")
    assert run(cli, ["logdet", "toeplitz:60 @ toeplitz:60", "--shift", "0.1"]) == FINE
    assert "not known" in capsys.readouterr().out
    assert run(cli, ["logdet", "toeplitz:0"]) == COULD_NOT_JUDGE
    assert "TOE-001" in capsys.readouterr().err


def test_a_source_is_not_asked_about_files_of_ours(tmp_path: Path, installed: Callable[..., None]) -> None:
    class Everything(sys.modules["toeplitz_source"].ToeplitzOpener):  # type: ignore[misc]
        def opens(self, _: str) -> bool:
            return True

        def open(self, _: str) -> object:
            return sys.modules["toeplitz_source"].Toeplitz(7, 2.0)

    sys.modules["toeplitz_source"].Everything = Everything  # type: ignore[attr-defined]
    installed("sources", everything="toeplitz_source:Everything")
    np.save(tmp_path / "a.npy", 2 * np.eye(3))
    torch.save({"w": torch.eye(4)}, tmp_path / "m.pt")
    (tmp_path / "other.dat").write_bytes(b"\x89OTHER\r\n" + bytes(64))
    (tmp_path / "edges.csv").write_text("1,2\n2,3\n")
    for name, order in (("a.npy", 3), ("m.pt", 4), ("other.dat", 7), ("edges.csv", 7), ("no such", 7)):
        assert rmtaudit.logdet(tmp_path / name).subject["shape"] == [order, order], name
    assert (
        rmtaudit.logdet(tmp_path / "edges.csv", laplacian="normalised", pseudo=True).subject["shape"][0] == 3
    )
    assert rmtaudit.logdet(tmp_path / "other.dat", symmetric=False).method == "lu"


def test_a_source_that_is_broken_is_named(installed: Callable[..., None]) -> None:
    module = sys.modules["toeplitz_source"]

    class Fails(module.ToeplitzOpener):  # type: ignore[misc,name-defined]
        def open(self, _: str) -> object:
            raise ZeroDivisionError("of its own")

    class Odd(module.ToeplitzOpener):  # type: ignore[misc,name-defined]
        def open(self, _: str) -> object:
            return 1.5

    module.Fails, module.Odd = Fails, Odd  # type: ignore[attr-defined]
    installed("sources", a="toeplitz_source:Fails")
    with pytest.raises(InputError, match="ZeroDivisionError: of its own"):
        rmtaudit.logdet("toeplitz:5")


@pytest.mark.parametrize(
    "value", ["no.such.module:Opener", "toeplitz_source:Toeplitz", "toeplitz_source:math"]
)
def test_what_is_no_source_plugin_is_refused(value: str, installed: Callable[..., None]) -> None:
    installed("sources", broken=value)
    with pytest.raises(UsageError, match="RA-MS-038"):
        rmtaudit.logdet("toeplitz:5")


def test_the_list_of_plugins_is_a_limit(
    installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("sources", toeplitz="toeplitz_source:ToeplitzOpener")
    monkeypatch.setenv("RMTAUDIT_PLUGINS", "other")
    with pytest.raises(InputError):
        rmtaudit.logdet("toeplitz:5")
    monkeypatch.setenv("RMTAUDIT_PLUGINS", "toeplitz")
    assert rmtaudit.logdet("toeplitz:5").status == "ok"


@pytest.mark.slow
def test_the_packages_are_installed_and_work(tmp_path: Path) -> None:
    """A fresh environment that sees the packages of this one, and has the three examples installed."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*")) / "site-packages"
    here = [path for path in sys.path if path and Path(path).is_dir() and "site-packages" in path]
    source = str(Path(rmtaudit.__file__).parents[1])
    (site / "base.pth").write_text(
        "".join(f"import site; site.addsitedir({path!r})\n" for path in (*here, source))
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def call(*words: str) -> str:
        done = subprocess.run(
            [str(python), "-m", *words],
            capture_output=True,
            text=True,
            env=environment,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    packages = [str(FOLDER / name) for name in ("analyzer", "reader", "source")]
    offline = ["--no-index", "--no-build-isolation", "--no-deps", "--quiet", "--disable-pip-version-check"]
    call("pip", "install", *offline, "--target", str(site), *packages)
    folder = weights(tmp_path / "model")
    table = call("rmtaudit", "scan", str(folder), "--analyzers", "top_share", "--columns", "top_share")
    assert "top_share" in table
    assert "of the energy" in table
    alone = call("rmtaudit", "scan", str(folder / "noise.weight.npy"), "--format", "json")
    assert json.loads(alone)["subject"]["format"] == "npy"
    assert "few directions" in call("rmtaudit", "explain", "TS-001")
    document = json.loads(call("rmtaudit", "logdet", "toeplitz:1500:9", "--format", "json"))
    margin = document["result"]["margin"]
    assert margin["low"] <= TRUTH <= margin["high"]
    assert "top_share" in call("rmtaudit", "analyzers")
