"""Tasks on the workers of a cluster: a few at a time, again where one is lost, and given up where it kills.

The scheduler never holds more than a few tasks a worker, so that its memory does not grow with the zoo, and a
task that ends its worker takes few others with it. Tasks are handed out, and their outcomes fetched, as many
at once as there are: with 64 workers that halves what a task costs (``benchmarks/zoo.py scheduler``).
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
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
            room = self._workers.slots * (1 + _AHEAD) - len(self._running)
            if room >= self._workers.slots or not self._running:
                self._submit(min(room, len(self._waiting)))
            ended = self._ended()
            if not ended:
                yield None
            yield from self._finished(ended)

    def _submit(self, count: int) -> None:
        """Hand tasks to the scheduler, all in one message, which costs more than what is in it."""
        if count <= 0:
            return
        batch = [self._waiting.popleft() for _ in range(count)]
        keys = [f"rmtaudit-{id(self):x}-{self._number + place:010}" for place in range(count)]
        self._number += count
        futures = self._workers.client.map(
            self._function,
            [task for task, _ in batch],
            key=keys,
            pure=False,
            resources=self._resources,
            priority=-self._number,
        )
        for key, future, (task, attempt) in zip(keys, futures, batch, strict=True):
            self._running[key] = (future, task, attempt)
            future.add_done_callback(lambda _, key=key: self._done.put(key))

    def _ended(self) -> list[str]:
        """Return the keys of all tasks that have ended; none after a second without any."""
        keys = []
        with suppress(queue.Empty):
            keys.append(self._done.get(timeout=_TICK))
            while True:
                keys.append(self._done.get_nowait())
        return keys

    def _finished(self, keys: Sequence[str]) -> Iterator[Finished]:
        """Yield what came of tasks; not of those that are carried out once more."""
        ended = [self._running.pop(key) for key in keys]
        self.tasks += len(ended)
        sound = {future.key: future for future, _, _ in ended if future.status == "finished"}
        outcomes = self._workers.client.gather(sound, errors="skip") if sound else {}
        for future, task, attempt in ended:
            finished: Finished | None
            if future.key in outcomes and future.status == "finished":
                finished = Finished(task, outcomes[future.key])
            else:
                finished = self._failed(future, task, attempt)
            future.release()
            if finished is not None:
                yield finished

    def _failed(self, future: Future[Any], task: Any, attempt: int) -> Finished | None:
        """Return what came of a task that was not seen to succeed; ``None`` where it is carried out again."""
        from distributed import KilledWorker

        try:
            return Finished(task, future.result())
        except KilledWorker as error:
            deaths = error.allowed_failures + 1
            self.retries += error.allowed_failures
            reason = f"its worker was ended {deaths} times while it ran, most likely for lack of memory"
            return Finished(task, reason=reason)
        except Exception as error:  # whatever a worker raised: it is reported with the model
            if attempt < _ATTEMPTS:
                self.retries += 1
                self._waiting.append((task, attempt + 1))
                return None
            return Finished(task, reason=display_name(f"{type(error).__name__}: {error}", longest=300))
