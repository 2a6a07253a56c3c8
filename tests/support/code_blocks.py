"""Code blocks of the documentation: how they are read from a page, and how they are run.

A comment before a block says what is not usual about it:

- ``<!-- not run: REASON -->``: it is listed, and not run;
- ``<!-- slow: REASON -->``: it runs with ``pytest -m slow`` only;
- ``<!-- exit codes: 0, 3 -->``: what its commands may exit with; without it, 0.

A line ``echo $?    # 1: …`` says it of the command above it.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import select
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run

FENCE = re.compile(r"^( *)```(\S*)$")
NOTE = re.compile(r"^ *<!-- (not run|slow|exit codes): (.+) -->$")
FILE = re.compile(r"`([\w./-]+\.(?:ya?ml|json|toml))`:$")
SHELLS = ("sh", "console")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of a page; ``note`` and ``file`` come from the lines before it."""

    page: str
    line: int
    language: str
    text: str
    note: str = ""
    reason: str = ""
    file: str = ""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str, text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page in order; raise if one is not closed."""
    before: list[str] = []
    fence: tuple[int, str, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        match = FENCE.match(line)
        if match is None or (fence is not None and match[2]):
            (before if fence is None else lines).append(line)
        elif fence is None:
            fence, lines = (number, match[1], match[2]), []
        else:
            yield _block(page, fence, lines, before)
            fence, before = None, []
    assert fence is None, f"{page}:{number} is in a block that is not closed"


def _block(page: str, fence: tuple[int, str, str], lines: list[str], before: list[str]) -> Block:
    note = NOTE.match(before[-1]) if before else None
    paragraph = " ".join(before[:-1] if note else before).rstrip()
    file = FILE.search(paragraph)
    return Block(
        page=page,
        line=fence[0],
        language=fence[2],
        text=textwrap.dedent("\n".join(lines)) + "\n",
        note=note[1] if note else "",
        reason=note[2] if note else "",
        file=file[1] if file else "",
    )


def script_of(block: Block) -> str:
    """Return the commands of a shell block; those of a console stand behind a prompt."""
    if block.language == "console":
        return "".join(f"{line[2:]}\n" for line in block.text.splitlines() if line.startswith("$ "))
    return block.text


def exit_codes(block: Block) -> list[set[int]]:
    """Return what each command ``rmtaudit …`` of a shell block may exit with, in order."""
    usual = {int(code) for code in block.reason.split(",")} if block.note == "exit codes" else {0}
    codes: list[set[int]] = []
    for line in script_of(block).splitlines():
        if re.match(r"(\w+=\S+ )*rmtaudit ", line):
            codes.append(usual)
        elif shown := re.match(r"echo \$\? +# (\d)", line):
            codes[-1] = {int(shown[1])}
    return codes


SHIM = """#!/bin/bash
stdin=
if [[ ${{0##*/}} == python && ${{1:-}} == - ]]; then stdin=$(cat); fi
printf '%s\\0' "${{0##*/}}" "$stdin" "$@" >{folder}/arguments
echo "$PWD" >{folder}/request
until read -r code <{folder}/reply; do :; done  # an end without a line belongs to the command before
cat {folder}/stdout
cat {folder}/stderr >&2
exit "$code"
"""
SERVED = ("rmtaudit", "python", "pip")


class Session:
    """The commands and Python of one page, run in order in one folder and in this process.

    bash runs the commands. Those named in ``SERVED`` are scripts that ask this process, where torch has
    been imported already. pip installs nothing: the extras that it is asked for must exist.
    """

    def __init__(self, folder: Path, private: Path, extras: frozenset[str]) -> None:
        self.folder = folder
        self.private = private
        self.extras = extras
        self.space: dict[str, Any] = {"__name__": "__main__"}
        self.codes: list[tuple[str, int, str]] = []
        for name in ("request", "reply"):
            os.mkfifo(private / name)
        for name in SERVED:
            path = private / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(SHIM.format(folder=private))
            path.chmod(0o755)

    def python(self, text: str, place: str) -> None:
        """Run Python in the namespace of the page; examples with prompts as doctests."""
        with contextlib.redirect_stdout(io.StringIO()), contextlib.chdir(self.folder):
            if text.startswith(">>> "):
                runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
                test = doctest.DocTestParser().get_doctest(text, self.space, place, place, 0)
                runner.run(test, clear_globs=False)
                assert runner.failures == 0, f"an example at {place} prints something else"
            else:
                exec(compile(text, place, "exec", dont_inherit=True), self.space)

    def shell(self, script: str) -> list[tuple[str, int, str]]:
        """Run a script and return what was served: command line, exit code and messages."""
        self.codes = []
        environment = {**os.environ, "PATH": f"{self.private / 'bin'}:{os.environ['PATH']}"}
        environment |= {"GITHUB_STEP_SUMMARY": str(self.private / "summary.md")}
        request = os.open(self.private / "request", os.O_RDWR | os.O_NONBLOCK)
        try:
            with subprocess.Popen(
                ["bash", "-c", script],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            ) as process:
                while process.poll() is None:
                    if select.select([request], [], [], 0.02)[0]:
                        self._serve(Path(os.read(request, 4096).decode().rstrip("\n")))
                assert process.stderr is not None
                messages = process.stderr.read()
        finally:
            os.close(request)
        assert "command not found" not in messages, messages
        return self.codes

    def _serve(self, folder: Path) -> None:
        name, stdin, *arguments = (self.private / "arguments").read_text().split("\0")[:-1]
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(folder):
            code = self._command(name, stdin, arguments)
        for stream, file in ((out, "stdout"), (err, "stderr")):
            stream.flush()
            (self.private / file).write_bytes(stream.buffer.getvalue())
        self.codes.append((" ".join([name, *arguments]), code, (self.private / "stderr").read_text()))
        (self.private / "reply").write_text(f"{code}\n")

    def _command(self, name: str, stdin: str, arguments: list[str]) -> int:
        if name == "rmtaudit":
            return run(cli, arguments)
        if name == "pip":
            wanted = set(",".join(re.findall(r"rmtaudit\[(.+?)\]", " ".join(arguments))).split(",")) - {""}
            return 0 if arguments[0] == "install" and wanted <= self.extras else 1
        text = stdin if arguments[0] == "-" else arguments[1] if arguments[0] == "-c" else None
        before = sys.argv
        try:
            if text is None:
                sys.argv = arguments
                text = Path(arguments[0]).read_text(encoding="utf-8")
            exec(compile(text, arguments[0], "exec", dont_inherit=True), {"__name__": "__main__"})
        except Exception as error:
            click.echo(f"{type(error).__name__}: {error}", err=True)
            return 1
        finally:
            sys.argv = before
        return 0
