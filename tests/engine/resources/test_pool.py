"""The pool of threads: what it frees and joins, and processes that end right after one was used."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import weakref

import pytest

from rmtaudit.engine.resources.pool import Pool, Task

COMPARE = """
import torch, rmtaudit
generator = torch.Generator().manual_seed(0)
base = {f"{index}.weight": torch.randn(64, 64, generator=generator) for index in range(6)}
rmtaudit.compare(base, {name: tensor.bfloat16() for name, tensor in base.items()}, threads=4)
"""

SLOW_TO_FREE = """
import torch
from rmtaudit.engine.resources.pool import Pool

def task(tensor):
    return lambda: tensor.shape

with Pool(2, initialise=lambda: None) as pool:
    for _ in range(2):
        pool.submit(task(torch.ones(30_000_000)))
    pool.join()
"""

INTERRUPTED = """
import threading, torch
from rmtaudit.engine.resources.pool import Pool

running = threading.Event()

def task():
    for _ in range(10):
        tensor = torch.ones(8_000_000)
        running.set()
        del tensor

try:
    with Pool(2, initialise=lambda: None) as pool:
        for _ in range(2):
            pool.submit(task)
        running.wait()
        raise KeyboardInterrupt
except KeyboardInterrupt:
    pass
"""


class Held:
    """Something that a task holds."""

    used = False


def nothing() -> None:
    pass


@pytest.mark.parametrize(("script", "times"), [(COMPARE, 2), (SLOW_TO_FREE, 1), (INTERRUPTED, 1)])
def test_a_process_that_used_threads_ends_without_an_abort(script: str, times: int) -> None:
    for _ in range(times):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_leaving_a_pool_joins_its_threads() -> None:
    before = threading.active_count()
    with Pool(3, initialise=nothing) as pool:
        assert threading.active_count() == before + 3
        pool.submit(lambda: time.sleep(0.05))
    assert threading.active_count() == before


def test_a_task_is_freed_before_it_counts_as_finished() -> None:
    def holding(held: Held) -> Task:
        return lambda: setattr(held, "used", True)

    with Pool(1, initialise=nothing) as pool:
        held = Held()
        freed = weakref.ref(held)
        pool.submit(holding(held))
        del held
        pool.join()
        assert freed() is None


def test_an_error_of_a_task_is_raised_after_the_running_ones_ended() -> None:
    ended = threading.Event()

    def failing() -> None:
        raise ValueError("of a task")

    def slow() -> None:
        time.sleep(0.1)
        ended.set()

    def run() -> None:
        with Pool(2, initialise=nothing) as pool:
            pool.submit(slow)
            pool.submit(failing)
            pool.join()

    with pytest.raises(ValueError, match="of a task"):
        run()
    assert ended.is_set()


def test_an_interrupt_does_not_wait_for_running_tasks() -> None:
    released = threading.Event()

    def waiting() -> None:
        released.wait()

    def run() -> None:
        with Pool(1, initialise=nothing) as pool:
            pool.submit(waiting)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert not released.is_set()
    released.set()
