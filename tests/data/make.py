"""Write the small files beside this script, one for each kind of input; every value follows from a seed.

python tests/data/make.py

Their answers are known otherwise: ``tests/test_small_files.py`` computes each in a second way.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent


def state() -> dict[str, torch.Tensor]:
    """Return two matrices of noise, one of low rank, one shared under two names, and a vector."""
    generator = torch.Generator().manual_seed(0)
    embedding, left = torch.randn(40, 24, generator=generator), torch.randn(24, 3, generator=generator)
    return {
        "embed.weight": embedding,
        "block.up.weight": torch.randn(48, 24, generator=generator).half(),
        "block.down.weight": left @ torch.randn(3, 48, generator=generator),
        "block.norm.weight": torch.ones(24),
        "head.weight": embedding,
    }


def checkpoints() -> None:
    """Write the same weights in every container, and what is broken about a file."""
    tensors = state()
    torch.save(tensors, HERE / "zip.pt")
    torch.save(tensors, HERE / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "state_dict": tensors, "optimizer": {"lr": 0.1}}, HERE / "wrapped.pt")
    separate = {name: value.clone() for name, value in tensors.items()}
    save_file(separate, HERE / "whole.safetensors")
    folder = HERE / "sharded"
    folder.mkdir(exist_ok=True)
    names = sorted(separate)
    shards = {"model-00001-of-00002.safetensors": names[:2], "model-00002-of-00002.safetensors": names[2:]}
    for shard, part in shards.items():
        save_file({name: separate[name] for name in part}, folder / shard)
    index = {"metadata": {}, "weight_map": {name: shard for shard, part in shards.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    (HERE / "truncated.safetensors").write_bytes((HERE / "whole.safetensors").read_bytes()[:2000])
    (HERE / "header_bomb.safetensors").write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 90868376\n"
    (HERE / "lfs_pointer.safetensors").write_text(pointer)


def matrices() -> None:
    """Write a graph, the minors of a kernel, the spectra of blocks, and a sample with a heavy tail."""
    rng = np.random.default_rng(0)
    edges = sorted({tuple(sorted(map(int, rng.choice(30, 2, replace=False)))) for _ in range(70)})
    write(HERE / "graph.csv", ["source", "target"], edges)
    points = rng.random((512, 2))
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    factor = np.linalg.cholesky(np.exp(-4 * distances))
    minors = 2 * np.log(np.diagonal(factor)).cumsum()
    write(HERE / "minors.csv", ["n", "logdet"], [(n, repr(float(minors[n - 1]))) for n in range(8, 513, 8)])
    spectra = [np.linalg.eigvalsh(X @ X.T / 256) for X in rng.standard_normal((3, 64, 256))]
    np.save(HERE / "spectra.npy", np.array(spectra))
    np.savetxt(HERE / "sample.csv", 2 * (1 - rng.random(400)) ** (-1 / 1.5), fmt="%.17g")


def write(path: Path, head: list[str], rows: list[tuple[int, ...]] | list[tuple[int, str]]) -> None:
    """Write a table with a header."""
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *rows])


if __name__ == "__main__":
    checkpoints()
    matrices()
