"""A few daemon threads and a queue.

Not ``concurrent.futures``: its threads are joined when the interpreter exits, and a running LAPACK call
cannot be stopped, so that Ctrl-C in the middle of a large layer would seem to hang for minutes.

A daemon thread must not use torch while the interpreter shuts down. Torch releases the interpreter's lock
even to free a tensor; a thread that then asks for the lock is ended by unwinding its stack, C++ does not let
it, and the process aborts with "terminate called without an active exception". So a pool joins its threads
when it is left. Only an interrupt leaves running tasks behind; those have a few seconds when the interpreter
exits.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self
from weakref import WeakSet

Task = Callable[[], None]

_PATIENCE = 5.0
"""Seconds that the interpreter waits at exit for tasks left behind. What takes longer is mostly within one
LAPACK call, and does not ask for the interpreter's lock before the process has ended."""

_POLL = 0.5
"""Seconds of one wait. Waits are finite, in a loop, so that Ctrl-C reaches the main thread on every
platform."""

_threads: WeakSet[threading.Thread] = WeakSet()


class Pool:
    """Runs tasks on ``threads`` daemon threads, for the length of a ``with`` block.

    When the block is left, queued tasks are dropped and the running ones awaited, unless
    ``KeyboardInterrupt`` leaves it: then they go on, unheeded.
    """

    def __init__(self, threads: int, initialise: Task) -> None:
        self._tasks: deque[Task] = deque()
        self._changed = threading.Condition()
        self._unfinished = 0
        self._closed = False
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._work, args=(initialise,), daemon=True)
            for _ in range(max(1, threads))
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            _threads.add(thread)
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._tasks.clear()
            self._changed.notify_all()
        if not isinstance(error, KeyboardInterrupt):
            for thread in self._threads:
                while thread.is_alive():
                    thread.join(_POLL)

    def submit(self, task: Task) -> None:
        """Queue a task."""
        with self._changed:
            self._tasks.append(task)
            self._unfinished += 1
            self._changed.notify()

    def join(self) -> None:
        """Wait until every task is finished; raise the first thing that one of them raised."""
        with self._changed:
            while self._unfinished and self._error is None:
                self._changed.wait(_POLL)
            if self._error is not None:
                raise self._error

    def _work(self, initialise: Task) -> None:
        initialise()
        while True:
            with self._changed:
                while not self._tasks and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                task = self._tasks.popleft()
            error: BaseException | None = None
            try:
                task()
            except BaseException as raised:  # carried to the thread that waits
                error = raised
            del task  # frees what it holds before it counts as finished
            with self._changed:
                self._unfinished -= 1
                self._error = self._error or error
                self._changed.notify_all()


@atexit.register
def wait_for_tasks() -> None:
    """Wait a few seconds for tasks that an interrupt left behind, so that none is cut off within torch."""
    deadline = time.monotonic() + _PATIENCE
    for thread in list(_threads):
        while thread.is_alive() and time.monotonic() < deadline:
            thread.join(min(_POLL, max(0.0, deadline - time.monotonic())))
