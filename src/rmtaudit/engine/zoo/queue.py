"""Tasks on the workers of a cluster: a few at a time, again where one is lost, and given up where it kills.

The scheduler never holds more than a few tasks a worker, so that its memory does not grow with the zoo, and a
task that ends its worker takes few others with it.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rmtaudit.engine.zoo.cluster import GPU, Workers
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from distributed import Future

_AHEAD = 2
"""Tasks that wait for each one that runs: the time to ask for another one is some milliseconds."""

_ATTEMPTS = 2
"""Times that a task is carried out before it is given up. A worker that dies twice with it counts as one."""

_TICK = 1.0


@dataclass(frozen=True, slots=True)
class Finished:
    """A task that came back with what its function returned, or was given up for a reason."""

    task: Any
    outcome: Any = None
    reason: str = ""


class TaskQueue:
    """Carries out tasks on workers.

    Parameters
    ----------
    workers
        The opened cluster.
    function
        What is done with a task, in a worker.
    gpu
        Whether a task takes a GPU.
    """

    def __init__(self, workers: Workers, function: Callable[[Any], Any], *, gpu: bool = False) -> None:
        self._workers, self._function = workers, function
        self._resources = {GPU: 1} if gpu else None
        self._waiting: deque[tuple[Any, int]] = deque()
        self._running: dict[str, tuple[Future[Any], Any, int]] = {}
        self._done: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._number = 0
        self.tasks = 0
        self.retries = 0

    def add(self, task: Any, *, first: bool = False) -> None:
        """Queue a task, before all others that wait if ``first``."""
        (self._waiting.appendleft if first else self._waiting.append)((task, 1))

    def results(self) -> Iterator[Finished | None]:
        """Yield tasks as they come back, until none is left; ``None`` now and then, for whoever watches.

        More may be added meanwhile.
        """
        while self._waiting or self._running:
            while self._waiting and len(self._running) < self._workers.slots * (1 + _AHEAD):
                self._submit(*self._waiting.popleft())
            try:
                key = self._done.get(timeout=_TICK)
            except queue.Empty:
                yield None
                continue
            finished = self._finished(key)
            if finished is not None:
                yield finished

    def _submit(self, task: Any, attempt: int) -> None:
        self._number += 1
        key = f"rmtaudit-{id(self):x}-{self._number}"
        future = self._workers.client.submit(
            self._function, task, key=key, pure=False, resources=self._resources, priority=-self._number
        )
        self._running[key] = (future, task, attempt)
        future.add_done_callback(lambda _: self._done.put(key))

    def _finished(self, key: str) -> Finished | None:
        """Return what came of a task; ``None`` where it is carried out once more."""
        from distributed import KilledWorker

        future, task, attempt = self._running.pop(key)
        self.tasks += 1
        try:
            outcome = future.result()
        except KilledWorker as error:
            deaths = error.allowed_failures + 1
            self.retries += error.allowed_failures
            reason = f"its worker was ended {deaths} times while it ran, most likely for want of memory"
            return Finished(task, reason=reason)
        except Exception as error:  # whatever a worker raised: it is reported with the model
            if attempt < _ATTEMPTS:
                self.retries += 1
                self._waiting.append((task, attempt + 1))
                return None
            return Finished(task, reason=display_name(f"{type(error).__name__}: {error}", longest=300))
        finally:
            future.release()
        return Finished(task, outcome)
