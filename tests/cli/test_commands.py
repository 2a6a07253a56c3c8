"""The table of commands agrees with the modules, and none is imported before it is needed."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from importlib import import_module

import click
import pytest
from click.shell_completion import ShellComplete

import rmtaudit.cli
from rmtaudit.cli import cli
from rmtaudit.cli.commands import SUMMARIES, Commands

LOOK = """
import contextlib, io, json, sys
from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
before = set(sys.modules)
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    run(cli, json.loads(sys.argv[1]))
modules = {name.removeprefix("rmtaudit.cli.") for name in sys.modules if name.startswith("rmtaudit.cli.")}
json.dump(sorted(modules), sys.stdout)
"""


def imported_by(*args: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOOK, json.dumps(args)], capture_output=True, text=True, timeout=60, check=True
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("name", SUMMARIES)
def test_the_table_has_the_first_sentence_of_every_command(name: str) -> None:
    command = Commands()[name]
    assert command.name in (name, name.split()[-1], name.replace(" ", "-"))
    assert command.get_short_help_str(limit=1000) == SUMMARIES[name]
    assert not command.hidden


def test_the_table_has_every_command() -> None:
    names = {name.replace(" ", "_").replace("-", "_") for name in SUMMARIES}
    modules = {module.name for module in pkgutil.iter_modules(rmtaudit.cli.__path__)}
    defined = {
        name
        for name in modules
        if isinstance(getattr(import_module(f"rmtaudit.cli.{name}"), name, None), click.Command)
    }
    assert defined == names


def test_help_imports_no_command_and_a_command_imports_no_other() -> None:
    commands = {name.replace(" ", "_").replace("-", "_") for name in SUMMARIES}
    assert not imported_by("--help") & commands
    assert not imported_by("--version") & commands
    assert not imported_by("scam") & commands
    assert imported_by("scan", "--help") & commands == {"scan"}
    assert imported_by("forecast", "ridge", "--help") & commands == {"forecast_ridge"}


def test_completion_offers_the_names_and_first_sentences() -> None:
    completion = ShellComplete(cli, {}, "rmtaudit", "_RMTAUDIT_COMPLETE")
    offered = {item.value: item.help for item in completion.get_completions([], "")}
    assert offered == SUMMARIES
    assert [item.value for item in completion.get_completions([], "forecast")] == [
        "forecast",
        "forecast ridge",
    ]
    assert "--top" in [item.value for item in completion.get_completions(["scan"], "--t")]
    assert "--version" in [item.value for item in completion.get_completions([], "--")]


def test_commands_are_a_table() -> None:
    commands = Commands()
    assert list(commands) == list(SUMMARIES)
    assert len(commands) == len(SUMMARIES)
    assert "scam" not in commands
    with pytest.raises(KeyError):
        commands["scam"]
    commands["mine"] = click.Command("mine")
    assert list(commands)[-1] == "mine"
    assert commands["mine"].name == "mine"
    del commands["mine"]
    assert list(commands) == list(SUMMARIES)
