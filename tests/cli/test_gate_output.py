"""Where ``rmtaudit gate`` writes: formats by ending and by name, GitHub Actions, signed folders, MLflow."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from gates import sound_model

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.cli.gate_output import parse_output
from rmtaudit.errors import UsageError

DATA = Path(__file__).parents[1] / "data"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, with a sound model and a pointer in the place of one."""
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"):
        monkeypatch.delenv(name, raising=False)
    sound_model(tmp_path / "model.safetensors")
    shutil.copy(DATA / "lfs_pointer.safetensors", tmp_path / "pointer.safetensors")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "format_", "path"),
    [
        ("gate.xml", "junit", "gate.xml"),
        ("gate.sarif", "sarif", "gate.sarif"),
        ("gate.sarif.json", "sarif", "gate.sarif.json"),
        ("GATE.JSON", "json", "GATE.JSON"),
        ("m.cdx.json", "cyclonedx", "m.cdx.json"),
        ("m.intoto.jsonl", "intoto", "m.intoto.jsonl"),
        ("gate.md", "markdown", "gate.md"),
        ("gate.txt", "table", "gate.txt"),
        ("openmetrics=gate.txt", "openmetrics", "gate.txt"),
        ("junit=a=b.xml", "junit", "a=b.xml"),
        ("./x=y.xml", "junit", "x=y.xml"),
    ],
)
def test_a_file_has_the_format_of_its_name_or_its_ending(text: str, format_: str, path: str) -> None:
    output = parse_output(text)
    assert (output.format, output.path) == (format_, Path(path))


@pytest.mark.parametrize(("text", "code"), [("gate.pdf", "RA-US-002"), ("junitt=gate.xml", "RA-US-302")])
def test_other_formats_are_refused(text: str, code: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_output(text)
    assert refused.value.code == code


def test_one_run_writes_several_formats(folder: Path, capsys: Capture) -> None:
    names = ("gate.json", "gate.xml", "gate.sarif", "gate.cdx.json", "gate.intoto.jsonl", "gate.md")
    outputs = [part for name in names for part in ("-o", name)]
    code = run(cli, ["gate", "pointer.safetensors", *outputs, "-q", "--policy", "lenient"])
    assert code == 2
    assert capsys.readouterr().out == ""
    assert all((folder / name).stat().st_size for name in names)
    (statement,) = (folder / "gate.intoto.jsonl").read_text().splitlines()
    digest = hashlib.sha256((folder / "pointer.safetensors").read_bytes()).hexdigest()
    assert json.loads(statement)["subject"] == [{"name": "pointer.safetensors", "digest": {"sha256": digest}}]
    assert json.loads((folder / "gate.sarif").read_text())["runs"][0]["results"][0]["ruleId"] == "RA-IN-011"


def test_a_model_that_was_scanned_is_named_by_its_files_and_a_report_is_not(folder: Path) -> None:
    run(cli, ["gate", "model.safetensors", "--policy", "lenient", "-o", "a.intoto.jsonl", "-q"])
    subjects = json.loads((folder / "a.intoto.jsonl").read_text())["subject"]
    assert [list(each["digest"]) for each in subjects] == [["sha256"], ["rmtauditTensorsV1"]]
    run(cli, ["scan", "model.safetensors", "-q", "-o", "report.json"])
    assert run(cli, ["gate", "report.json", "--policy", "lenient", "-o", "b.intoto.jsonl", "-q"]) == 0
    subjects = json.loads((folder / "b.intoto.jsonl").read_text())["subject"]
    assert [list(each["digest"]) for each in subjects] == [["rmtauditTensorsV1"]]


def test_the_files_of_a_folder_are_named(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "pointer.safetensors").rename(folder / "inner" / "pointer.safetensors")
    run(cli, ["gate", "inner", "-o", "a.cdx.json", "-q"])
    (model,) = json.loads((folder / "a.cdx.json").read_text())["components"]
    assert [each["alg"] for each in model["hashes"]] == ["SHA-256"]


def test_nothing_is_written_beside_a_signature(folder: Path, capsys: Capture) -> None:
    (folder / "model.sig").touch()
    assert run(cli, ["gate", "pointer.safetensors", "-o", "gate.intoto.jsonl"]) == 2
    assert "RA-OU-007" in capsys.readouterr().err
    assert not (folder / "gate.intoto.jsonl").exists()


def test_a_step_of_github_gets_annotations_a_summary_and_outputs(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "summary.md").write_text("## Before\n\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    monkeypatch.setenv("GITHUB_OUTPUT", str(folder / "output"))
    command = ["gate", "pointer.safetensors", "--format", "json", "-o", "gate.json"]
    assert run(cli, command) == 2
    told = capsys.readouterr()
    assert json.loads(told.out)["outcome"] == "unreadable"
    assert "\n::error file=pointer.safetensors,title=Cannot be read (RA-IN-011)::" in told.err
    assert (folder / "summary.md").read_text().startswith("## Before\n\n## rmtaudit gate: ⛔ unreadable")
    lines = (folder / "output").read_text().splitlines()
    assert [line.split("<<")[0] for line in lines] == [
        "verdict", "unreadable", lines[2], "report", "gate.json", lines[2],
    ]  # fmt: skip
    assert run(cli, [*command, "--no-github"]) == 2
    assert "::error" not in capsys.readouterr().err
    assert len((folder / "output").read_text().splitlines()) == 6
    assert run(cli, ["gate", "pointer.safetensors", "--format", "github"]) == 2
    told = capsys.readouterr()
    assert told.out.startswith("::error ")
    assert "::error" not in told.err


def test_the_annotations_of_a_hostile_path_are_one_line(folder: Path, capsys: Capture) -> None:
    name = "::error::x\n::warning::y.safetensors"
    (folder / "pointer.safetensors").rename(folder / name)
    assert run(cli, ["gate", name, "--github"]) == 2
    told = capsys.readouterr()
    lines = [line for line in (told.out + told.err).splitlines() if line.lstrip().startswith("::")]
    assert len(lines) == 1
    assert lines[0].startswith(r"::error file=\x3a%3Aerror%3A%3Ax\x0a")


@pytest.mark.filterwarnings("ignore")
def test_a_gate_is_logged_to_mlflow(folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (folder / "store").as_uri())
    assert run(cli, ["gate", "pointer.safetensors", "--to", "mlflow"]) == 2
    assert "rmtaudit: logged to the MLflow run " in capsys.readouterr().err
    (result,) = (folder / "store").rglob("gate.json")
    assert json.loads(result.read_text())["outcome"] == "unreadable"
