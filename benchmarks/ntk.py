"""Forming a neural tangent kernel: CPU seconds and memory, beside a plain block loop of torch.func.

    python benchmarks/ntk.py                     # the table of docs/benchmarks.md
    python benchmarks/ntk.py --only "cnn 32"     # one network
    python benchmarks/ntk.py --routes            # multiplications from factors and from Jacobians

Both sides form one half in blocks of the same size, in float64, with one thread, and hold two blocks at most.
Ours is the whole of ``rmtaudit kernel ntk``, the trial of the routes and the array on disk included. The loop
is that of PyTorch's tutorial on neural tangent kernels: for a pair of blocks the Jacobians of both by
``vmap(jacrev)``, contracted by parameter. ``kept`` is the same loop where the Jacobians of the first block
are made once for a row of blocks.
Memory is the peak of the process above what it held before, each side in a process of its own.
"""

from __future__ import annotations

import argparse
import functools
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import zarr
from torch import nn

from rmtaudit.engine.kernel.run import kernel_of, open_formation
from rmtaudit.engine.kernel.settings import KernelSettings
from rmtaudit.engine.networks.network import Network, Origin, TokenFacts
from rmtaudit.engine.networks.samples import Samples
from rmtaudit.kernels.ntk import Factors, Rows, contract, jacobian

TOKENS = TokenFacts(vocabulary=50, longest=None, pad=0, encode=None)


def cnn(width: int) -> nn.Module:
    """Three convolutions on 8 x 8 images, 10 outputs."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(4 * width, 10),
    )  # fmt: skip


class Attention(nn.Module):
    """Self-attention with four heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [each(x).unflatten(2, (4, -1)).transpose(1, 2) for each in (self.query, self.key, self.value)]
        weights = torch.softmax(parts[0] @ parts[1].transpose(2, 3) / parts[0].shape[3] ** 0.5, 3)
        return self.out((weights @ parts[2]).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A block of a transformer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention, self.first, self.second = Attention(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.first(x))
        return x + self.down(nn.functional.gelu(self.up(self.second(x))))


class Transformer(nn.Module):
    """Two blocks on 8 tokens, 10 outputs of the mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(50, width), nn.Linear(width, 10)
        self.body = nn.Sequential(Block(width), Block(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.embed(x)).mean(1))


IMAGES, WORDS = (1, 8, 8), (8,)
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int, int, str]] = {
    "cnn 16": (lambda: cnn(16), IMAGES, 128, 32, "all"),
    "cnn 32": (lambda: cnn(32), IMAGES, 128, 32, "all"),
    "cnn 32, sum": (lambda: cnn(32), IMAGES, 256, 64, "sum"),
    "cnn 64": (lambda: cnn(64), IMAGES, 96, 32, "all"),
    "cnn 256": (lambda: cnn(256), IMAGES, 8, 4, "all"),
    "transformer 64": (lambda: Transformer(64), WORDS, 64, 32, "all"),
    "transformer 256": (lambda: Transformer(256), WORDS, 8, 4, "all"),
}


def subject(name: str, more: int = 1) -> tuple[nn.Module, torch.Tensor, int, str]:
    """Return network, samples, samples of a block and outputs of a case."""
    torch.manual_seed(0)
    make, shape, count, block, outputs = CASES[name]
    count *= more
    generator = torch.Generator().manual_seed(1)
    values = (
        torch.randn(count, *shape, generator=generator, dtype=torch.float64)
        if shape is IMAGES
        else torch.randint(0, 50, (count, *shape), generator=generator)
    )
    return make().double().eval(), values, block, outputs


def loop(
    module: nn.Module, values: torch.Tensor, block: int, outputs: str, *, keep: bool = False
) -> tuple[torch.Tensor, int]:
    """Return the kernel from whole Jacobians of pairs of blocks, and the memory without the kernel."""
    parameters = {name: each.detach() for name, each in module.named_parameters()}

    def run(own: dict[str, torch.Tensor], sample: torch.Tensor) -> torch.Tensor:
        returned: torch.Tensor = torch.func.functional_call(module, own, (sample[None],))[0]
        return returned.sum(0, keepdim=True) / len(returned) ** 0.5 if outputs == "sum" else returned

    def jacobians(samples: torch.Tensor) -> list[torch.Tensor]:
        whole = torch.func.vmap(torch.func.jacrev(run), (None, 0))(parameters, samples)
        return [each.flatten(2).flatten(0, 1) for each in whole.values()]

    starts = range(0, len(values), block)
    rows = []
    for row in starts:
        own = jacobians(values[row : row + block])
        blocks = []
        for col in range(0, row + 1, block):
            if not keep:
                own = jacobians(values[row : row + block])
            other = own if col == row and keep else jacobians(values[col : col + block])
            blocks.append(sum(first @ second.T for first, second in zip(own, other, strict=True)))
        rows.append(torch.cat([torch.as_tensor(each) for each in blocks], 1))
    reached = resident() - sum(each.nbytes for each in rows)
    return mirrored(rows), reached


def ours(module: nn.Module, values: torch.Tensor, block: int, outputs: str) -> tuple[torch.Tensor, int]:
    """Return the kernel as ``rmtaudit kernel`` forms it, and the memory until it was on disk."""
    network = Network(
        module=module, name="net", origin=Origin.FACTORY, dtype=torch.float64, device=torch.device("cpu"),
        main_input="", keywords=None, tokens=None if values.is_floating_point() else TOKENS,
    )  # fmt: skip
    samples = Samples(
        name="data", count=len(values), arrays={"": values}, tokens=None, labels=None, truncated=0, digest=""
    )
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "K.zarr")
        settings = KernelSettings(outputs=outputs, block=block)
        formation = open_formation(kernel_of(network, samples, settings, out), out)
        formation.form()
        formation.close()
        reached = resident()
        return torch.from_numpy(zarr.open_array(str(out), mode="r")[:]), reached


def resident() -> int:
    """Return the largest memory of the process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def mirrored(rows: list[torch.Tensor]) -> torch.Tensor:
    """Return a symmetric matrix from the lower half of its blocks."""
    size = rows[-1].shape[1]
    whole = torch.zeros(size, size, dtype=rows[0].dtype)
    start = 0
    for row in rows:
        whole[start : start + len(row), : row.shape[1]] = row
        whole[: row.shape[1], start : start + len(row)] = row.T
        start += len(row)
    return whole


SIDES: dict[str, Callable[..., tuple[torch.Tensor, int]]] = {
    "loop": loop,
    "kept": functools.partial(loop, keep=True),
    "ours": ours,
}


def measure(name: str, side: str, more: int) -> dict[str, float]:
    """Return CPU seconds and peak memory of one side, and numbers that tell whether both agree."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="There is a performance drop")
    module, values, block, outputs = subject(name, more)
    SIDES[side](module, values[:2], 1, outputs)  # what is made once
    before = resident()
    start = time.process_time()
    kernel, reached = SIDES[side](module, values, block, outputs)
    seconds = time.process_time() - start
    probe = torch.randn(len(kernel), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return {
        "seconds": seconds,
        "peak": max(0, reached - before),
        "probe": float(probe @ kernel @ probe),
        "trace": float(kernel.trace()),
    }


def in_a_process(name: str, side: str, more: int = 1) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--measure", name, side, str(more)]
    result: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return result


def table(only: str | None) -> None:
    """Print the table."""
    print("network            loop s   kept s   ours s    gain   loop MB  ours MB  twice n   difference")
    for name in CASES if only is None else [only]:
        peer, kept, own = (in_a_process(name, side) for side in SIDES)
        twice = in_a_process(name, "ours", 2)
        gain = peer["seconds"] / own["seconds"]
        off = abs(own["probe"] / peer["probe"] - 1)
        print(
            f"{name:<17} {peer['seconds']:7.2f} {kept['seconds']:8.2f} {own['seconds']:8.2f} {gain:6.1f}x"
            f" {peer['peak'] / 1e6:9.0f} {own['peak'] / 1e6:8.0f} {twice['peak'] / 1e6:8.0f} {off:12.0e}",
            flush=True,
        )


def routes() -> None:
    """Print what a multiplication costs from factors and from Jacobians."""
    torch.set_num_threads(1)
    print("samples T     i    o   O   factors s   Jacobians s   multiplications   slowdown")
    shapes = [
        (32, 16, 288, 32, 10), (32, 16, 288, 64, 10), (32, 16, 576, 64, 10), (16, 16, 2304, 256, 10),
        (32, 64, 144, 16, 10), (16, 12, 64, 256, 10), (16, 12, 256, 1024, 4),
    ]  # fmt: skip
    for samples, positions, inputs, width, outputs in shapes:
        piece = Factors(
            inputs=torch.randn(samples, positions, inputs, dtype=torch.float64),
            gradients=torch.randn(samples, outputs, positions, width, dtype=torch.float64),
        )
        rows: Any = jacobian(piece)
        assert isinstance(rows, Rows)
        seconds = []
        for each in (piece, rows):
            contract(each, each)
            start = time.process_time()
            contract(each, each)
            seconds.append(time.process_time() - start)
        few = positions**2 * inputs + positions * outputs * width * (positions + outputs)
        many = outputs**2 * inputs * width
        print(
            f"{samples:7} {positions:2} {inputs:5} {width:4} {outputs:3} {seconds[0]:11.3f}"
            f" {seconds[1]:12.3f} {few:9,} {many:11,} {seconds[0] / few / (seconds[1] / many):7.1f}"
        )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only")
    parser.add_argument("--routes", action="store_true")
    parser.add_argument("--measure", nargs=3)
    arguments = parser.parse_args()
    if arguments.measure:
        name, side, more = arguments.measure
        print(json.dumps(measure(name, side, int(more))))
    elif arguments.routes:
        routes()
    else:
        table(arguments.only)


if __name__ == "__main__":
    main()
