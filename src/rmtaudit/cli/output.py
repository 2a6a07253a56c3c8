"""Where a result goes: stdout, or a file that is either the old one or the whole new one.

:func:`document_options` gives a command the flags ``--format``, ``--output`` and ``--quiet`` and, in their
place, one argument ``out``; ``with out.open(inputs) as emit`` then writes the document that it is given.
"""

from __future__ import annotations

import functools
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rmtaudit.errors import OutputError, UsageError
from rmtaudit.report.formats import FORMATS, SUFFIXES

if TYPE_CHECKING:
    from rich.console import Console

    Draw = Callable[[Console, Any], None]
    Emit = Callable[[Any, Draw], None]

Command = TypeVar("Command", bound=Callable[..., Any])
Result = TypeVar("Result")

ALL_FORMATS = ("table", *FORMATS)
DOCUMENT_FORMATS = ("table", "json")
"""Those of a result that is not a report of a scan."""

_OUTPUT_HELP = "Write the result to a file, in the format of its ending; the table still goes to stdout."


@dataclass(frozen=True, slots=True)
class DocumentOutput:
    """What the flags say about where the document of a command goes."""

    format: str
    path: Path | None
    quiet: bool

    @contextmanager
    def open(self, inputs: Sequence[Path], dumps: Callable[[Any], str] | None = None) -> Iterator[Emit]:
        """Open the file, if there is one, and give the function that writes a document and draws its table.

        ``dumps`` returns a document as JSON; :func:`rmtaudit.report.document.dumps` where it is ``None``.

        A file gets the chosen format. The table goes to stdout as well, unless the command is quiet; without
        a file, stdout gets the chosen format. Raises ``OutputError`` as :func:`output_file`.
        """
        with output_file(self.path, inputs) if self.path else nullcontext() as file:
            yield functools.partial(self._emit, file, dumps or _dumps)

    def _emit(self, file: OutputFile | None, dumps: Callable[[Any], str], document: Any, draw: Draw) -> None:
        from rmtaudit.cli.table import drawn_text, stdout_console

        json = self.format == "json"
        if file is not None:
            file.write(dumps(document) if json else drawn_text(lambda console: draw(console, document)))
        if file is None and json:
            sys.stdout.write(dumps(document))
        elif file is None or not self.quiet:
            draw(stdout_console(), document)


def _dumps(document: Mapping[str, Any]) -> str:
    from rmtaudit.report.document import dumps

    return dumps(document)


def document_options(*, quiet: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Add the output flags to a command whose result is a document; ``quiet`` is the help of ``--quiet``."""

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def wrapped(*args: Any, format_: str | None, output: Path | None, quiet: bool, **flags: Any) -> int:
            chosen = format_for(format_, output, DOCUMENT_FORMATS)
            return command(*args, out=DocumentOutput(chosen, output, quiet), **flags)

        with_quiet = click.option("-q", "--quiet", is_flag=True, help=quiet)(wrapped)
        return output_options(DOCUMENT_FORMATS)(with_quiet)

    return decorate


def document_table_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add ``--top`` and the output flags to a command whose result is a document and a table of its rows."""
    return click.option(
        "--top",
        metavar="N",
        type=click.IntRange(min=0),
        default=40,
        show_default=True,
        help="Rows of the table; 0: all.",
    )(document_options(quiet="With -o, no table.")(command))


def output_options(formats: Sequence[str], help_: str = _OUTPUT_HELP) -> Callable[[Command], Command]:
    """Add ``--format`` and ``--output`` to a command."""

    def decorate(command: Command) -> Command:
        path = click.Path(path_type=Path)
        command = click.option("-o", "--output", metavar="FILE", type=path, help=help_)(command)
        choice = click.Choice(formats)
        return click.option("--format", "format_", type=choice, help="Format of the result.")(command)

    return decorate


def rows_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """Add ``--top`` and ``--all`` to a command and give it one argument ``top``: 0 for all rows."""

    @functools.wraps(command)
    def wrapped(*args: Any, top: int | None, all_rows: bool, **flags: Any) -> Result:
        return command(*args, top=0 if all_rows else top, **flags)

    every = click.option(
        "--all",
        "all_rows",
        is_flag=True,
        help=("Show every row of the table, and every finding as a sentence."),
    )(wrapped)
    return click.option(
        "--top",
        metavar="N",
        type=click.IntRange(min=0),
        help=(
            "Number of rows of the table; 0 for all. By default, the rows with findings, and a "
            "strip for each role of repeated blocks or a few other rows."
        ),
    )(every)


def json_detail_option(command: Command) -> Command:
    """Add ``--json-detail`` to a command."""
    return click.option(
        "--json-detail",
        type=click.Choice(["full", "summary"]),
        help="For json and jsonl: summary omits spectra, evidence, and metrics that no table shows.",
    )(command)


def require_json(detail: str | None, format_: str) -> None:
    """Raise ``UsageError`` (RA-US-003) for a detail of JSON where the format is another one."""
    if detail is not None and format_ not in ("json", "jsonl"):
        raise UsageError(
            "RA-US-003",
            f"--json-detail has no effect on the format {format_}.",
            hint="Add --format json, or -o with a file that ends in .json.",
        )


def format_for(chosen: str | None, output: Path | None, formats: Sequence[str] = ALL_FORMATS) -> str:
    """Return the format of a result: the chosen one, else what the file's ending says, else the table.

    Raises ``UsageError`` (RA-US-002) for an ending that says none of ``formats``.
    """
    if chosen is not None:
        return chosen
    if output is None or output.suffix.lower() == ".txt":
        return "table"
    implied = SUFFIXES.get(output.suffix.lower(), "")
    if implied not in formats:
        raise UsageError(
            "RA-US-002",
            f"The file ending {output.suffix!r} does not indicate a format.",
            hint=f"Add --format {'|'.join(formats)}.",
            where=str(output),
        )
    return implied


@dataclass(slots=True)
class OutputFile:
    """A file to be written at the end of a run."""

    target: Path
    temporary: Path | None

    def write(self, text: str) -> None:
        """Write the whole file; a reader sees the old one or this. Raises ``OutputError`` (RA-OU-003)."""
        self.write_bytes(text.encode())

    def write_bytes(self, data: bytes) -> None:
        """As :meth:`write`, of what is not text."""
        try:
            if self.temporary is None:
                self.target.write_bytes(data)
                return
            with self.temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self.temporary.replace(self.target)
        except OSError as error:
            raise _refusal("RA-OU-003", "The file cannot be written", self.target, error) from error


@contextmanager
def output_file(path: Path, inputs: Sequence[Path] = ()) -> Iterator[OutputFile]:
    """Open a file for writing at the end; whether it can be written is found out now.

    A temporary file in the same folder takes the text and then its place. A device or a pipe is written
    directly.

    Raises
    ------
    OutputError
        RA-OU-002 where the path is a folder, one of the inputs, or nothing can be created there.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode if target.exists() else stat.S_IFREG
        if stat.S_ISDIR(mode):
            raise OutputError("RA-OU-002", "Is a folder.", hint="Name a file.", where=str(path))
        refuse_input(path, inputs)
        temporary = None
        if stat.S_ISREG(mode):
            temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.tmp")
            temporary.touch(exist_ok=False)
    except OSError as error:
        raise _refusal("RA-OU-002", "The file cannot be written", path, error) from error
    try:
        yield OutputFile(target, temporary)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def refuse_input(path: Path, inputs: Sequence[Path]) -> None:
    """Raise ``OutputError`` (RA-OU-002) where a path is one of the inputs."""
    if path.exists() and any(item.exists() and item.samefile(path) for item in inputs):
        raise OutputError(
            "RA-OU-002", "The output file is one of the inputs.", hint="Name another file.", where=str(path)
        )


def _refusal(code: str, message: str, path: Path, error: OSError) -> OutputError:
    reason = error.strerror or type(error).__name__
    return OutputError(code, f"{message}: {reason}.", where=str(path))
