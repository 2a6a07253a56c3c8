"""``rmtaudit zoo`` from the outside: workers that are processes, runs that are killed, and full disks."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.cli.zoo import _line
from rmtaudit.engine.resources.store import Kind, RecordStore
from rmtaudit.engine.zoo.run import ZooProgress
from rmtaudit.report.zoo import load_zoo

Capture = pytest.CaptureFixture[str]


def models(folder: Path, count: int, side: int = 40) -> Path:
    folder.mkdir()
    for number in range(count):
        random_ = torch.Generator().manual_seed(number)
        tensors = {f"layer.{place}.weight": torch.randn(side, 30, generator=random_) for place in range(4)}
        save_file(tensors, folder / f"model{number}.safetensors")
    return folder


def started(folder: Path, out: Path, *flags: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "rmtaudit",
        "zoo",
        str(folder),
        "--out",
        str(out),
        "--preset",
        "fast",
        *flags,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def records(out: Path) -> dict[str, bytes]:
    store = RecordStore(out / "store")
    paths = [path for kind in Kind for path in store.files(kind)]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def test_without_dask_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    models(tmp_path / "zoo", 1)
    find = importlib.util.find_spec

    def absent(name: str, package: str | None = None) -> object:
        return None if name in ("distributed", "pyarrow") else find(name, package)

    for module in ("rmtaudit.engine.zoo.cluster", "rmtaudit.engine.zoo.parquet"):
        monkeypatch.setattr(f"{module}.find_spec", absent)
    call = ["zoo", str(tmp_path / "zoo"), "--out", str(tmp_path / "out"), "--preset", "fast"]
    assert run(cli, call) == 2
    error = capsys.readouterr().err
    assert "RA-ZO-010" in error
    assert "rmtaudit[zoo]" in error
    assert run(cli, [*call, "--parquet", str(tmp_path / "m.parquet")]) == 2
    assert "RA-ZO-014" in capsys.readouterr().err


def test_the_help_imports_no_dask() -> None:
    code = (
        "import sys; from rmtaudit.cli import cli; from rmtaudit.cli.errors import run;"
        "run(cli, ['zoo', '--help']); print('dask' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"


def test_wrong_calls_are_refused(tmp_path: Path, capsys: Capture) -> None:
    assert run(cli, ["zoo", str(tmp_path), "--out", str(tmp_path / "out"), "--worker-memory", "much"]) == 2
    assert "--worker-memory" in capsys.readouterr().err
    (tmp_path / "out" / "store").mkdir(parents=True)
    (tmp_path / "out" / "store" / "mine.txt").write_text("precious")
    assert run(cli, ["zoo", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "RA-ST-001" in capsys.readouterr().err


def test_the_progress_counts_models_and_then_pairs() -> None:
    step = ZooProgress(models=3, models_total=4, bytes=3 << 20, bytes_total=4 << 20, seconds=300.0)
    assert _line(step) == "3 of 4 models, 3.15 MB of 4.19 MB, about 2 minutes left"
    step = replace(step, bytes=0, models=0)
    assert _line(step) == "0 of 4 models, 0 B of 4.19 MB"
    step = replace(step, pairs=1, pairs_total=1000, seconds=2.0)
    assert _line(step) == "1 of 1,000 pairs of models tested, about 33 minutes left"


@pytest.mark.slow
def test_a_run_that_is_killed_three_times_ends_with_the_records_of_one_that_is_not(tmp_path: Path) -> None:
    folder = models(tmp_path / "zoo", 12)
    began = time.monotonic()
    calm = started(folder, tmp_path / "calm")
    _, problems = calm.communicate()
    assert calm.returncode == 0, problems
    seconds = time.monotonic() - began
    draw = random.Random(1)
    for _ in range(3):
        process = started(folder, tmp_path / "killed")
        time.sleep(draw.uniform(0.4, 0.9) * seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = started(folder, tmp_path / "killed")
    _, problems = last.communicate()
    assert last.returncode == 0, problems
    assert records(tmp_path / "killed") == records(tmp_path / "calm")


@pytest.mark.slow
def test_a_worker_that_takes_too_much_memory_and_a_corrupt_file_stop_nothing(tmp_path: Path) -> None:
    folder = models(tmp_path / "zoo", 3)
    (folder / "corrupt.safetensors").write_bytes((folder / "model0.safetensors").read_bytes()[:2000])
    save_file({"weight": torch.randn(60_000, 1_500)}, folder / "huge.safetensors")
    flags = ("--worker-memory", "700MB", "--memory", "8GB", "--threads", "2")
    process = started(folder, tmp_path / "out", *flags)
    _, problems = process.communicate()
    assert process.returncode == 2, problems
    zoo = load_zoo((tmp_path / "out" / "zoo.json").read_bytes())
    by_name = {model.name: model for model in zoo.models}
    assert [by_name[f"model{number}.safetensors"].status for number in range(3)] == ["ok"] * 3
    assert by_name["corrupt.safetensors"].error is not None
    assert by_name["corrupt.safetensors"].error.code == "RA-IN-034"
    assert by_name["huge.safetensors"].error is not None
    assert by_name["huge.safetensors"].error.code == "RA-ZO-013"
    assert {each.model for each in zoo.run.quarantined} == {"huge.safetensors"}
    assert zoo.run.retries >= 1


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """Start `dask scheduler` and two `dask worker`, and return the address."""
    pytest.importorskip("distributed")
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    quiet = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "env": {**os.environ, "OMP_NUM_THREADS": "1"},
    }
    commands = [[*dask, "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]]
    commands += [[*dask, "worker", "--nthreads", "1", "--no-dashboard", "--scheduler-file", str(file)]] * 2
    processes = [subprocess.Popen(command, **quiet) for command in commands]  # type: ignore[call-overload]
    try:
        while not (file.exists() and file.read_text()):
            time.sleep(0.2)
            assert processes[0].poll() is None
        yield json.loads(file.read_text())["address"]
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


@pytest.mark.slow
def test_workers_of_another_scheduler_write_the_same_records(tmp_path: Path, scheduler: str) -> None:
    folder = models(tmp_path / "zoo", 6)
    for out, flags in (("own", ()), ("other", ("--scheduler", scheduler))):
        process = started(folder, tmp_path / out, *flags)
        _, problems = process.communicate()
        assert process.returncode == 0, problems
    assert records(tmp_path / "own") == records(tmp_path / "other")


@pytest.mark.slow
def test_a_full_disk_is_an_error_and_the_run_goes_on_when_there_is_room(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(mount)], check=False
    ).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        folder = models(tmp_path / "zoo", 8)
        process = started(folder, mount / "out")
        _, problems = process.communicate()
        assert process.returncode == 2
        assert "RA-ST-002" in problems
        assert not re.search("Traceback", problems)
        subprocess.run(["mount", "-o", "remount,size=20m", str(mount)], check=True)
        process = started(folder, mount / "out")
        _, problems = process.communicate()
        assert process.returncode == 0, problems
    finally:
        subprocess.run(["umount", str(mount)], check=False)


def test_parquet_is_read_by_duckdb_and_pandas(tmp_path: Path, capsys: Capture) -> None:
    distributed = pytest.importorskip("distributed")
    duckdb, pandas = pytest.importorskip("duckdb"), pytest.importorskip("pandas")
    folder, file = models(tmp_path / "zoo", 2), tmp_path / "metrics.parquet"
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        call = ["zoo", str(folder), "--out", str(tmp_path / "out"), "--preset", "fast", "--pairs", "0"]
        call += ["--scheduler", cluster.scheduler_address, "--parquet", str(file), "--no-progress"]
        assert run(cli, call) == 0
    assert "2 models: 2 ok" in capsys.readouterr().out
    zoo = load_zoo((tmp_path / "out" / "zoo.json").read_bytes())
    query = (
        f"SELECT model, avg(value) FROM '{file}' WHERE metric = 'stable_rank' GROUP BY model ORDER BY model"
    )
    means = dict(duckdb.sql(query).fetchall())
    for model in zoo.models:
        assert means[model.name] == pytest.approx(model.metrics["stable_rank"].value)
    frame = pandas.read_parquet(file)
    assert set(frame["layer"]) == {f"layer.{place}.weight" for place in range(4)}
    assert set(frame["status"]) <= {"ok", "skipped", "failed"}
