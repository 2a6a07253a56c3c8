"""``rmtaudit gate``: exit codes, outputs, ``explain`` and ``--init``, on reports and small checkpoints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.report.document import dumps, results_to_dict
from rmtaudit.report.gate import gate_schema
from rmtaudit.report.model import failed_subject

Capture = pytest.CaptureFixture[str]
POLICY = """name: mine
version: "1"
rules:
  - id: alpha
    why: Alpha beyond 8 is no tail.
    metric: alpha
    range: [1, 8]
    confidence: 0
"""


@pytest.fixture
def folder(tmp_path: Path, made: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a policy and with a report of each outcome."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "hostile.yaml").write_text(POLICY.replace("range: [1, 8]", "range: [90, 91]"))
    layers = {"passed": made.layer("h.0", 3.0), "failed": made.layer("h.0", 9.0)}
    layers["inconclusive"] = made.without_metrics("h.0", "skipped", "memory: needs 9 GB")
    for name, layer in layers.items():
        base = made.report((layer,))
        report = made.report((layer,), subject={**base.subject, "path": f"{name}.safetensors"})
        report.save(tmp_path / f"{name}.json")
    broken = failed_subject("lost.bin", "RA-IN-001", "No such file.", "Check the path.")
    (tmp_path / "unreadable.json").write_text(dumps(results_to_dict([broken])))
    (tmp_path / "truncated.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("paths", "code"),
    [
        (["passed.json"], 0),
        (["failed.json"], 1),
        (["unreadable.json"], 2),
        (["truncated.safetensors"], 2),
        (["absent.safetensors"], 2),
        (["inconclusive.json"], 3),
        (["passed.json", "inconclusive.json"], 3),
        (["inconclusive.json", "failed.json", "passed.json"], 1),
        (["failed.json", "truncated.safetensors", "inconclusive.json"], 2),
    ],
)
def test_exit_codes(paths: list[str], code: int, capsys: Capture) -> None:
    assert run(cli, ["gate", *paths, "--policy", "policy.yaml", "--format", "json"]) == code
    document = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(gate_schema()).validate(document)
    assert document["exit_code"] == code
    assert len(document["subjects"]) == len(paths)
    assert document["policy"]["name"] == "mine"
    assert document["policy"]["sources"] == ["policy.yaml"]
    unreadable = [subject for subject in document["subjects"] if subject["outcome"] == "unreadable"]
    assert all(subject["error"]["code"].startswith("RA-IN-") for subject in unreadable)
    assert bool(unreadable) == (code == 2)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("flags", "code", "where"),
    [
        (["--policy", "standrad"], "RA-PO-001", "Did you mean 'standard'?"),
        (["--init"], "RA-US-902", "--out"),
        (["--out", "x"], "RA-US-902", "--init"),
        (["--claim", "bf16 of BASE"], "RA-US-903", "--baseline"),
        (["passed.json", "--init", "--out", "x"], "RA-US-904", "one model"),
        (["-o", "junk=x.xml"], "RA-US-302", "json"),
        (["-o", "x.what"], "RA-US-002", "FORMAT="),
        (["-o", "passed.json"], "RA-OU-002", "input"),
        (["--baseline", "unreadable.json"], "RA-RP-006", "baseline"),
        (["--baseline", "absent"], "RA-IN-001", "absent"),
    ],
)
def test_refusals(flags: list[str], code: str, where: str, capsys: Capture) -> None:
    assert run(cli, ["gate", "passed.json", *flags]) == 2
    err = capsys.readouterr().err
    assert code in err
    assert where in err


@pytest.mark.usefixtures("folder")
def test_the_table(capsys: Capture) -> None:
    assert run(cli, ["gate", "failed.json", "passed.json", "--policy", "policy.yaml"]) == 1
    out = capsys.readouterr().out
    for text in (
        "failed.safetensors",
        "'h.0' has alpha 9.000",
        "above",
        "Alpha beyond 8 is no tail.",
        "mine 1",
    ):
        assert text in " ".join(out.split()), text
    assert out.splitlines()[-1].startswith("Gate failed (2 models). Exit code 1.")


def test_files_get_their_own_formats(folder: Path, capsys: Capture) -> None:
    flags = ["-o", "gate.json", "-o", "table=gate.out", "-q", "--policy", "policy.yaml"]
    assert run(cli, ["gate", "passed.json", *flags]) == 0
    assert capsys.readouterr().out == ""
    assert json.loads((folder / "gate.json").read_text())["outcome"] == "passed"
    assert "Gate passed." in (folder / "gate.out").read_text()


def test_hostile_names_stay_text(folder: Path, made: ModuleType, capsys: Capture) -> None:
    made.hostile_report().save(folder / "hostile.json")
    assert run(cli, ["gate", "hostile.json", "--policy", "hostile.yaml"]) in (1, 3)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\r" not in out
    assert not any(line.startswith("::") for line in out.splitlines())


@pytest.mark.usefixtures("folder")
def test_explain(capsys: Capture) -> None:
    assert run(cli, ["gate", "explain", "policy.yaml"]) == 0
    assert "alpha: Alpha of every layer lies from 1 to 8." in capsys.readouterr().out
    assert run(cli, ["gate", "explain", "identical", "strict"]) == 0
    assert "same-digest: " in capsys.readouterr().out


def test_a_saved_report_is_judged_without_torch(folder: Path) -> None:
    code = (
        "import sys\n"
        "from rmtaudit.cli import cli\n"
        "from rmtaudit.cli.errors import run\n"
        "code = run(cli, ['gate', 'passed.json', '--policy', 'strict', '--baseline', 'passed.json'])\n"
        "assert code == 3, code\n"
        "assert not {'torch', 'numpy', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder, timeout=120)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    """Return two layers with a power law in their spectra."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for number in range(2):
        left, right = (torch.linalg.qr(torch.randn(96, 96, generator=generator))[0] for _ in range(2))
        values = torch.arange(1, 97, dtype=torch.float32) ** -0.4
        state[f"h.{number}.weight"] = left * values @ right
    return state


def gate(*arguments: str) -> int:
    return run(cli, ["gate", *arguments, "-q", "--threads", "1"])


def test_init_writes_what_the_model_itself_passes(
    tmp_path: Path, state: dict[str, torch.Tensor], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_file(state, "model.safetensors")
    assert gate("--init", "model.safetensors", "--out", "good") == 0
    assert "good/policy.yaml" in capsys.readouterr().out
    torch.save(state, "again.pt")
    held = ("--policy", "good/policy.yaml", "--baseline", "good/baseline.json")
    assert gate("again.pt", *held) == 0
    assert gate("model.safetensors", *held, "--baseline", "model.safetensors") == 0
    capsys.readouterr()
    save_file({name: 8 * weight for name, weight in state.items()}, "loud.safetensors")
    assert gate("loud.safetensors", *held) == 1
    assert "has log10_spectral_norm 0.9031, above the limit 0.3000" in " ".join(
        capsys.readouterr().out.split()
    )
    assert gate("--init", "model.safetensors", "--out", "good") == 2
    assert "RA-OU-002" in capsys.readouterr().err


def edited(state: dict[str, torch.Tensor], **changes: Any) -> dict[str, torch.Tensor]:
    return {name: changes["change"](weight).contiguous() for name, weight in state.items()}


def test_checkpoints_against_the_weights_of_a_baseline(
    tmp_path: Path, state: dict[str, torch.Tensor], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_file(state, "base.safetensors")
    save_file({f"model.{name}": weight.double() for name, weight in state.items()}, "wide.safetensors")
    save_file(edited(state, change=torch.Tensor.bfloat16), "cast.safetensors")
    base = ("--baseline", "base.safetensors")
    lenient = ("--policy", "lenient")
    assert gate("wide.safetensors", "--policy", "same-weights", *base) == 0
    assert gate("wide.safetensors", "--policy", "identical", *base) == 1
    assert gate("cast.safetensors", "--policy", "same-weights", *base, "-o", "gate.json") == 1
    (check, _) = json.loads(Path("gate.json").read_text())["subjects"][0]["checks"]
    assert check["message"] == "'h.1.weight' was cast to bfloat16; the same holds for 1 other layer."
    assert gate("cast.safetensors", "--claim", "bf16 of BASE", *base, *lenient) == 0
    assert gate("cast.safetensors", "--claim", "fp16 of BASE", *base, *lenient, "-o", "gate.json") == 1
    (check,) = [
        each
        for each in json.loads(Path("gate.json").read_text())["subjects"][0]["checks"]
        if each["outcome"] == "failed"
    ]
    assert check["message"].startswith("The model is inconsistent with the claim 'fp16 of BASE'")
    assert "; 'h." in check["message"]
    capsys.readouterr()
    assert gate("cast.safetensors", "--claim", "what of BASE", *base) == 2
    assert "--claim: " in capsys.readouterr().err


def test_a_metric_that_no_analyzer_has(
    tmp_path: Path, state: dict[str, torch.Tensor], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_file(state, "model.safetensors")
    Path("policy.yaml").write_text(POLICY.replace("metric: alpha", "metric: stabel_rank"))
    assert gate("model.safetensors", "--policy", "policy.yaml") == 2
    err = capsys.readouterr().err
    assert "policy.yaml:4: There is no metric 'stabel_rank'. Did you mean 'stable_rank'? [RA-PO-006]" in err
    Path("policy.yaml").write_text(
        POLICY.replace("metric: alpha", "metric: trap_p_value").replace("[1, 8]", "[0, 1]")
    )
    assert gate("model.safetensors", "--policy", "policy.yaml", "-o", "gate.json") in (0, 1)


def test_a_saved_comparison_is_named_as_one(
    tmp_path: Path, state: dict[str, torch.Tensor], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_file(state, "model.safetensors")
    assert (
        run(cli, ["compare", "model.safetensors", "model.safetensors", "--no-metrics", "-o", "c.json"]) == 0
    )
    capsys.readouterr()
    assert gate("c.json") == 2
    error = capsys.readouterr().err
    assert "The file is a saved comparison, not the report of a scan. [RA-RP-002]" in error
    assert "rmtaudit gate CANDIDATE --baseline BASE" in error
