"""The help of every command: nothing is cut, every option has a heading, and the examples can be typed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.cli.help import SECTIONS, Command
from rmtaudit.engine.settings.presets import preset_names

Capture = pytest.CaptureFixture[str]


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(path), group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


ALL = dict(commands())
LEAVES = {name: command for name, command in ALL.items() if not isinstance(command, click.Group)}


@pytest.mark.parametrize("name", ALL)
def test_no_line_of_help_is_cut_or_too_wide(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(cli, [*name.split(), "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert not [line for line in lines if line.rstrip().endswith("...") and "Usage" not in line]
    assert max(map(len, lines)) <= 80
    assert "Options:" not in lines or name not in LEAVES  # every option of a command has a heading


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_has_an_example_that_can_be_typed(name: str) -> None:
    command = LEAVES[name]
    assert isinstance(command, Command)
    assert command.examples
    for line, meaning in command.examples:
        words = shlex.split(line.partition(" > ")[0])
        assert words[: len(name.split())] == name.split()
        with command.make_context(name, words[len(name.split()) :]) as context:
            assert context.params
        assert meaning[0].isupper()
        assert len(f"    rmtaudit {line}") <= 80


def test_a_parameter_has_one_heading() -> None:
    names = [name for section in SECTIONS.values() for name in section]
    assert len(names) == len(set(names))
    assert set(names) <= {parameter.name for command in LEAVES.values() for parameter in command.params} | {
        "_click_default_help"
    }


def test_the_same_thing_has_the_same_name_everywhere() -> None:
    for command in LEAVES.values():
        options = {param.name: param.opts for param in command.params if isinstance(param, click.Option)}
        assert options.get("output", ["-o", "--output"]) == ["-o", "--output"]
        assert options.get("format_", ["--format"]) == ["--format"]
        assert options.get("quiet", ["-q", "--quiet"]) == ["-q", "--quiet"]
        assert options.get("seed", ["--seed"]) == ["--seed"]
        assert options.get("memory", ["--memory"]) == ["--memory"]


def test_every_preset_is_named(capsys: Capture) -> None:
    assert run(cli, ["scan", "--help"]) == 0
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert all(re.search(rf"\b{name} \(", text) for name in preset_names())


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_the_version_has_two_flags(flag: str, capsys: Capture) -> None:
    assert run(cli, [flag]) == 0
    assert capsys.readouterr().out.startswith("rmtaudit ")


def completed(line: str) -> list[str]:
    """Return what bash is offered after a line, by the process that bash would start."""
    words = line.split(" ")
    code = "import sys; from rmtaudit.cli import cli; cli(prog_name='rmtaudit')"
    process = subprocess.run(
        [sys.executable, "-c", code],
        env={"_RMTAUDIT_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stderr == ""
    return [row.partition(",")[2] for row in process.stdout.splitlines()]


def test_the_shell_completes() -> None:
    assert completed("rmtaudit scan --preset a") == ["audit"]
    assert completed("rmtaudit scan --columns stable_r") == ["stable_rank"]
    assert completed("rmtaudit scan --sort log10_sp") == ["log10_spectral_norm"]
    assert completed("rmtaudit explain RA-FO-00")[:2] == ["RA-FO-001", "RA-FO-002"]
    assert "error" in completed("rmtaudit scan --fail-on e")


def test_completion_imports_no_torch() -> None:
    code = (
        "import sys; from rmtaudit.cli import completion\n"
        "for complete in (completion.preset, completion.columns, completion.analyzers, completion.subject):\n"
        "    assert complete(None, None, '')\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_list_is_completed_word_by_word() -> None:
    from rmtaudit.cli import completion

    context, parameter = click.Context(cli), click.Option(["--columns"])
    offered = [item.value for item in completion.columns(context, parameter, "alpha,stable_r")]
    assert offered == ["alpha,stable_rank"]
    again = [item.value for item in completion.analyzers(context, parameter, "scale,sc")]
    assert "scale,scale" not in again
