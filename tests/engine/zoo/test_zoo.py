"""The audit of a zoo: equal to the scans of its models, resumed without a trace, and stopped by no model."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.cli import cli
from rmtaudit.cli.errors import run as run_command
from rmtaudit.engine.resources.store import Kind, RecordStore
from rmtaudit.engine.resources.store.upkeep import verify_store
from rmtaudit.engine.scan.run import scan_checkpoint
from rmtaudit.engine.settings.scan import ScanSettings
from rmtaudit.engine.zoo import queue, tasks
from rmtaudit.engine.zoo.cluster import ClusterOptions
from rmtaudit.engine.zoo.document import audit_zoo
from rmtaudit.report.zoo import Zoo, load_zoo


def run(
    zoo: Path, out: Path, settings: ScanSettings, cluster: ClusterOptions, *, rehash: bool = False
) -> Zoo:
    return audit_zoo([str(zoo)], out, settings, cluster, pairs=0, rehash=rehash)


def records(out: Path) -> dict[str, bytes]:
    """Return the records of a store, by their files."""
    store = RecordStore(out / "store")
    paths = [path for kind in Kind for path in store.files(kind)]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def test_reports_are_those_of_scans_and_a_second_run_computes_nothing(
    zoo: Path, tmp_path: Path, settings: ScanSettings, cluster: ClusterOptions
) -> None:
    out = tmp_path / "out"
    first = run(zoo, out, settings, cluster)
    by_name = {model.name: model for model in first.models}
    assert set(by_name) == {
        "a.safetensors",
        "b.safetensors",
        "broken.safetensors",
        "inner/a-tuned.safetensors",
        "inner/c.pt",
    }
    assert by_name["broken.safetensors"].status == "failed"
    assert by_name["broken.safetensors"].error is not None
    assert by_name["broken.safetensors"].error.code == "RA-IN-034"
    store = RecordStore(out / "store")
    for entry in first.models:
        if entry.record is None:
            continue
        body = store.get(Kind.MODEL, Path(entry.record).stem)
        assert body is not None
        with open_checkpoint(entry.path) as checkpoint:
            report = scan_checkpoint(checkpoint, settings).to_dict()
        assert body["report"]["tool"].pop("device") == report["tool"].pop("device")
        report["subject"]["path"], report["timings"] = "", {}
        assert json.dumps(body["report"]) == json.dumps(report)
        assert entry.digest == report["subject"]["digest"]
        assert entry.metrics["alpha"].value == report["summary"]["alpha"]["value"]
    assert load_zoo((out / "zoo.json").read_bytes()).to_dict() == first.to_dict()

    written = records(out)
    again = run(zoo, out, settings, cluster)
    assert (again.run.tasks, again.run.models_computed, again.run.models_reused) == (0, 0, 5)
    assert again.models == first.models
    assert records(out) == written
    assert not verify_store(store).problems
    rehashed = run(zoo, out, settings, cluster, rehash=True)
    assert rehashed.run.tasks == 5
    assert rehashed.run.layers_computed == 0
    assert records(out) == written


def test_a_second_run_imports_no_torch_and_writes_the_same_document(
    zoo: Path, tmp_path: Path, cluster: ClusterOptions
) -> None:
    out = tmp_path / "out"
    call = ["zoo", str(zoo), "--out", str(out), "--analyzers", "scale,powerlaw,noise", "-q"]
    call += ["--scheduler", str(cluster.scheduler), "--memory", "1GiB"]

    def document() -> dict[str, object]:
        return load_zoo((out / "zoo.json").read_bytes()).to_dict()

    code = run_command(cli, call)
    first, written = document(), records(out)
    assert first["relations"] is not None
    program = (
        "import sys; from rmtaudit.cli import cli; from rmtaudit.cli.errors import run;"
        f"print(run(cli, {call!r}), *(name in sys.modules for name in ('torch', 'scipy', 'distributed')))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{code} False False False"
    second = document()
    assert second["run"]["tasks"] == 0  # type: ignore[index]
    assert {**second, "run": None} == {**first, "run": None}
    assert records(out) == written


def test_layers_that_a_fine_tune_shares_are_computed_once(
    tmp_path: Path, settings: ScanSettings, cluster: ClusterOptions
) -> None:
    base, tuned = tmp_path / "zoo" / "base.safetensors", tmp_path / "zoo" / "tuned.safetensors"
    base.parent.mkdir()
    tensors = {f"layer.{number}.weight": torch.randn(32, 24) for number in range(10)}
    save_file(tensors, base)
    first = run(base, tmp_path / "out", settings, cluster)
    assert first.run.layers_computed == 10
    save_file({**tensors, "layer.4.weight": tensors["layer.4.weight"] * 1.01}, tuned)
    second = audit_zoo([str(base), str(tuned)], tmp_path / "out", settings, cluster, pairs=0)
    assert (second.run.layers_computed, second.run.layers_reused) == (1, 9)


def test_a_model_in_parts_has_the_records_of_one_that_is_not(
    zoo: Path,
    tmp_path: Path,
    settings: ScanSettings,
    cluster: ClusterOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = run(zoo, tmp_path / "whole", settings, cluster)
    monkeypatch.setattr(tasks, "PART_BYTES", 5000)
    parts = run(zoo, tmp_path / "parts", settings, cluster)
    assert parts.run.tasks > whole.run.tasks + 8
    known, written = records(tmp_path / "whole"), records(tmp_path / "parts")
    assert {path: data for path, data in written.items() if path in known} == known
    copies = 3  # that are left out of a scan, which sees the whole model
    assert len(written) == len(known) + copies
    assert all("/layers/" in path for path in written.keys() - known.keys())
    assert parts.models == whole.models


def test_a_changed_file_is_read_again_and_a_lost_or_damaged_index_costs_nothing(
    zoo: Path, tmp_path: Path, settings: ScanSettings, cluster: ClusterOptions
) -> None:
    out = tmp_path / "out"
    run(zoo, out, settings, cluster)
    for path in (out / "store").glob("index.sqlite*"):
        path.unlink()
    assert run(zoo, out, settings, cluster).run.tasks == 0
    tensors = load_file(zoo / "b.safetensors")
    save_file({**tensors, "block.0.bias": tensors["block.0.bias"] + 1}, zoo / "b.safetensors")
    changed = run(zoo, out, settings, cluster)
    assert (changed.run.tasks, changed.run.models_computed, changed.run.layers_computed) == (1, 1, 0)
    (zoo / "config.json").write_text("{}")  # beside the weights, it says how they are read
    assert run(zoo / "a.safetensors", out, settings, cluster).run.tasks == 1


def test_a_task_that_fails_is_carried_out_once_more_and_then_given_up(
    zoo: Path,
    tmp_path: Path,
    settings: ScanSettings,
    cluster: ClusterOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures = {"a.safetensors": 1, "b.safetensors": 9}

    def failing(*given: object, **how: object) -> object:
        name = Path(str(given[0])).name
        if failures.get(name, 0):
            failures[name] -= 1
            raise MemoryError("none left")
        return open_checkpoint(*given, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(tasks, "open_checkpoint", failing)
    result = run(zoo, tmp_path / "out", settings, cluster)
    by_name = {model.name: model for model in result.models}
    assert by_name["a.safetensors"].status == "ok"
    assert by_name["b.safetensors"].error is not None
    assert by_name["b.safetensors"].error.code == "RA-ZO-013"
    assert result.run.retries == 2
    (given_up,) = result.run.quarantined
    assert given_up.model == "b.safetensors"
    assert "none left" in given_up.reason
    monkeypatch.undo()
    assert run(zoo, tmp_path / "out", settings, cluster).run.models_computed == 1  # no failure that lasts


def test_records_do_not_depend_on_the_order_of_the_models(
    zoo: Path,
    tmp_path: Path,
    settings: ScanSettings,
    cluster: ClusterOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(zoo, tmp_path / "one", settings, cluster)
    monkeypatch.setattr(queue, "_AHEAD", 0)
    for path in sorted(zoo.rglob("*.*"), reverse=True):
        audit_zoo([str(path)], tmp_path / "other", settings, cluster, pairs=0)
    assert records(tmp_path / "one") == records(tmp_path / "other")
    shutil.rmtree(tmp_path / "one")


def test_a_run_that_is_killed_is_taken_up_again(
    zoo: Path, tmp_path: Path, settings: ScanSettings, cluster: ClusterOptions
) -> None:
    command = [sys.executable, "-m", "rmtaudit", "zoo", str(zoo), "--out", "killed", "--pairs", "0", "-q"]
    command += ["--threads", "1", "--analyzers", ",".join(settings.analyzers)]
    place = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    process = subprocess.Popen(command, cwd=tmp_path, env=place, start_new_session=True)
    store = tmp_path / "killed" / "store"
    while not any((store / Kind.SOURCE).glob("*/*/*.json")):  # written last: a model that is known
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    left = records(tmp_path / "killed")
    resumed = run(zoo, tmp_path / "killed", settings, cluster)
    calm = run(zoo, tmp_path / "calm", settings, cluster)
    assert resumed.run.models_reused >= 1
    assert records(tmp_path / "killed") == records(tmp_path / "calm")
    assert left.items() <= records(tmp_path / "calm").items()
    assert resumed.models == calm.models
