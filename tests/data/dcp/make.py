"""Make the samples of this folder: a model over two processes, as torch 2.13 saves it.

Run: python make.py FOLDER. The weights are random numbers of a seed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.multiprocessing.spawn import spawn


def work(rank: int, folder: Path) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29611", RANK=str(rank), WORLD_SIZE="2")
    dist.init_process_group("gloo", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    generator = torch.Generator().manual_seed(7)
    a, b, norm = (torch.randn(*shape, generator=generator) for shape in ((33, 16), (12, 18), (16,)))
    c = torch.randn(10, 8, generator=generator).to(torch.bfloat16)
    rows = distribute_tensor(a, mesh, [Shard(0)])
    model = {
        "a.weight": rows,
        "b.weight": distribute_tensor(b, mesh, [Shard(1)]),
        "norm.weight": distribute_tensor(norm, mesh, [Replicate()]),
        "c.weight": c,
    }
    optimizer = {
        "state": {
            "a.weight": {"exp_avg": distribute_tensor(a * 0.1, mesh, [Shard(0)]), "step": torch.tensor(3.0)}
        },
        "param_groups": [{"lr": 0.1}],
    }
    save({"model": model, "optimizer": optimizer}, checkpoint_id=folder / "two_ranks")
    writer = HuggingFaceStorageWriter(str(folder / "two_ranks_hub"), save_distributed=True)
    save(dict(model), storage_writer=writer)
    if rank == 0:
        torch.save({"model": model}, folder / "dtensor_rank0.pt")
        torch.save({"a.weight": a, "b.weight": b, "norm.weight": norm, "c.weight": c}, folder / "whole.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    spawn(work, (Path(sys.argv[1]),), 2)
