"""``rmtaudit scan`` on small checkpoints."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import platformdirs
import pytest
import torch
from msgspec import structs
from safetensors.torch import save_file

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.report.model import Report
from rmtaudit.report.schema import report_schema

VALIDATOR = jsonschema.Draft202012Validator(report_schema())
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's own configuration out."""
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda *_, **__: str(tmp_path / "user"))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    path = tmp_path / "model.safetensors"
    tensors = {
        f"layers.{index}.weight": torch.randn(40, 30 + index, generator=generator) for index in range(3)
    }
    save_file({**tensors, "norm.weight": torch.ones(40)}, path)
    return path


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.safetensors"
    save_file({"norm.weight": torch.ones(40)}, path)
    return path


def without_timings(text: str) -> str:
    document = json.loads(text)
    for report in document.get("reports", [document]):
        report.pop("timings", None)
    return json.dumps(document)


def test_the_table_goes_to_stdout_and_nothing_to_stderr(weights: Path, capsys: Capture) -> None:
    assert run(cli, ["scan", str(weights)]) == 0
    out, err = capsys.readouterr()
    assert "layer = layers.*.weight" in out
    assert re.search(r"^   2  .*40×32", out, re.MULTILINE)
    assert "mean alpha" in out
    assert "of 3.76 k parameters in 3 layers" in out
    assert err == ""


def test_json_keeps_to_the_schema_and_is_the_same_twice(
    weights: Path, vectors: Path, tmp_path: Path, capsys: Capture
) -> None:
    texts = []
    for threads in ("1", "2"):
        args = ["scan", str(weights), str(vectors), str(tmp_path / "absent"), "--format", "json"]
        assert run(cli, [*args, "--threads", threads]) == 2
        out, err = capsys.readouterr()
        assert err.count("rmtaudit: error: ") == 2
        texts.append(out)
    document = json.loads(texts[0])
    assert not [error.message for error in VALIDATOR.iter_errors(document)]
    assert without_timings(texts[0]) == without_timings(texts[1])
    assert list(document["reports"][2]) == ["schema", "subject", "error"]
    assert document["reports"][2]["error"]["code"].startswith("RA-IN-")


def test_a_file_gets_the_format_of_its_ending_and_stdout_the_table(
    weights: Path, tmp_path: Path, capsys: Capture
) -> None:
    target = tmp_path / "out.csv"
    assert run(cli, ["scan", str(weights), "-o", str(target)]) == 0
    assert "mean alpha" in capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(target.read_text())))
    assert [row["name"] for row in rows] == ["layers.0.weight", "layers.1.weight", "layers.2.weight"]
    assert run(cli, ["scan", str(weights), "-o", str(target), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_what_cannot_be_written_is_refused_before_the_scan(
    weights: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "rmtaudit.engine.scan.run.scan_checkpoint", lambda *_, **__: pytest.fail("it was scanned")
    )
    for target, message in (
        (tmp_path / "absent" / "r.json", "No such file"),
        (tmp_path, "does not indicate a format"),
        (tmp_path / "cwd" / "r.xyz", "does not indicate a format"),
        (weights, "does not indicate a format"),
    ):
        assert run(cli, ["scan", str(weights), "-o", str(target)]) == 2
        assert message in capsys.readouterr().err
    assert run(cli, ["scan", str(weights), "--format", "json", "-o", str(weights)]) == 2
    assert "one of the inputs" in capsys.readouterr().err


def test_nothing_to_analyse_is_inconclusive_and_still_reported(
    vectors: Path, tmp_path: Path, capsys: Capture
) -> None:
    target = tmp_path / "r.json"
    assert run(cli, ["scan", str(vectors), "-o", str(target)]) == 3
    out, err = capsys.readouterr()
    assert f"error: {vectors}: No weight matrix could be analysed. [RA-NA-001]" in err
    assert "1 vector" in out
    assert json.loads(target.read_text())["coverage"]["skipped"][0]["name"] == "norm.weight"


def test_one_that_cannot_be_read_does_not_stop_the_others(
    weights: Path, tmp_path: Path, capsys: Capture
) -> None:
    other = tmp_path / "zoo" / "model.safetensors"
    other.parent.mkdir()
    other.write_bytes(b"\xff" * 64)
    assert run(cli, ["scan", str(other), str(weights)]) == 2
    out, err = capsys.readouterr()
    assert f"rmtaudit: error: {other}" in err
    assert "layer = layers.*.weight" in out
    assert re.search(r"^   2  .*40×32", out, re.MULTILINE)
    target = tmp_path / "r.json"
    assert run(cli, ["scan", str(other), "-o", str(target)]) == 2
    assert not target.exists()


def test_layers_beyond_the_budget_are_looked_at_and_inconclusive_all_the_same(
    tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "large.safetensors"
    save_file({"a.weight": torch.randn(300, 250, generator=torch.Generator().manual_seed(0))}, path)
    looked = ["--analyzers", "scale,sketch", "--set", "sketch.top=1", "--memory", "1880kB"]
    assert run(cli, ["scan", str(path), *looked]) == 3
    out, err = capsys.readouterr()
    assert "RA-NA-001" in err
    assert "a.weight: sigma_1 " in " ".join(out.split())


def test_jsonl_is_written_as_subjects_are_finished(weights: Path, vectors: Path, capsys: Capture) -> None:
    assert run(cli, ["scan", str(weights), str(vectors), "--format", "jsonl"]) == 3
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["layer"] * 3 + ["summary"] * 2


def test_settings_reach_the_report(weights: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "cwd" / "rmtaudit.yaml").write_text("seed: 5\n")
    args = ["scan", str(weights), "--preset", "fast", "--set", "solver=svd", "--bootstrap", "3"]
    args += ["--set", "powerlaw.stability=false"]
    assert (
        run(cli, [*args, "--format", "json", "--sort", "stable_rank", "--columns", "alpha,stable_rank"]) == 0
    )
    tool = json.loads(capsys.readouterr().out)["tool"]
    assert (tool["seed"], tool["preset"], tool["solver"]) == (5, "fast", "svd")
    assert (tool["sort"], tool["columns"]) == ("stable_rank", ["alpha", "stable_rank"])
    assert tool["options"]["powerlaw"]["bootstrap"] == 3
    assert tool["options"]["powerlaw"]["stability"] is False


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--analyzers", "powrlaw"], "Did you mean 'powerlaw'"),
        (["--set", "powerlaw.bootsrap=3"], "Did you mean 'bootstrap'"),
        (["--set", "powerlaw.bootstrap=many"], "must be a whole number"),
        (["--set", "sede=1"], "Did you mean 'seed'"),
        (["--set", "seed"], "KEY=VALUE"),
        (["--preset", "x"], "Unknown preset"),
        (["--memory", "lots"], "memory must be a size"),
        (["--threads", "0"], "threads must be"),
        (["--seed", "nan"], "seed must be"),
        (["--sort", "alhpa"], "Did you mean 'alpha'"),
        (["--columns", "alhpa"], "Did you mean 'alpha'"),
        (["--bootstrap", "3", "--analyzers", "scale"], "has no effect"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_settings_that_are_wrong(weights: Path, capsys: Capture, flags: list[str], message: str) -> None:
    assert run(cli, ["scan", str(weights), *flags]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert err.startswith("rmtaudit: error: ")
    assert out == ""


def test_an_interrupted_scan_writes_what_is_finished(
    weights: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rmtaudit.engine.scan import run as engine

    original = engine.scan_checkpoint

    def interrupted(*args: Any, **kwargs: Any) -> Report:
        return structs.replace(original(*args, **kwargs), complete=False)

    monkeypatch.setattr(engine, "scan_checkpoint", interrupted)
    target = tmp_path / "r.json"
    assert run(cli, ["scan", str(weights), str(weights), "-o", str(target)]) == 130
    document = json.loads(target.read_text())
    assert document["complete"] is False
    assert "reports" not in document
    assert "interrupted: 3 layers were finished" in capsys.readouterr().err


def test_a_fault_of_ours_in_one_subject_does_not_lose_the_others(
    weights: Path, vectors: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rmtaudit.engine.scan import run as engine

    original = engine.scan_checkpoint

    def faulty(checkpoint: Checkpoint, *args: Any, **kwargs: Any) -> Report:
        if "vectors" in str(checkpoint.path):
            raise ZeroDivisionError("oh")
        return original(checkpoint, *args, **kwargs)

    monkeypatch.setattr(engine, "scan_checkpoint", faulty)
    target = tmp_path / "r.json"
    assert run(cli, ["scan", str(vectors), str(weights), "-o", str(target)]) == 2
    assert f"{vectors}: Internal error: ZeroDivisionError: oh [RA-IE-001]" in capsys.readouterr().err
    lost, found = json.loads(target.read_text())["reports"]
    assert lost["error"]["code"] == "RA-IE-001"
    assert len(found["layers"]) == 3


def test_ctrl_c_between_subjects_keeps_those_before(
    weights: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rmtaudit.checkpoints as checkpoints

    original = checkpoints.open_checkpoint

    def interrupted(path: Path) -> Checkpoint:
        if "second" in str(path):
            raise KeyboardInterrupt
        return original(path)

    monkeypatch.setattr(checkpoints, "open_checkpoint", interrupted)
    target = tmp_path / "r.json"
    assert run(cli, ["scan", str(weights), str(tmp_path / "second"), "-o", str(target)]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert json.loads(target.read_text())["complete"] is True


def test_verbose_says_where_settings_are_from(weights: Path, capsys: Capture) -> None:
    assert run(cli, ["scan", str(weights), "-v", "--seed", "4"]) == 0
    err = capsys.readouterr().err
    assert "rmtaudit: seed: 4  # --seed" in err
    assert "rmtaudit: timings: " in err


def test_the_models_of_an_archive_are_scanned_one_by_one(tmp_path: Path, capsys: Capture) -> None:
    generator = torch.Generator().manual_seed(0)
    archive = tmp_path / "models.zip"
    optimizer = {"state": {0: {"exp_avg": torch.ones(4, 4)}}, "param_groups": []}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, state in (
            ("a/net.pt", {"fc.weight": torch.randn(40, 30, generator=generator)}),
            ("b/net.pt", {"fc.weight": torch.randn(30, 40, generator=generator)}),
            ("optimizer.pt", optimizer),
        ):
            buffer = io.BytesIO()
            torch.save(state, buffer)
            file.writestr(name, buffer.getvalue())
        file.writestr("evil.pt", b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00echo\x85R.")
    assert run(cli, ["scan", str(archive), "--format", "json", "--preset", "fast"]) == 2
    printed = capsys.readouterr()
    reports = json.loads(printed.out)["reports"]
    assert [report["subject"]["path"] for report in reports[:2]] == [
        str(archive / "a/net.pt"),
        str(archive / "b/net.pt"),
    ]
    assert [report["layers"][0]["shape"] for report in reports[:2]] == [[40, 30], [30, 40]]
    assert "contains code" in printed.err
    assert "that hold no weight matrix were skipped: optimizer.pt" in printed.err
    assert run(cli, ["scan", str(archive / "b/net.pt"), "--format", "json", "--preset", "fast"]) == 0
    assert json.loads(capsys.readouterr().out)["layers"][0]["shape"] == [30, 40]


def test_a_long_scan_says_so_on_stderr_unless_quiet(
    weights: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rmtaudit.engine.scan import cost

    monkeypatch.setattr(cost, "WORTH_SAYING", 0.001)
    assert run(cli, ["scan", str(weights)]) == 0
    out, err = capsys.readouterr()
    assert re.search(
        r"^rmtaudit: 3 layers; about 10 seconds on \d+ CPUs?\. `--preset fast`", err, re.MULTILINE
    )
    assert "layers; about" not in out
    for flag in ("--quiet", "--no-progress"):
        assert run(cli, ["scan", str(weights), flag]) == 0
        assert "layers; about" not in capsys.readouterr().err


def test_columns_are_metrics_and_properties(weights: Path, capsys: Capture) -> None:
    columns = "alpha,dtype,kind,parameters,finding"
    assert run(cli, ["scan", str(weights), "--columns", columns, "--sort", "shape"]) == 0
    out, _ = capsys.readouterr()
    line = next(line for line in out.splitlines() if "  layer " in line)
    assert re.split(r"\s{2,}", line.strip())[2:5] == ["dtype", "kind", "parameters"]
    assert "shape, largest first" in out


@pytest.mark.parametrize("flag", ["--sort", "--columns"])
def test_a_property_is_suggested(weights: Path, capsys: Capture, flag: str) -> None:
    assert run(cli, ["scan", str(weights), flag, "paramters"]) == 2
    assert "Did you mean 'parameters'" in capsys.readouterr().err
