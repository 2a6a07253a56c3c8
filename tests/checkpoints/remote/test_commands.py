"""Models of the Hub and URLs on the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hub_server import COMMIT, HubServer

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run

SHARD = "model-00001-of-00002.safetensors"


def test_a_streamed_scan_writes_nothing(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(cli, ["scan", "hf://org/name", "--stream", "--preset", "fast", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["subject"]["path"].startswith(f"hf://org/name@{COMMIT}")
    assert {file["name"] for file in document["subject"]["streamed"]} >= {SHARD}
    assert not list(tmp_path.iterdir())
    assert hub.transferred


@pytest.mark.usefixtures("hub")
def test_what_is_downloaded_and_what_is_cached_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cli, ["scan", "org/name", "--preset", "fast"]) == 0
    assert "hf://org/name is downloaded into the cache of the Hub" in capsys.readouterr().err
    assert run(cli, ["scan", "org/name", "--preset", "fast"]) == 0
    assert f"from the local cache of the Hub, commit {COMMIT}" in capsys.readouterr().err
    assert run(cli, ["inspect", "org/name", "-q"]) == 0
    assert not capsys.readouterr().err
    assert any((tmp_path / "cache").iterdir())


def test_a_local_path_wins(
    hub: HubServer,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(cli, ["scan", "org/name", "--preset", "fast"]) == 0
    before = len(hub.requests)
    (tmp_path / "work" / "org").mkdir(parents=True)
    (tmp_path / "work" / "org" / "name").symlink_to(model)
    monkeypatch.chdir(tmp_path / "work")
    capsys.readouterr()
    assert run(cli, ["scan", "org/name", "--preset", "fast", "--format", "json"]) == 0
    said = capsys.readouterr()
    assert "the model of the Hub is hf://org/name" in said.err
    assert json.loads(said.out)["subject"]["path"].startswith("org/name")
    assert len(hub.requests) == before


@pytest.mark.parametrize("stream", [False, True])
def test_an_inspection_transfers_headers_alone(
    stream: bool, hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cli, ["inspect", "hf://org/name", *(["--stream"] if stream else [])]) == 0
    assert "18 tensors" in capsys.readouterr().out
    assert hub.transferred < 40_000
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_there_stops_no_other(
    hub: HubServer, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "scan",
        "org/other",
        f"{hub.web}/absent.pt?key=SECRET",
        str(model / SHARD),
        "--preset",
        "fast",
    ]
    assert run(cli, [*arguments, "--format", "json"]) == 2
    said = capsys.readouterr()
    reports = json.loads(said.out)["reports"]
    assert [("error" in each and bool(each["error"])) for each in reports] == [True, True, False]
    assert "SECRET" not in said.out + said.err
    assert (
        "org/other: There is no such file or folder, and it is not a model of the Hugging Face Hub "
        "either: no such model" in said.err
    )
    assert f"{hub.web}/absent.pt: not found (404)." in said.err


@pytest.mark.usefixtures("hub")
def test_a_second_opinion_needs_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, ["scan", "hf://org/name", "--stream", "--verify"]) == 2
    assert "RA-IN-226" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["hf://org/name", "https://127.0.0.1:9/model.safetensors"])
def test_without_the_extra_it_is_named(
    given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert run(cli, ["scan", given]) == 2
    said = capsys.readouterr().err
    assert "RA-IN-099" in said
    assert "pip install 'rmtaudit[hub]'" in said
    assert run(cli, ["scan", "absent/name"]) == 2
    said = capsys.readouterr().err
    assert "no such file or folder" in said
    assert "pip install 'rmtaudit[hub]'" in said


@pytest.mark.parametrize(
    "given", ["hf://", "hf://datasets/org/name", "hf://a/b@../c", "hf://-x/y", "hf://a/b/../c"]
)
def test_an_address_that_names_no_model(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, ["scan", given]) == 2
    assert "RA-IN-220" in capsys.readouterr().err


@pytest.mark.usefixtures("hub")
def test_an_old_huggingface_hub(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("huggingface_hub.utils.get_session", object)  # requests, before version 1
    assert run(cli, ["scan", "hf://org/name"]) == 2
    assert "is too old" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["logdet", "density"])
def test_the_query_of_a_matrix_is_in_no_document(
    command: str, hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.folder = tmp_path
    np.save(tmp_path / "kernel.npy", 2 * np.eye(20))
    assert run(cli, [command, f"{hub.web}/kernel.npy?signature=SECRET", "--format", "json"]) == 0
    said = capsys.readouterr()
    assert "SECRET" not in said.out + said.err
    assert f"{hub.web}/kernel.npy" in said.out
    assert run(cli, [command, f"{hub.web}/absent.npy?signature=SECRET"]) == 2
    assert "SECRET" not in capsys.readouterr().err


def test_a_comparison_streams(
    hub: HubServer, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cli, ["compare", str(model), "hf://org/name", "--stream", "--no-metrics", "-q"]) == 0
    assert "identical" in capsys.readouterr().out
    stored = sum(file.stat().st_size for file in model.glob("*.safetensors"))
    assert hub.transferred <= 1.05 * stored
    assert not list(tmp_path.iterdir())
