"""Whether ``signal left`` of ``rmtaudit compare`` falls with the strength of one edit, layer by layer.

    python benchmarks/distortion_order.py MODEL …

Every weight matrix of every model is edited with rising strength: int8, int4, int2 with a scale a row; noise
of 10 % and of 100 %; 20, 50 and 80 % pruned by magnitude. A violation is a stronger edit after which as much
of the signal is left as after the weaker one, or more. Layers in which no direction stands out of noise, or
narrower than 16, have no number and are counted apart.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.kernels.difference.subspaces import followed
from rmtaudit.matrices.plan import plan_layers

Edit = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


def rounded(bits: int) -> Edit:
    """Return rounding to levels symmetric about 0, with a scale a row."""

    def edit(weight: torch.Tensor, _: torch.Generator) -> torch.Tensor:
        largest = max(2 ** (bits - 1) - 1, 1)
        step = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-30) / largest
        levels: torch.Tensor = (weight / step).round() * step
        return levels

    return edit


def noise(size: float) -> Edit:
    """Return the addition of Gaussian noise, its size relative to that of the weights."""
    return lambda weight, generator: (
        weight + size * weight.std() * torch.randn(weight.shape, generator=generator)
    )


def pruned(share: float) -> Edit:
    """Return pruning of the smallest entries."""

    def edit(weight: torch.Tensor, _: torch.Generator) -> torch.Tensor:
        size = weight.abs()
        threshold = size.flatten().sort().values[int(share * weight.numel())]
        return torch.where(size < threshold, torch.zeros(()), weight)

    return edit


EDITS: Mapping[str, Sequence[Edit]] = {
    "int8 < int4 < int2": [rounded(bits) for bits in (8, 4, 2)],
    "noise 10 % < 100 %": [noise(size) for size in (0.1, 1.0)],
    "pruned 20 < 50 < 80 %": [pruned(share) for share in (0.2, 0.5, 0.8)],
}


def shares(weight: torch.Tensor, edits: Sequence[Edit], seed: int) -> list[float] | None:
    """Return the share of the signal left after every edit; ``None`` where there is no signal."""
    left = []
    for edit in edits:
        generator = torch.Generator().manual_seed(seed)
        kept = followed(weight, edit(weight, generator), generator)
        if kept is None:
            return None
        left.append(kept.share)
    return left


def main() -> None:
    """Print the number of layers and of violations for every model and edit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="+")
    torch.set_num_threads(1)
    for path in parser.parse_args().models:
        layers, silent, violations = 0, 0, Counter[str]()
        with open_checkpoint(path) as checkpoint:
            for layer in plan_layers(checkpoint.tensors).layers:
                weight = layer.build(tuple(checkpoint.read(name).float() for name in layer.tensors))[0]
                seed = int.from_bytes(hashlib.sha256(layer.name.encode()).digest()[:4], "little")
                ordered = {name: shares(weight, edits, seed) for name, edits in EDITS.items()}
                if any(left is None for left in ordered.values()):
                    silent += 1
                    continue
                layers += 1
                for name, left in ordered.items():
                    assert left is not None
                    if any(later >= earlier for earlier, later in itertools.pairwise(left)):
                        violations[name] += 1
                        print(f"  {layer.name} {tuple(weight.shape)} {name}: {left}")
        counts = ", ".join(f"{name}: {violations[name]}" for name in EDITS)
        print(f"{path.name}: {layers} layers, {silent} without a number · violations {counts}", flush=True)


if __name__ == "__main__":
    main()
