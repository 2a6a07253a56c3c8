"""Small checkpoints that are written by the libraries themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file


@pytest.fixture
def sharded(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes two shards and their index, and returns the index."""

    def build(extension: str = ".safetensors", total: int = 40, **weight_map: str) -> Path:
        stem = "model" if extension == ".safetensors" else "pytorch_model"
        files = [f"{stem}-0000{i}-of-00002{extension}" for i in (1, 2)]
        shards = [{"a.weight": torch.ones(2, 3)}, {"b.weight": torch.zeros(4)}]
        for file, shard in zip(files, shards, strict=True):
            if extension == ".safetensors":
                save_file(shard, tmp_path / file)
            else:
                torch.save(shard, tmp_path / file)
        mapping = {"a.weight": files[0], "b.weight": files[1], **weight_map}
        index = tmp_path / f"{stem}{extension}.index.json"
        index.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": mapping}))
        return index

    return build
