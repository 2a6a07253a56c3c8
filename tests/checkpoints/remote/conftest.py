"""A model of two shards, on this machine and on a server that speaks the endpoints of the Hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hub_server import HubServer, hub_server
from safetensors.torch import save_file

from rmtaudit.checkpoints.remote import client

pytest.importorskip("huggingface_hub", reason="needs the extra hub")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model of two shards, a file of another format beside them."""
    folder = tmp_path_factory.mktemp("model")
    generator = torch.Generator().manual_seed(0)
    weight_map: dict[str, str] = {}
    for shard in (1, 2):
        tensors = {
            f"model.layers.{2 * shard + layer}.mlp.{name}.weight": torch.randn(96, 192, generator=generator)
            for layer in range(2)
            for name in ("up_proj", "gate_proj", "q_proj", "o_proj")
        }
        tensors |= {f"model.layers.{shard}.norm.weight": torch.ones(192)}
        file = f"model-0000{shard}-of-00002.safetensors"
        save_file(tensors, folder / file)
        weight_map |= dict.fromkeys(tensors, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tf_model.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(5000))
    return folder


@pytest.fixture
def hub(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """Serve the model as ``hf://org/name``; nothing is cached, and nobody has logged in."""
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    with hub_server(model) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server
