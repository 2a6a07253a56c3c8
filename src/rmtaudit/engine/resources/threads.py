"""How many threads the linear algebra takes, for as long as it is wanted."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from rmtaudit.engine.resources.cpus import cpus as cpus
from rmtaudit.kernels.determinants.tile_algebra import Workers
from rmtaudit.kernels.spectra.openblas import load

_Handlers = dict[signal.Signals, Callable[[int, FrameType | None], Any] | int | None]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Have OpenBLAS, MKL and torch use ``count`` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Have every BLAS and torch use one thread a caller: the callers are threads themselves."""
    load()
    with threads(1):
        yield


@contextmanager
def workers(count: int, device: str) -> Iterator[Workers | None]:
    """Yield threads that divide tiles among themselves, OpenBLAS at one; ``None``: libraries do it better."""
    if count > 1 and device == "cpu" and load() is not None:
        with threads(1), Workers(count) as pool:
            yield pool
    else:
        with threads(count):
            yield None


@contextmanager
def until_signalled(*signals: signal.Signals) -> Iterator[Callable[[], bool]]:
    """Yield what says whether one of the signals has come; a second one does what it did before.

    Only the main thread may receive signals: elsewhere Python raises ``ValueError``.
    """
    wanted = signals or (signal.SIGTERM, signal.SIGINT)
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        seen.append(number)
        _restore(before)

    before: _Handlers = {}
    try:
        for number in wanted:
            before[number] = signal.signal(number, note)
        yield lambda: bool(seen)
    finally:
        _restore(before)


def _restore(handlers: _Handlers) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
