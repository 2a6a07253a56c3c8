"""A few daemon threads and a queue.

Not ``concurrent.futures``: its threads are joined when the interpreter exits, and a running LAPACK call
cannot be stopped, so that Ctrl-C in the middle of a large layer would seem to hang for minutes. Daemon
threads are left behind.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Task = Callable[[], None]


class Pool:
    """Runs tasks on ``threads`` daemon threads; ``join`` raises the first thing that one of them raised."""

    def __init__(self, threads: int, initialise: Task) -> None:
        self._tasks: deque[Task] = deque()
        self._changed = threading.Condition()
        self._unfinished = 0
        self._closed = False
        self._error: BaseException | None = None
        for _ in range(max(1, threads)):
            threading.Thread(target=self._work, args=(initialise,), daemon=True).start()

    def submit(self, task: Task) -> None:
        """Queue a task."""
        with self._changed:
            self._tasks.append(task)
            self._unfinished += 1
            self._changed.notify()

    def join(self) -> None:
        """Wait until every task is finished; raise the first thing that one of them raised."""
        with self._changed:
            # A finite wait, in a loop: so that Ctrl-C reaches the main thread on every platform.
            while self._unfinished and self._error is None:
                self._changed.wait(timeout=0.5)
            if self._error is not None:
                raise self._error

    def abandon(self) -> None:
        """Drop what is queued and let idle threads end; idempotent. Running tasks go on, unheeded."""
        with self._changed:
            self._closed = True
            self._tasks.clear()
            self._changed.notify_all()

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
            with self._changed:
                self._unfinished -= 1
                self._error = self._error or error
                self._changed.notify_all()
