"""How far a scan has come, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rmtaudit.names import display_name

if TYPE_CHECKING:
    from rmtaudit.engine.resources.progress import Estimate, Progress

Watcher = Callable[["Progress"], None]

_EVERY = 10.0
"""Seconds between two lines where stderr is no terminal."""
_FIRST = 2.0


@contextmanager
def watch(subject: str, *, enabled: bool) -> Iterator[Watcher | None]:
    """Yield the callback for the steps of one subject's scan; ``None`` where nothing is shown."""
    name = display_name(subject, longest=60)
    if not enabled:
        yield None
    elif sys.stderr.isatty():
        with _bar(name) as watcher:
            yield watcher
    else:
        yield line_every(_EVERY, name)


def expectation(*, streamed: bool) -> Callable[[Estimate], None]:
    """Return what prints on stderr how long a scan will take."""

    def say(estimate: Estimate) -> None:
        print(f"rmtaudit: {expected_line(estimate, streamed=streamed)}", file=sys.stderr, flush=True)

    return say


def expected_line(estimate: Estimate, *, streamed: bool = False) -> str:
    """Return how many layers there are, how long they will take, and what would be faster."""
    cpus = f"{estimate.threads} CPU{'s' * (estimate.threads != 1)}"
    layers = f"{estimate.layers:,} layer{'s' * (estimate.layers != 1)}"
    transfer = ", without the transfer" if streamed else ""
    least, most = _duration(estimate.seconds), _duration(estimate.seconds_most)
    noise = "" if most == least else f", {most} if every layer is noise"
    line = f"{layers}; about {least} on {cpus}{transfer}{noise}."
    if estimate.seconds_fast is None:
        return line
    return (
        f"{line} `--preset fast`, which gives no verdicts, would take about "
        f"{_duration(estimate.seconds_fast)}."
    )


def _duration(seconds: float) -> str:
    if seconds < 50:
        return f"{max(round(seconds / 10), 1) * 10} seconds"
    minutes = max(round(seconds / 60), 1)
    if minutes < 100:
        return f"{minutes} minute{'s' * (minutes != 1)}"
    return f"{seconds / 3600:.1f} hours"


def line_every(seconds: float, name: str, clock: Callable[[], float] = time.monotonic) -> Watcher:
    """Return a watcher that writes at most one line in so many seconds; threads may share it."""
    lock = threading.Lock()
    next_at = clock() + seconds

    def watcher(step: Progress) -> None:
        nonlocal next_at
        with lock:
            if clock() < next_at:
                return
            next_at = clock() + seconds
        share = step.parameters_done / max(step.parameters_total, 1)
        line = f"rmtaudit: {name}: {step.done} of {step.total} layers, {share:.0%} of the parameters"
        print(line, file=sys.stderr, flush=True)

    return watcher


@contextmanager
def steps_watched(what: str, *, enabled: bool) -> Iterator[Callable[[int, int], None]]:
    """Yield the callback for finished and all steps: a bar on a terminal, else a line now and then."""
    if enabled and sys.stderr.isatty():
        with _bar(what, of=what) as bar:
            yield lambda done, total: bar(_step(done, total))
        return
    started = next_at = time.monotonic()
    next_at += _FIRST

    def watcher(done: int, total: int) -> None:
        nonlocal next_at
        now = time.monotonic()
        if not enabled or now < next_at or done >= total:
            return
        next_at = now + _EVERY
        elapsed = now - started
        line = f"rmtaudit: {done:,} of {total:,} {what} after {elapsed:.0f} s"
        print(line, file=sys.stderr, flush=True)

    yield watcher


def _step(done: int, total: int) -> Progress:
    from rmtaudit.engine.resources.progress import Progress

    return Progress(done=done, total=total, name="", parameters_done=done, parameters_total=total)


@contextmanager
def _bar(name: str, *, of: str = "layers") -> Iterator[Watcher]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[steps]}", markup=False),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True, highlight=False), transient=True) as bar:
        task = bar.add_task(name, total=None, steps="")

        def watcher(step: Progress) -> None:
            bar.update(
                task,
                total=step.parameters_total,
                completed=step.parameters_done,
                steps=f"{step.done}/{step.total} {of}",
            )

        yield watcher
