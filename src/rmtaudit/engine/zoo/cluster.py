"""The workers of a zoo: processes of this machine, or those of a Dask scheduler that runs somewhere else."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rmtaudit.engine.resources.cpus import cpus
from rmtaudit.engine.resources.device_names import Device
from rmtaudit.engine.resources.memory import free_memory
from rmtaudit.errors import UsageError
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from distributed import Client

GPU = "GPU"
"""The resource that a task of a GPU takes one of: `dask worker --resources GPU=1`."""

_PATIENCE = 30
"""Seconds to wait for a scheduler, and for its first worker."""

_SHARE = 0.9
"""Share of the free memory that the workers may take together."""

_BUDGET = 0.5
"""Share of a worker's memory for matrices in flight; the rest is the interpreter, torch and copies."""

_GPU_FILES = ("nvidia*", "nvhost*", "nvmap", "dxg", "kfd")
"""Device files of GPUs on Linux: NVIDIA, its Tegra boards, Windows below WSL, and AMD."""

_CONFIG = {
    "distributed.scheduler.allowed-failures": 1,  # a task that killed two workers is given up
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.worker.memory.target": False,  # workers hold no results that could be written to disk
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.comm.timeouts.connect": f"{_PATIENCE}s",
    "distributed.admin.log-format": "%(message)s",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """Which workers there are.

    Attributes
    ----------
    scheduler
        Address of a scheduler that runs already; ``None`` for processes of this machine.
    workers
        Number of these processes; ``None``: the CPUs of this process.
    memory
        Bytes at which such a process is ended; ``None``: its share of the free memory.
    budget
        Bytes for the matrices in flight of a worker; ``None``: half of its memory.
    device
        ``auto``: for processes of this machine, a GPU where there is one.
    """

    scheduler: str | None = None
    workers: int | None = None
    memory: int | None = None
    budget: int | None = None
    device: Device = "auto"

    def resolved(self) -> ClusterOptions:
        """Return the options with a number for everything."""
        device = self.device
        if device == "auto":
            device = "cuda" if self.scheduler is None and _has_gpu() else "cpu"
        workers = self.workers or (1 if device == "cuda" else cpus())
        memory = self.memory or int(_SHARE * free_memory() / workers)
        budget = self.budget or int(_BUDGET * memory)
        return ClusterOptions(
            scheduler=self.scheduler, workers=workers, memory=memory, budget=budget, device=device
        )


@dataclass(frozen=True, slots=True)
class Workers:
    """An opened cluster: its client, how many tasks run at once, and the address of its dashboard."""

    client: Client
    slots: int
    dashboard: str


def require_dask() -> None:
    """Raise ``UsageError`` (RA-ZO-010) where Dask is not installed."""
    if find_spec("distributed") is None:
        raise UsageError(
            "RA-ZO-010",
            "The audit of a zoo runs on Dask, which is not installed.",
            hint="pip install 'rmtaudit[zoo]'",
        )


@contextmanager
def opened_cluster(options: ClusterOptions) -> Iterator[Workers]:
    """Start the workers, or connect to those of a scheduler, and end what was started.

    ``options`` are resolved. Raises ``UsageError``: RA-ZO-010 without Dask; RA-ZO-011 where the scheduler
    cannot be reached, or has no workers.
    """
    require_dask()
    import dask.config
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with dask.config.set(_CONFIG):
        if options.scheduler is not None:
            try:
                client = Client(options.scheduler, timeout=_PATIENCE, set_as_default=False)
                client.wait_for_workers(1, timeout=_PATIENCE)
            except (OSError, ValueError, TimeoutError) as error:
                raise UsageError(
                    "RA-ZO-011",
                    f"No workers of this scheduler can be reached: {display_name(str(error))}.",
                    hint="Start `dask scheduler` and `dask worker`, and give the address that it prints.",
                    where=display_name(options.scheduler),
                ) from None
            with client:
                yield Workers(client, _slots(client), client.dashboard_link or "")
            return
        resources = {GPU: 1} if options.device == "cuda" else None
        with (
            LocalCluster(
                n_workers=options.workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=options.memory,
                resources=resources,
                dashboard_address="127.0.0.1:0",  # None would take port 8787
                silence_logs=logging.CRITICAL,
                local_directory=os.environ.get("TMPDIR"),
            ) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            yield Workers(client, options.workers or 1, cluster.dashboard_link if find_spec("bokeh") else "")


class Cluster:
    """The workers of a run, which are started when they are first asked for, and ended with the block."""

    def __init__(self, options: ClusterOptions) -> None:
        self.options = options.resolved()
        self._opened = ExitStack()
        self._workers: Workers | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    def workers(self) -> Workers:
        """Return the workers. Raises as :func:`opened_cluster`."""
        if self._workers is None:
            self._workers = self._opened.enter_context(opened_cluster(self.options))
        return self._workers


def _slots(client: Client) -> int:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return max(1, sum(int(worker["nthreads"]) for worker in workers.values()))


def _has_gpu() -> bool:
    """Whether torch can use a GPU. It is not imported on Linux without the device file of one."""
    if sys.platform == "linux" and not any(any(Path("/dev").glob(name)) for name in _GPU_FILES):
        return False
    import torch

    return torch.cuda.is_available()
