"""The graph of a zoo: copies by their digests, everything else by a test, each pair once."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from rmtaudit.engine.settings.scan import ScanSettings
from rmtaudit.engine.zoo.cluster import ClusterOptions
from rmtaudit.engine.zoo.document import audit_zoo
from rmtaudit.engine.zoo.run import ZooProgress
from rmtaudit.report.zoo import Zoo

SHAPES = {"fc1.weight": (60, 30), "fc2.weight": (50, 60), "fc3.weight": (40, 50), "fc4.weight": (10, 40)}


def weights(seed: int) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=random) for name, shape in SHAPES.items()}


def graph(zoo: Zoo) -> dict[tuple[str, str], str]:
    assert zoo.relations is not None
    return {(edge.first, edge.second): edge.kind for edge in zoo.relations.edges}


def test_copies_casts_fine_tunes_and_shared_tensors_are_edges(
    tmp_path: Path, settings: ScanSettings, cluster: ClusterOptions
) -> None:
    folder, out = tmp_path / "zoo", tmp_path / "out"
    folder.mkdir()
    base = weights(1)
    save_file(base, folder / "base.safetensors")
    shutil.copy(folder / "base.safetensors", folder / "copy.safetensors")
    save_file({name: values.half() for name, values in base.items()}, folder / "half.safetensors")
    tuned = {name: values + 0.3 * weights(3)[name] for name, values in base.items()}
    save_file(tuned, folder / "tuned.safetensors")
    save_file(weights(2), folder / "other.safetensors")
    head = {"fc1.weight": base["fc1.weight"], "head.weight": torch.randn(70, 90)}
    save_file(head, folder / "head.safetensors")
    save_file({"weight": torch.randn(50, 40)}, folder / "small.safetensors")

    zoo = audit_zoo([str(folder)], out, settings, cluster)
    edges = graph(zoo)
    assert edges["base.safetensors", "copy.safetensors"] == "copy"
    assert edges["base.safetensors", "half.safetensors"] == "cast"
    assert edges["base.safetensors", "tuned.safetensors"] == "derived"
    assert ("base.safetensors", "head.safetensors") in edges
    assert not [pair for pair in edges if "other.safetensors" in pair or "small.safetensors" in pair]
    assert zoo.relations is not None
    by_pair = {(edge.first, edge.second): edge for edge in zoo.relations.edges}
    assert by_pair["base.safetensors", "half.safetensors"].source == "base.safetensors"
    assert by_pair["base.safetensors", "head.safetensors"].shared == 1800 / 7200
    assert zoo.relations.level is not None
    assert zoo.relations.level <= 1e-4
    assert zoo.relations.untested == zoo.relations.unreadable == 0

    again = audit_zoo([str(folder)], out, settings, cluster)
    assert again.run.tasks == 0
    assert again.relations == zoo.relations
    (out / "zoo.json").unlink()
    assert audit_zoo([str(folder)], out, settings, cluster).relations == zoo.relations  # from the records

    few = audit_zoo([str(folder)], tmp_path / "few", settings, cluster, pairs=2)
    assert few.relations is not None
    assert few.relations.tested == 2
    assert few.relations.untested == zoo.relations.tested - 2
    assert audit_zoo([str(folder)], tmp_path / "few", settings, cluster, pairs=0).relations is None


def test_pairs_are_counted_and_those_that_an_interrupted_run_tested_are_kept(
    tmp_path: Path, settings: ScanSettings, cluster: ClusterOptions
) -> None:
    folder, out = tmp_path / "zoo", tmp_path / "out"
    folder.mkdir()
    for seed in range(3):
        save_file(weights(seed), folder / f"{seed}.safetensors")
    seen: list[ZooProgress] = []

    def interrupting(step: ZooProgress) -> None:
        if step.pairs:
            raise KeyboardInterrupt

    stopped = audit_zoo([str(folder)], out, settings, cluster, progress=interrupting)
    assert not stopped.run.complete
    assert stopped.relations is None
    assert [model.status for model in stopped.models] == ["ok"] * 3
    zoo = audit_zoo([str(folder)], out, settings, cluster, progress=seen.append)
    assert zoo.run.complete
    assert zoo.relations is not None
    assert zoo.relations.tested == 3
    assert 1 <= zoo.run.tasks < 3
    assert [step.pairs_total for step in seen] == [zoo.run.tasks] * len(seen)
    assert (seen[-1].pairs, seen[-1].models) == (zoo.run.tasks, 3)
