"""Form a kernel, block by block, in the order of its leading minors."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from rmtaudit.engine.kernel.array import Blocks, KernelArray, kept_size
from rmtaudit.engine.kernel.features import Features, Forming
from rmtaudit.engine.kernel.hidden import Hidden, hidden_for
from rmtaudit.engine.kernel.routes import Route
from rmtaudit.engine.kernel.settings import KernelKind, KernelSettings
from rmtaudit.engine.kernel.spill import Spill
from rmtaudit.engine.kernel.trial import forming_for
from rmtaudit.engine.networks import Network, Samples
from rmtaudit.engine.resources.memory import free_memory
from rmtaudit.errors import StoppedWorkError

_BUDGET = 2 << 30
"""Bytes of memory at most, unless more is given: a choice."""
_HELD = 4
"""Times the features of a block that forming them takes: graph, gradients and their copies (a choice)."""
_SIDE = 1024
"""Rows of a block at most, so that a chunk takes 8 MiB and FLODANCE may stop early (a choice)."""


class Maker(Protocol):
    """What makes the features of samples."""

    @property
    def words(self) -> str:
        """What a row of the kernel is."""

    def features(self, indices: range | list[int]) -> Features:
        """Return the features of some samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel that can be formed.

    Attributes
    ----------
    network, samples
        What it is of; the samples in the order of the rows.
    settings
        As given.
    maker
        Of the features.
    outputs
        Rows a sample.
    blocks
        How the rows are divided.
    """

    network: Network
    samples: Samples
    settings: KernelSettings
    maker: Forming | Hidden
    outputs: int
    blocks: Blocks

    @property
    def dtype(self) -> str:
        """Of the entries."""
        return "float64" if self.network.dtype is torch.float64 else "float32"

    @property
    def arithmetic(self) -> str:
        """In which arithmetic the entries are computed."""
        network = str(self.network.dtype).removeprefix("torch.")
        what = "outputs and gradients" if self.settings.kind is KernelKind.NTK else "features"
        return f"{what} in {network}, inner products in {self.dtype}, stored as {self.dtype}"

    def facts(self) -> dict[str, Any]:
        """Return what tells the kernel from another, as JSON values."""
        return {
            "kernel": str(self.settings.kind),
            "rows": self.maker.words,
            "arithmetic": self.arithmetic,
            "network": self.network.digest,
            "data": self.samples.digest,
            "order": f"shuffled with seed {self.settings.seed}" if self.settings.shuffle else "of the file",
        }

    def routes(self) -> dict[str, Any]:
        """Return how the Jacobians are had, as JSON values."""
        if isinstance(self.maker, Hidden):
            return {}
        routes = self.maker.routes
        return {
            "parameters": routes.count(),
            "by_route": {str(route): sum(each.value.numel() for each in routes.of(route)) for route in Route},
            "slow": {each.name: each.why for each in routes.of(Route.SAMPLES)},
        }


def kernel_of(network: Network, samples: Samples, settings: KernelSettings, out: Path) -> Kernel:
    """Return the kernel that the settings ask for; a few samples are tried, nothing is written.

    Raises
    ------
    UsageError
        As :func:`~rmtaudit.engine.kernel.trial.forming_for` and
        :func:`~rmtaudit.engine.kernel.hidden.hidden_for`.
    """
    if settings.shuffle:
        generator = torch.Generator().manual_seed(settings.seed)
        samples = samples.reordered(torch.randperm(len(samples), generator=generator).tolist())
    memory = settings.memory or min(_BUDGET, free_memory() // 2)
    maker: Forming | Hidden
    if settings.kind is KernelKind.CK:
        maker, outputs = hidden_for(network, samples, settings), 1
    else:
        maker = forming_for(network, samples, settings)
        outputs = maker.readout.outputs
    kept = kept_size(out) if settings.resume else None
    size = settings.block or kept or _block_size(maker, len(samples), outputs, memory)
    blocks = Blocks(samples=len(samples), outputs=outputs, size=min(size, len(samples)))
    return Kernel(
        network=network,
        samples=samples,
        settings=settings,
        maker=maker,
        outputs=outputs,
        blocks=blocks,
    )


def _block_size(maker: Maker, samples: int, outputs: int, memory: int) -> int:
    """Return how many samples a block has: two of them, and what forming one takes, fit the memory."""
    trial = min(2, samples)
    each = max(1, maker.features(range(trial)).nbytes // trial)
    fitting = memory // ((2 + _HELD) * each)
    return max(1, min(samples, fitting, max(1, _SIDE // outputs)))


@dataclass(slots=True, kw_only=True)
class Formation:
    """A kernel on its way to disk.

    Attributes
    ----------
    kernel, array
        What is formed, and where it goes.
    spill
        Features of blocks that are not held.
    stop
        Says whether to stop between two blocks.
    progress
        Called with the finished blocks and all.
    seconds, made
        Time that forming took, and blocks of features that were made.
    """

    kernel: Kernel
    array: KernelArray
    spill: Spill
    stop: Callable[[], bool] = lambda: False
    progress: Callable[[int, int], None] = lambda _done, _total: None
    seconds: float = 0.0
    made: int = 0
    _held: dict[int, Features] = field(default_factory=dict)

    def form(self, rows: int | None = None) -> None:
        """Form the leading rows and columns; ``None``: all.

        Raises
        ------
        StoppedWorkError
            If ``stop`` says so; finished blocks are kept.
        """
        blocks = self.kernel.blocks
        last = blocks.count if rows is None else -(-rows // (blocks.size * blocks.outputs))
        started = time.perf_counter()
        try:
            for row, col in self.array.pending():
                if row >= last:
                    return
                if self.stop():
                    done, total = self.array.finished, blocks.total
                    raise StoppedWorkError(
                        f"The run was stopped with {done} of {total} blocks formed.", kept=True
                    )
                values = self._products(row, col)
                self.array.write(row, col, (values + values.T) / 2 if row == col else values)
                self.progress(self.array.finished, blocks.total)
        finally:
            self.seconds += time.perf_counter() - started
            if self.array.complete:
                self._release()

    def close(self) -> None:
        """Let go of features, in memory and on disk, and of the array."""
        self._release()
        self.array.close()

    def _release(self) -> None:
        self._held.clear()
        self.spill.clear()

    def _products(self, row: int, col: int) -> torch.Tensor:
        """Return a block of the kernel; only the features of its two blocks of samples are held."""
        for block in self._held.keys() - {row, col}:
            del self._held[block]
        own = self._features(row)
        return own.products(self._features(col))

    def _features(self, block: int) -> Features:
        """Return the features of a block: those that are held, or from disk, or formed."""
        if block not in self._held:
            features = self.spill.read(block)
            if features is None:
                features = self.kernel.maker.features(self.kernel.blocks.indices(block))
                self.made += 1
                self.spill.write(block, features)
            self._held[block] = features
        return self._held[block]


def open_formation(
    kernel: Kernel,
    out: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Formation:
    """Open the array of a kernel, new or, with ``resume``, as it was left.

    Raises as :class:`~rmtaudit.engine.kernel.array.KernelArray`.
    """
    array = KernelArray(out, kernel.blocks, kernel.dtype, kernel.facts(), resume=kernel.settings.resume)
    spill = Spill(folder=array.spill, blocks=kernel.blocks.count, device=kernel.network.device)
    spill.clear()  # what was left by a kill
    return Formation(kernel=kernel, array=array, spill=spill, stop=stop, progress=progress)


def finished_facts(kernel: Kernel, samples: int) -> Mapping[str, Any]:
    """Return the attributes of an array whose leading samples are formed."""
    return {
        **kernel.facts(),
        "network_name": kernel.network.name,
        "data_name": kernel.samples.name,
        "samples": samples,
        "outputs": kernel.outputs,
        "samples_of_file": kernel.blocks.samples,
    }
