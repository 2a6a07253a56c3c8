"""Whether float layers that were once quantised are named: the tables of docs/analyzers/forensics.md.

    OMP_NUM_THREADS=1 python benchmarks/requantised.py MODEL … --honest FOLDER …

First table: three layers of each MODEL, quantised by every scheme of ``requantisers.py`` and stored in three
formats: in how many a grid or a code book is reported, the block is right, and the scheme is named. Second
part: the weight matrices of the checkpoints under the FOLDERs but for constants of the architecture, and
random matrices, each stored in the three formats; what is reported of them is listed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from requantisers import SCHEMES

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import RmtauditError
from rmtaudit.kernels.constants import recognise_constant
from rmtaudit.kernels.forensics.quantisation import quantisation
from rmtaudit.kernels.forensics.schemes import quantisation_scheme
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import FLOATING, UNIT_ROUNDOFF

FORMATS = ("float32", "float16", "bfloat16")
NAMES = {
    "NF4 double": "NF4",
    "FP4 bitsandbytes": "FP4 (bitsandbytes)",
    "fp8 row": "fp8 (e4m3)",
    "fp8 128x128": "fp8 (e4m3)",
    "fp8 tensor": "fp8 (e4m3)",
    "MXFP8": "fp8 (e4m3)",
    "int4 g64": "int4 symmetric",
    "int4 g128": "int4 symmetric",
    "int4 g64 zero point": "int4 affine",
    "int4 g128 zero point": "int4 affine",
    "int3 g128": "int3 affine",
    "int8 row": "int8 symmetric",
}
LAYERS = 3
RANDOM = ((64, 64), (96, 256), (512, 32), (300, 700))
SEEDS = 15


def matrices(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the weight matrices of a checkpoint that has floating weights, as stored."""
    with open_checkpoint(path) as checkpoint:
        for layer in plan_layers(checkpoint.tensors).layers:
            if layer.dtype in FLOATING and layer.encoding is None and len(layer.tensors) == 1:
                tensor = checkpoint.read(layer.tensors[0])
                tensor = tensor if layer.band is None else tensor[layer.band[0] : layer.band[1]]
                if recognise_constant(tensor.float(), UNIT_ROUNDOFF[layer.dtype]) is not None:
                    continue
                for part in layer.build((tensor.float(),))[:1]:
                    yield layer.name, part


def reported(W: torch.Tensor, dtype: str) -> tuple[str, str] | None:
    """Return scheme and block of a matrix once it is stored in a format."""
    stored = W.to(getattr(torch, dtype)).float()
    if not bool(torch.isfinite(stored).all()):
        return None
    normal = float(torch.finfo(getattr(torch, dtype)).smallest_normal)
    precision = {"epsilon": UNIT_ROUNDOFF[dtype], "smallest_normal": normal}
    grid, book = quantisation(stored, **precision)
    levels = grid or book
    scheme = quantisation_scheme(stored, levels, **precision)
    if levels is None or scheme is None:
        return None
    block = (
        f"{levels.group}x{levels.group}" if levels.family == "block" else str(levels.group or levels.family)
    )
    return scheme, block


def schemes(models: list[Path]) -> None:
    layers = [
        W
        for model in models
        for W in [W for _, W in matrices(model) if W.shape[1] % 256 == 0 and len(W) >= 129][:LAYERS]
    ]
    print(f"{len(layers)} layers\n\n| scheme | format | found | block | name |\n|---|---|---:|---:|---:|")
    for name, (quantise, block) in SCHEMES.items():
        for dtype in FORMATS:
            answers = [reported(quantise(W), dtype) for W in layers]
            found = [answer for answer in answers if answer is not None]
            blocks = sum(answer[1] == block for answer in found)
            named = sum(answer[0] == NAMES.get(name, name) for answer in found)
            print(f"| {name} | {dtype} | {len(found)} | {blocks} | {named} |", flush=True)


def honest(folders: list[Path]) -> None:
    tested = {"of models": 0, "random": 0}
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        try:
            every = list(matrices(path)) if path.stat().st_size > 2**14 else []
        except (RmtauditError, ImportError):
            continue
        for name, W in every:
            tested["of models"] += len(FORMATS)
            for dtype in FORMATS:
                answer = reported(W, dtype)
                if answer is not None:
                    print(f"{path.name} {name} {tuple(W.shape)} {dtype}: {' '.join(answer)}", flush=True)
    for seed in range(SEEDS):
        generator = torch.Generator().manual_seed(seed)
        for rows, cols in RANDOM:
            normal = torch.randn(rows, cols, generator=generator)
            for W in (0.02 * normal, normal * normal.abs() ** 2, torch.rand(rows, cols, generator=generator)):
                tested["random"] += len(FORMATS)
                for dtype in FORMATS:
                    answer = reported(W, dtype)
                    if answer is not None:
                        print(f"random {seed} {(rows, cols)} {dtype}: {' '.join(answer)}", flush=True)
    print(f"\nhonest matrices tested: {tested}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="*")
    parser.add_argument("--honest", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    if given.models:
        schemes(given.models)
    if given.honest:
        honest(given.honest)


if __name__ == "__main__":
    main()
