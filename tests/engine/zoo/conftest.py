"""A cluster within the process of the tests, and small models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.analyzers.registry import build_all, metric_catalogue
from rmtaudit.engine.settings.presets import preset_settings, select_metrics
from rmtaudit.engine.settings.scan import ScanSettings
from rmtaudit.engine.zoo.cluster import ClusterOptions


@pytest.fixture(scope="session")
def cluster() -> Iterator[ClusterOptions]:
    """Return the options for two workers that are threads of this process: nothing has to be started."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
    ) as local:
        yield ClusterOptions(scheduler=local.scheduler_address, budget=1 << 30)


@pytest.fixture(scope="session")
def settings() -> ScanSettings:
    """Return quick settings that judge: sampling makes the seed, and so the names of layers, count."""
    resolved = preset_settings("default", analyzers=["scale", "powerlaw", "noise", "forensics"])
    built = build_all(resolved.settings.analyzers, resolved.settings.options)
    return select_metrics(resolved, metric_catalogue(built))


def model(seed: int, *, layers: int = 3) -> dict[str, torch.Tensor]:
    """Return the tensors of a model: weights, one of them twice, a bias, and one stack of experts."""
    random = torch.Generator().manual_seed(seed)
    tensors = {f"block.{number}.weight": torch.randn(40, 30, generator=random) for number in range(layers)}
    tensors["block.0.bias"] = torch.randn(40, generator=random)
    tensors["block.copy.weight"] = tensors["block.0.weight"].clone()
    tensors["experts.weight"] = torch.randn(4, 32, 24, generator=random)
    return tensors


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Return a folder of models: two apart, a fine-tune, one in a folder, one that is corrupt."""
    folder = tmp_path / "zoo"
    (folder / "inner").mkdir(parents=True)
    save_file(model(1), folder / "a.safetensors")
    save_file(model(2), folder / "b.safetensors")
    tuned = model(1)
    tuned["block.1.weight"] = tuned["block.1.weight"] + 0.001
    save_file(tuned, folder / "inner" / "a-tuned.safetensors")
    torch.save(model(3), folder / "inner" / "c.pt")
    (folder / "broken.safetensors").write_bytes((folder / "b.safetensors").read_bytes()[:3000])
    return folder
