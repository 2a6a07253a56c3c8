"""The one place that knows the exit codes, and how an error looks on stderr.

0 fine · 1 a condition of --fail-on holds · 2 could not judge: usage, unreadable or unsafe input, internal
error · 3 inconclusive: nothing auditable · 130 interrupted · 141 whoever read stdout went away.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import click

from rmtaudit.engine.resources.pool import wait_for_tasks
from rmtaudit.errors import NothingAuditableError, OutputError, RmtauditError, StoppedWorkError
from rmtaudit.names import display_name

FINE, GATE_FAILED, COULD_NOT_JUDGE, INCONCLUSIVE, INTERRUPTED, CLOSED_PIPE = 0, 1, 2, 3, 130, 141
_SEVERITY = (FINE, INCONCLUSIVE, GATE_FAILED, COULD_NOT_JUDGE, INTERRUPTED)
_LONGEST = 2000


def run(command: click.Command, args: Sequence[str] | None = None) -> int:
    """Carry out a command line and return its exit code; nothing is raised."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _invoke(command, args)
        sys.stdout.flush()
    except BrokenPipeError:
        return _closed_pipe()
    except KeyboardInterrupt:
        _say("rmtaudit: interrupted")
        return INTERRUPTED
    except OSError as error:
        if error.errno == errno.EINVAL and os.name == "nt":
            return _closed_pipe()
        return code_of(internal_error(error))
    except Exception as error:
        return code_of(internal_error(error))
    return code


def leave(code: int) -> NoReturn:
    """End this process with an exit code, without taking the interpreter apart.

    To free every object that torch holds takes a third of a second, and its destructors have been seen to
    abort. What others have registered for the end of the process is done before, as ``multiprocessing`` does
    it. Tasks that an interrupt left behind are not waited for: threads cannot harm what is not taken apart.
    """
    atexit.unregister(wait_for_tasks)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # run() has flushed them; nobody may listen any more
            stream.flush()
    os._exit(code)


def worst(codes: Iterable[int]) -> int:
    """Return the exit code of several subjects: 130 before 2 before 1 before 3 before 0."""
    return max(codes, key=_SEVERITY.index, default=FINE)


def code_of(error: RmtauditError) -> int:
    """Return the exit code of an error."""
    if isinstance(error, StoppedWorkError):
        return INTERRUPTED
    return INCONCLUSIVE if isinstance(error, NothingAuditableError) else COULD_NOT_JUDGE


def print_error(error: RmtauditError) -> None:
    """Say on stderr what is wrong, where, and what to do about it."""
    where = f"{display_name(error.where, longest=_LONGEST)}: " if error.where else ""
    _say(f"rmtaudit: error: {where}{display_name(error.message, longest=_LONGEST)} [{error.code}]")
    if error.hint:
        _say(f"  hint: {display_name(error.hint, longest=_LONGEST)}")


def placed(error: RmtauditError, path: Path) -> RmtauditError:
    """Name the subject as the user wrote it: a zoo has a ``model.safetensors`` in every folder."""
    from rmtaudit.checkpoints.remote.addresses import shown

    given, where = shown(path), error.where
    for known in (given, str(path), path.name):
        rest = where.removeprefix(known)
        if known and rest != where and rest[:1] in {"", "/", ":", " "}:
            error.where = f"{given}{rest}"
            return error
    error.where = f"{given}: {where}" if where else given
    return error


def internal_error(error: BaseException, where: str = "") -> RmtauditError:
    """Say on stderr that rmtaudit is at fault, with the traceback if ``RMTAUDIT_DEBUG`` asks for it."""
    debug = bool(os.environ.get("RMTAUDIT_DEBUG"))
    if debug:
        traceback.print_exception(error)
    problem = RmtauditError(
        "RA-IE-001",
        f"Internal error: {type(error).__name__}: {error}",
        hint=""
        if debug
        else ("This is a bug in rmtaudit. Set RMTAUDIT_DEBUG=1 to show the traceback for a bug report."),
        where=where,
    )
    print_error(problem)
    return problem


def _invoke(command: click.Command, args: Sequence[str] | None) -> int:
    stdout, stderr = sys.stdout, sys.stderr
    try:
        # Click itself would end the process with 1 on a closed pipe, an interrupt and its own errors.
        result = command.main(args, prog_name="rmtaudit", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return COULD_NOT_JUDGE
    except click.ClickException as error:
        print_error(_translated(error))
        return COULD_NOT_JUDGE
    except click.Abort:
        raise KeyboardInterrupt from None
    except SystemExit:
        if sys.stdout is stdout:
            raise  # shell completion ends so
        sys.stdout, sys.stderr = stdout, stderr  # on a closed pipe Click has put others in their place
        raise BrokenPipeError from None
    except RmtauditError as error:
        print_error(error)
        return code_of(error)
    return result if isinstance(result, int) else FINE


def _translated(error: click.ClickException) -> RmtauditError:
    if isinstance(error, click.FileError):
        return OutputError("RA-OU-001", error.format_message())
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "rmtaudit"
    return RmtauditError("RA-US-001", error.format_message(), hint=f"See {path} --help.")


def note(*, quiet: bool) -> Callable[[str], None]:
    """Return what says a sentence on stderr, unless the user wants none."""
    return (lambda _: None) if quiet else (lambda sentence: _say(f"rmtaudit: {sentence}"))


def _closed_pipe() -> int:
    # What is still buffered must not fail again when the interpreter flushes stdout at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return CLOSED_PIPE


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # where nobody listens on stderr the exit code still speaks
        print(line, file=sys.stderr, flush=True)
