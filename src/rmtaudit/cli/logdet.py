"""``rmtaudit logdet``: the log-determinant of a matrix, with its error, or why there is none."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmtaudit.cli.errors import FINE, INCONCLUSIVE
from rmtaudit.cli.help import Command
from rmtaudit.cli.logdet_flags import logdet_flags
from rmtaudit.cli.output import DocumentOutput, OutputFile, document_options, output_file
from rmtaudit.cli.progress import steps_watched
from rmtaudit.cli.source_flags import check_source, source_options
from rmtaudit.engine.logdet.settings import Place
from rmtaudit.errors import StoppedWorkError
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from types import FrameType

    from rich.console import Console

    from rmtaudit.engine.logdet.answer import LogDeterminant
    from rmtaudit.engine.logdet.plan import Plan
    from rmtaudit.engine.logdet.settings import LogdetSettings

_LONG = 1e11
"""Operations from which the plan is printed before the work begins: seconds of one core (a choice)."""
_PRINTED = frozenset({"explain"})


@click.command(
    cls=Command,
    examples=[
        ("logdet kernel.npy", "The log-determinant of a matrix in a file"),
        ("logdet model.safetensors::fc.weight", "That of the Gram matrix of a layer"),
        (
            "logdet kernel.zarr --memory 4GB --explain",
            "The methods for a matrix larger than memory",
        ),
    ],
)
@click.argument("source", metavar="SOURCE")
@logdet_flags
@document_options(quiet="Nothing on stderr; with -o, no table either.")
def logdet(source: str, out: DocumentOutput, **flags: Any) -> int:
    """Compute the log-determinant of a matrix, with its error; or say why there is none.

    SOURCE is a .npy file, a zarr array, FILE::LAYER of a checkpoint (as its Gram matrix), a sparse matrix
    (.npz of scipy, .mtx), the points of a kernel, the edges of a graph, or a table of log-determinants. The
    method is chosen by how the matrix can be accessed, its size and the memory; --explain says which and
    why. Exit code 3: refused, or extrapolated from points whose order could not be tested without
    --assume-random-order.
    """
    with handling_signals() as signals:  # first: importing torch takes a second, in which a signal may come
        return _run(source, out, flags, signals)


def _run(source: str, out: DocumentOutput, flags: Mapping[str, Any], signals: Signals) -> int:
    if not flags["series"]:
        check_source(source, flags)
    from rmtaudit.engine.logdet.requests import explain_request, input_paths, settings_of

    settings = settings_of({name: value for name, value in flags.items() if name not in _PRINTED})
    inputs = input_paths(source)
    with ExitStack() as files:
        emit = files.enter_context(out.open(inputs))
        if flags["explain"]:
            document = explain_request(source, source_options(flags), settings, series=flags["series"])
            code = FINE if document["plan"]["method"] else INCONCLUSIVE
        else:
            minors = files.enter_context(output_file(flags["minors"], inputs)) if flags["minors"] else None
            answer = _answer(source, out.quiet, flags, settings, signals)
            if minors is not None:
                _write_minors(minors, answer)
            document = answer.to_dict()
            code = FINE if answer.complete else INCONCLUSIVE
        emit(document, _draw)
    return code


def _answer(
    source: str, quiet: bool, flags: Mapping[str, Any], settings: LogdetSettings, signals: Signals
) -> LogDeterminant:
    from rmtaudit.engine.logdet.requests import answer_request

    how_to_resume: list[str] = []

    with steps_watched("tiles", enabled=not quiet) as progress:

        def announce(plan: Plan, scratch: Path) -> None:
            taken = plan.taken
            if taken is None:
                return
            if taken.place is Place.ON_DISK:
                signals.graceful = True
                folder = shlex.quote(display_name(str(scratch), longest=1000))
                how_to_resume.append(
                    f"--resume --scratch {folder} --memory {plan.budget} --threads {plan.threads}"
                )
            if not quiet and (taken.flops or 0) > _LONG:
                line = f"rmtaudit: {taken.name}, about {taken.flops:.1e} operations"
                click.echo(
                    line
                    + (
                        f"; to continue after an interruption, add {how_to_resume[0]}"
                        if how_to_resume
                        else ""
                    ),
                    err=True,
                )

        try:
            return answer_request(
                source,
                source_options(flags),
                settings,
                series=flags["series"],
                select=flags["select"],
                stop=signals.stop,
                progress=progress,
                announce=announce,
            )
        except StoppedWorkError as stopped:
            click.echo(f"rmtaudit: {stopped.message}", err=True)
            if stopped.kept and how_to_resume:
                click.echo(f"  hint: Run the same command with {how_to_resume[0]} to continue.", err=True)
            raise KeyboardInterrupt from None


def _write_minors(file: OutputFile, answer: LogDeterminant) -> None:
    from rmtaudit.engine.logdet.requests import npy_bytes

    if answer.minors is None:
        click.echo(
            f"rmtaudit: {answer.method or 'this'} does not give leading minors, so none are written", err=True
        )
        return
    file.write_bytes(npy_bytes(answer.minors))


class Signals:
    """What SIGINT and SIGTERM do: end the work between two strips where tiles are kept, else at once.

    A second one always ends it at once.
    """

    def __init__(self) -> None:
        self.graceful = False
        self._seen = False

    def stop(self) -> bool:
        """Say whether the work is to end."""
        return self._seen

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Receive a signal."""
        del number, frame
        if self._seen or not self.graceful:
            raise KeyboardInterrupt
        self._seen = True


@contextmanager
def handling_signals() -> Iterator[Signals]:
    """Receive SIGINT and SIGTERM for as long as the block runs, as :class:`Signals` says."""
    import signal
    import threading

    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = {number: signal.signal(number, signals) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _draw(console: Console, document: Mapping[str, Any]) -> None:
    from rmtaudit.cli.logdet_table import draw_logdet, draw_plan

    if "result" in document:
        draw_logdet(console, document)
    else:
        draw_plan(console, document)
