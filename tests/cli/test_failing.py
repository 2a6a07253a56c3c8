"""``--fail-on``: every exit code of ``rmtaudit scan`` and ``rmtaudit report``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import platformdirs
import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.report.document import dumps, results_to_dict

Capture = pytest.CaptureFixture[str]
FAST = ["--analyzers", "scale,powerlaw"]


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda *_, **__: str(tmp_path / "user"))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def models(tmp_path: Path) -> Callable[[str], str]:
    """Return the path of a model by its name: sound, nan, zero, vector, cut, absent."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(40, 30, generator=generator)
    broken = weight.clone()
    broken[3, 4] = torch.nan
    tensors = {
        "sound": {"a.weight": weight},
        "nan": {"a.weight": weight, "b.weight": broken},
        "zero": {"a.weight": weight, "b.weight": torch.zeros(40, 30)},
        "vector": {"norm.weight": torch.ones(8)},
    }
    for name, state in tensors.items():
        save_file(state, tmp_path / f"{name}.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\xff" * 64)
    return lambda name: str(tmp_path / f"{name}.safetensors")


@pytest.mark.parametrize(
    ("subjects", "fail_on", "expected"),
    [
        (["sound"], None, 0),
        (["nan"], None, 0),
        (["nan"], "never", 0),
        (["sound"], "error", 0),
        (["sound"], "warning", 0),
        (["nan"], "error", 1),
        (["nan"], "warning", 1),
        (["nan"], "RA-SC-001", 1),
        (["nan"], "ra-sc-001,RA-MO-001", 1),
        (["nan"], "RA-MO-001", 0),
        (["zero"], "error", 0),
        (["zero"], "RA-SC-002", 1),
        (["vector"], "error", 3),
        (["vector"], None, 3),
        (["cut"], "error", 2),
        (["absent"], "never", 2),
        (["sound"], "RA-SC-01", 2),
        (["sound"], "errors", 2),
        (["sound"], "RA-FO-001", 2),
        (["sound", "nan"], "error", 1),
        (["nan", "vector"], "error", 1),
        (["vector", "sound"], "error", 3),
        (["nan", "cut", "sound"], "error", 2),
        (["vector", "cut"], "error", 2),
        (["vector", "nan", "cut", "sound"], "error", 2),
    ],
)
def test_exit_codes(
    models: Callable[[str], str],
    capsys: Capture,
    subjects: list[str],
    fail_on: str | None,
    expected: int,
) -> None:
    flags = [] if fail_on is None else ["--fail-on", fail_on]
    assert run(cli, ["scan", *map(models, subjects), *FAST, *flags, "--quiet"]) == expected
    failed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rmtaudit: failed: ")]
    assert len(failed) == (1 if "nan" in subjects or "zero" in subjects else 0) * (
        expected in (1, 2) and fail_on is not None
    )


def test_the_flag_may_be_repeated(models: Callable[[str], str], capsys: Capture) -> None:
    for flags, expected in (
        (["--fail-on", "RA-SC-001", "--fail-on", "RA-MO-001"], 1),
        (["--fail-on", "RA-SC-002", "--fail-on", "RA-MO-001"], 0),
        (["--fail-on", "never", "--fail-on", "error"], 2),
    ):
        assert run(cli, ["scan", models("nan"), *FAST, *flags, "--quiet"]) == expected
    assert "must stand alone" in capsys.readouterr().err


def test_one_line_names_the_findings_and_their_layers(models: Callable[[str], str], capsys: Capture) -> None:
    assert run(cli, ["scan", models("nan"), *FAST, "--fail-on", "error"]) == 1
    assert capsys.readouterr().err == (
        f"rmtaudit: failed: {models('nan')}: 1 finding of --fail-on error: RA-SC-001 in b.weight\n"
    )


def test_a_code_that_does_not_exist_is_refused_before_the_scan(
    models: Callable[[str], str], capsys: Capture
) -> None:
    assert run(cli, ["scan", models("absent"), "--fail-on", "RA-SC-01"]) == 2
    err = capsys.readouterr().err
    assert "There is no finding 'RA-SC-01'. [RA-US-110]" in err
    assert "Did you mean RA-SC-001" in err


def test_what_was_not_judged_is_inconclusive(models: Callable[[str], str], capsys: Capture) -> None:
    assert run(cli, ["scan", models("sound"), *FAST, "--memory", "5000", "--fail-on", "RA-SC-001"]) == 3
    err = capsys.readouterr().err
    assert "inconclusive: " in err
    assert "one layer was not judged: a.weight (memory: needs about" in err


def test_a_saved_report_is_judged_like_a_scan(
    models: Callable[[str], str], tmp_path: Path, capsys: Capture
) -> None:
    target = tmp_path / "r.json"
    assert run(cli, ["scan", *map(models, ["sound", "nan", "cut"]), *FAST, "-o", str(target), "-q"]) == 2
    assert run(cli, ["report", str(target)]) == 2
    assert run(cli, ["scan", *map(models, ["sound", "nan"]), *FAST, "-o", str(target), "-q"]) == 0
    for fail_on, expected in (("never", 0), ("error", 1), ("RA-SC-002", 0), ("RA-FO-001", 2)):
        assert run(cli, ["report", str(target), "--fail-on", fail_on]) == expected
    capsys.readouterr()


def test_the_line_stays_one_line(made: ModuleType, tmp_path: Path, capsys: Capture) -> None:
    found = tuple(made.finding(f"RA-FO-0{index:02}", "error", "m") for index in range(20))
    names = ["x\r\n::error::y", *"abcde"]
    report = made.report(tuple(made.layer(name, findings=found) for name in names))
    target = tmp_path / "r.json"
    target.write_text(dumps(results_to_dict([report])), encoding="utf-8")
    assert run(cli, ["report", str(target), "--fail-on", "error"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        "120 findings of --fail-on error: RA-FO-000 in 6 layers "
        "(x\\x0d\\x0a\\x3a:error::y, a, b and 3 more); " in line
    )
    assert line.endswith("; 8 more codes")


def commands_in(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("::")]


def test_a_scan_annotates_a_step_of_github(
    models: Callable[[str], str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["scan", *map(models, ["nan", "vector", "cut", "sound"]), *FAST, "-o", "r.json", "-q"]
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert run(cli, command) == 2
    assert commands_in(capsys.readouterr().err) == []  # without --fail-on a scan is no gate
    assert run(cli, [*command, "--fail-on", "error"]) == 2
    printed = capsys.readouterr()
    lines = commands_in(printed.err)
    assert printed.out == ""
    assert [line.split("::")[1].split(",title=")[1] for line in lines] == [
        "RA-SC-001 in 1 layer",
        "No weight matrix could be analysed (RA-NA-001)",
        "Cannot be read (RA-IN-021)",
    ]
    assert lines[0].startswith(f"::error file={models('nan')},")
    assert "b.weight: " in lines[0]
    assert run(cli, ["report", "r.json", "--fail-on", "error"]) == 2
    assert commands_in(capsys.readouterr().err) == lines


def test_layers_that_were_not_judged_are_annotated(
    models: Callable[[str], str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert run(cli, ["scan", models("sound"), *FAST, "--memory", "5000", "--fail-on", "RA-SC-001"]) == 3
    assert any(
        ",title=1 layer not judged::a.weight: memory" in line for line in commands_in(capsys.readouterr().err)
    )


def test_github_gets_ten_annotations_of_hostile_names(
    made: ModuleType, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    found = tuple(made.finding(f"RA-FO-0{index:02}", "error", "%0A\n::error::y") for index in range(20))
    report = made.report(tuple(made.layer(name, findings=found) for name in ("x\r\n::error::y", *"abcde")))
    (tmp_path / "r.json").write_text(dumps(results_to_dict([report])))
    assert run(cli, ["report", "r.json", "--fail-on", "error"]) == 1
    lines = commands_in(capsys.readouterr().err)
    assert len(lines) == 10
    assert lines[-1] == "::error title=More errors::11 more are not shown here: the report has all."
    hostile = r"\x0a\x3a:error::y"
    assert all(f"in 6 layers::x\\x0d{hostile}: %250A{hostile}%0Aa: " in line for line in lines[:9])
