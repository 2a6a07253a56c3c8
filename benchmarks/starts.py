"""What untrained layers are called, and whether trained ones are called so: docs/calibration.md.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/starts.py [--repeats 5] [FOLDER ...]

First table: layers of every start in every shape, drawn with seeds that no constant was chosen on, through
the analyzer noise at its defaults. *Right*: the word is ``initial`` with the name of the start (the law, for
independent entries), or ``too small``. Second table, for every FOLDER: the layers of the checkpoints under
it (folders called ``derived`` left out) by word.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from rmtaudit.analyzers.base import LayerInput
from rmtaudit.analyzers.noise import Noise
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import RmtauditError
from rmtaudit.kernels.constants import recognise_constant
from rmtaudit.kernels.signal import Signal, SignalWord
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues
from rmtaudit.matrices.layers import LayerKind
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import UNIT_ROUNDOFF, TensorSpec

Draw = Callable[[int, int, torch.Generator], torch.Tensor]

SHAPES = ((64, 64), (128, 64), (64, 192), (256, 256), (48, 48), (32, 64), (512, 128), (64, 32, 3, 3))
LARGEST = 4_000_000


def normal(rows: int, cols: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(rows, cols, generator=generator)


def uniform(rows: int, cols: int, generator: torch.Generator) -> torch.Tensor:
    return 2 * torch.rand(rows, cols, generator=generator) - 1


def truncated(rows: int, cols: int, generator: torch.Generator) -> torch.Tensor:
    return torch.nn.init.trunc_normal_(torch.empty(rows, cols), a=-2, b=2, generator=generator)


def orthogonal(rows: int, cols: int, generator: torch.Generator) -> torch.Tensor:
    tall = torch.randn(max(rows, cols), min(rows, cols), generator=generator)
    basis = torch.linalg.qr(tall).Q
    return basis if rows >= cols else basis.T.contiguous()


def hadamard(rows: int, cols: int, generator: torch.Generator) -> torch.Tensor:
    """Return part of a Hadamard matrix with random signs: its rows or its columns are orthogonal."""
    size = 1 << (max(rows, cols) - 1).bit_length()
    basis = torch.ones(1, 1)
    while len(basis) < size:
        basis = torch.cat([torch.cat([basis, basis], 1), torch.cat([basis, -basis], 1)])
    if size > max(rows, cols):  # no Hadamard matrix of this length
        return hadamard(64, 64, generator)
    signs = 2 * torch.randint(0, 2, (size, 1), generator=generator) - 1
    return (signs * basis)[:rows, :cols] / math.sqrt(size)


def cosine(rows: int, cols: int, _: torch.Generator) -> torch.Tensor:
    """Return rows (or columns) of the orthonormal cosine transform."""
    long, short = max(rows, cols), min(rows, cols)
    basis = torch.cos(math.pi / long * torch.outer(torch.arange(short), torch.arange(long) + 0.5))
    basis *= math.sqrt(2 / long)
    basis[0] /= math.sqrt(2)
    return basis if rows <= cols else basis.T.contiguous()


def near_identity(rows: int, cols: int, generator: torch.Generator) -> torch.Tensor:
    return torch.eye(rows, cols) + 0.02 * torch.randn(rows, cols, generator=generator)


def sparse(rows: int, cols: int, generator: torch.Generator) -> torch.Tensor:
    """Return normal entries with nine tenths of every column set to 0 (``torch.nn.init.sparse_``)."""
    zeros = torch.rand(rows, cols, generator=generator).argsort(0) < math.ceil(0.9 * rows)
    return torch.randn(rows, cols, generator=generator).masked_fill(zeros, 0.0)


def per_head(rows: int, cols: int, generator: torch.Generator) -> torch.Tensor:
    """Return normal entries whose blocks of 16 rows have scales from 1 to 2."""
    heads = max(2, rows // 16)
    scales = 1 + torch.rand(heads, 1, generator=generator)
    return torch.randn(rows, cols, generator=generator) * scales.repeat_interleave(rows // heads, 0)


def gate(rows: int, cols: int, generator: torch.Generator) -> torch.Tensor:
    """Return one of the four gates of a recurrent layer that was made orthogonal as a whole."""
    side = min(rows, cols)
    return orthogonal(4 * side, side, generator)[:side].contiguous()


def embedding(rows: int, cols: int, generator: torch.Generator) -> torch.Tensor:
    drawn = 0.02 * torch.randn(rows, cols, generator=generator)
    drawn[0] = 0
    return drawn


STARTS: dict[str, tuple[Draw, str, float]] = {
    "normal, Kaiming": (normal, "normal", 0.1),
    "normal, std 0.02": (normal, "normal", 0.02),
    "uniform, PyTorch default": (uniform, "uniform", 0.06),
    "uniform, Xavier": (uniform, "uniform", 0.15),
    "truncated normal": (truncated, "truncated normal", 0.02),
    "orthogonal": (orthogonal, "orthogonal", 1.0),
    "orthogonal, gain √2": (orthogonal, "orthogonal", math.sqrt(2)),
    "Hadamard": (hadamard, "Hadamard", 1.0),
    "cosine transform": (cosine, "DCT", 1.0),
    "identity plus noise": (near_identity, "identity plus normal", 1.0),
    "sparse": (sparse, "sparse normal", 0.01),
    "scales by head": (per_head, "normal", 0.02),
    "one gate of four": (gate, "orthogonal", 1.0),
    "embedding with padding": (embedding, "normal", 1.0),
}


def layer_input(tensor: torch.Tensor, name: str = "layer.weight", seed: int = 0) -> LayerInput:
    spec = TensorSpec(name=name, shape=tuple(tensor.shape), dtype=str(tensor.dtype).removeprefix("torch."))
    layer = plan_layers([spec]).layers[0]
    matrices = layer.build((tensor,))
    return LayerInput(
        layer=layer,
        spectrum=gram_eigenvalues(matrices[0]),
        matrices=matrices,
        epsilon=UNIT_ROUNDOFF[layer.dtype],
        seed=seed,
    )


def signal_of(given: LayerInput, tensor: torch.Tensor) -> Signal:
    constant = recognise_constant(tensor, given.epsilon)
    if constant is not None:
        return Signal(SignalWord.CONSTANT, constant)
    found = Noise().analyze(given).signal
    return found or Signal(SignalWord.UNJUDGED)


def is_right(signal: Signal, wanted: str) -> bool:
    return signal.word is SignalWord.TOO_SMALL or (
        signal.word is SignalWord.INITIAL and wanted in signal.detail
    )


def untrained(seed: int, repeats: int) -> None:
    print("| start | layers | right | too small | structured | other words |\n|---|---:|---:|---:|---:|---|")
    every: list[tuple[Signal, bool]] = []
    started = time.process_time()
    for place, (name, (draw, wanted, scale)) in enumerate(STARTS.items()):
        found: list[tuple[Signal, bool]] = []
        for number, (rows, cols, *kernel) in enumerate(SHAPES):
            for repeat in range(repeats):
                number_of = seed + 1000 * place + 50 * number + repeat
                generator = torch.Generator().manual_seed(number_of)
                drawn = scale * draw(rows, cols * math.prod(kernel), generator)
                tensor = drawn.reshape(rows, cols, *kernel) if kernel and drawn.shape[1] != rows else drawn
                signal = signal_of(layer_input(tensor, seed=number_of), tensor)
                found.append((signal, is_right(signal, wanted)))
        every += found
        print(_line(name, found), flush=True)
    print(_line("all", every))
    print(f"\n{time.process_time() - started:.0f} CPU seconds, spectra included\n")


def _line(name: str, found: list[tuple[Signal, bool]]) -> str:
    words = Counter(signal.word for signal, _ in found)
    structured = words[SignalWord.STRUCTURED] + words[SignalWord.SCALES]
    others = Counter(signal.text for signal, right in found if not right)
    right = sum(right for _, right in found)
    listed = ", ".join(f"{count} {text}" for text, count in others.items()) or "-"
    return f"| {name} | {len(found)} | {right} | {words[SignalWord.TOO_SMALL]} | {structured} | {listed} |"


def real_layers(folder: Path) -> Iterator[tuple[str, LayerInput, torch.Tensor]]:
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or "derived" in path.parts:
            continue
        try:
            with open_checkpoint(path) as checkpoint:
                for layer in plan_layers(checkpoint.tensors).layers:
                    if math.prod(layer.shape) > LARGEST or layer.kind is LayerKind.ADAPTER:
                        continue
                    tensors = tuple(checkpoint.read(name) for name in layer.tensors)
                    if layer.band is not None:
                        tensors = (tensors[0][slice(*layer.band)],)
                    wide = tuple(each if each.element_size() >= 4 else each.float() for each in tensors)
                    matrices = layer.build(wide)
                    if len(matrices) > 1 or not bool(matrices[0].any()):
                        continue
                    given = LayerInput(
                        layer=layer,
                        spectrum=gram_eigenvalues(matrices[0]),
                        matrices=matrices,
                        epsilon=UNIT_ROUNDOFF[layer.dtype],
                    )
                    yield f"{path.parent.name}/{path.name} {layer.name}", given, wide[0]
        except (RmtauditError, OSError, ValueError):
            continue  # of a format that is not read


def trained(folder: Path) -> None:
    print(f"\n{folder.name}\n\n| smaller side | layers | words |\n|---|---:|---|")
    groups: dict[str, Counter[str]] = {"below 16": Counter(), "16 to 47": Counter(), "from 48": Counter()}
    named = []
    for name, given, tensor in real_layers(folder):
        signal = signal_of(given, tensor)
        side = min(given.layer.shape)
        group = "below 16" if side < 16 else "16 to 47" if side < 48 else "from 48"
        groups[group][str(signal.word)] += 1
        if signal.word in (SignalWord.INITIAL, SignalWord.NOISE_LIKE) and side >= 16:
            named.append(f"{name} {tuple(given.layer.shape)}: {signal.text}")
    for group, words in groups.items():
        listed = ", ".join(f"{count} {word}" for word, count in words.most_common())
        print(f"| {group} | {words.total()} | {listed} |")
    print("\n" + "\n".join(f"- {line}" for line in named))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--seed", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    untrained(given.seed, given.repeats)
    for folder in given.folders:
        trained(folder)


if __name__ == "__main__":
    main()
