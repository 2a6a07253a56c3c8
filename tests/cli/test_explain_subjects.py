"""``rmtaudit explain`` of metrics and errors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.report import error_codes, glossary

Capture = pytest.CaptureFixture[str]
SOURCES = Path(__file__).parents[2] / "src"


def test_a_metric_is_explained_by_every_analyzer_that_yields_it(capsys: Capture) -> None:
    assert run(cli, ["explain", "alpha"]) == 0
    text = capsys.readouterr().out
    assert "a metric of the analyzer powerlaw" in text
    assert "a metric of the analyzer weightwatcher" in text
    assert "Source: Clauset" in text


def test_an_error_is_explained_in_either_case(capsys: Capture) -> None:
    assert run(cli, ["explain", "ra-in-021"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("RA-IN-021: ")
    assert "Meaning: The header is announced as longer" in text
    assert "What to do: " in text


@pytest.mark.parametrize(
    ("word", "near"), [("alhpa", "alpha"), ("RA-IN-0211", "RA-IN-021"), ("stablerank", "stable_rank")]
)
def test_a_near_name_is_suggested(word: str, near: str, capsys: Capture) -> None:
    assert run(cli, ["explain", word]) == 2
    assert re.search(rf"Did you mean .*\b{near}\b", capsys.readouterr().err)


def test_every_code_of_the_source_can_be_explained() -> None:
    from rmtaudit.report.catalogue import FINDINGS

    used = {
        code
        for path in SOURCES.rglob("*.py")
        for code in re.findall(r"\"(RA-[A-Z]{2}-\d{3})\"", path.read_text(encoding="utf-8"))
    }
    known = error_codes.error_codes()
    assert not used - set(known) - set(FINDINGS)
    assert all("](" not in each.meaning + each.remedy for each in known.values())


def test_quiet_and_verbose_contradict_each_other(capsys: Capture, tmp_path: Path) -> None:
    assert run(cli, ["scan", str(tmp_path), "-q", "-v"]) == 2
    assert "[RA-US-004]" in capsys.readouterr().err


def test_a_near_metric_is_suggested_instead_of_all(capsys: Capture) -> None:
    example = SOURCES.parent / "examples/resnet20_cifar10.safetensors"
    assert run(cli, ["scan", str(example), "--sort", "alhpa"]) == 2
    error = capsys.readouterr().err
    assert "Did you mean 'alpha'?" in error
    assert "log10_spectral_norm" not in error


def test_a_near_file_is_suggested(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    for command in (["scan"], ["inspect"]):
        assert run(cli, [*command, str(tmp_path / "model.safetensor")]) == 2
        assert "Did you mean 'model.safetensors'?" in capsys.readouterr().err


def test_a_wrong_option_in_a_file_keeps_its_line(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = SOURCES.parent / "examples/resnet20_cifar10.safetensors"
    (tmp_path / "rmtaudit.yaml").write_text("seed: 1\noptions:\n  powerlaw:\n    bootstrap: many\n")
    monkeypatch.chdir(tmp_path)
    assert run(cli, ["scan", str(example)]) == 2
    assert "rmtaudit.yaml:4" in capsys.readouterr().err
    (tmp_path / "rmtaudit.yaml").write_text("seed: 1\noptions:\n  powerlaw:\n    botstrap: 3\n")
    assert run(cli, ["scan", str(example)]) == 2
    error = capsys.readouterr().err
    assert "rmtaudit.yaml:4" in error
    assert "Did you mean 'bootstrap'?" in error


@pytest.mark.parametrize("word", ["noise floor", "Noise-Floor", "noise_floor"])
def test_a_term_of_the_glossary_is_explained(word: str, capsys: Capture) -> None:
    assert run(cli, ["explain", word]) == 0
    text = capsys.readouterr().out
    assert text.startswith("noise floor: The upper edge of the spectrum of noise.")
    assert "](" not in text
    assert "See the noise floor" not in text


def test_a_term_that_is_a_metric_too_is_explained_as_both(capsys: Capture) -> None:
    assert run(cli, ["explain", "stable_rank"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("stable rank: The squared Frobenius norm")
    assert "stable_rank: a metric of the analyzer scale" in text


def test_the_glossary_is_in_alphabetical_order_and_every_term_has_a_meaning() -> None:
    names = list(glossary.terms())
    assert names == sorted(names)
    assert all(term.meaning.endswith(".") for term in glossary.terms().values())
