"""Make the sample of this folder, as torch 2.13 exports it. Run: python make.py FOLDER.

Tied weights, a transposed view, half precision, buffers that are saved and one that is not.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(24, 16)
        self.head = nn.Linear(16, 24, bias=False)
        self.head.weight = self.embedding.weight
        self.fc = nn.Linear(16, 16)
        self.fc.weight = nn.Parameter(torch.randn(16, 16).t())
        self.small = nn.Parameter(torch.randn(16, 16, dtype=torch.bfloat16))
        self.register_buffer("mean", torch.randn(16))
        self.register_buffer("mask", torch.ones(16, 16).tril(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.fc(self.embedding(x)) + self.mean
        return self.head((h @ self.mask) @ self.small.float())


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    torch.manual_seed(0)
    program = torch.export.export(Tied(), (torch.zeros(2, 3, dtype=torch.long),))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it holds the paths of the machine
    torch.export.save(program, folder / "tied.pt2")
    torch.save({name: tensor.detach() for name, tensor in program.state_dict.items()}, folder / "state.pt")
