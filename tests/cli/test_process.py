"""What only a real process shows: imports, pipes, signals, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RMTAUDIT = [sys.executable, "-m", "rmtaudit"]


def call(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RMTAUDIT, *args], capture_output=True, text=True, timeout=60, check=False, env=os.environ | environ
    )


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, rmtaudit, rmtaudit.cli\n"
        "from rmtaudit.cli.errors import run\n"
        "assert run(rmtaudit.cli.cli, ['scan', '--help']) == 0\n"
        "heavy = {'torch', 'numpy', 'scipy', 'rich', 'yaml', 'pandas', 'threadpoolctl'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_config_and_report_need_no_torch(made: object, tmp_path: Path) -> None:
    from rmtaudit.report.document import dumps

    path = tmp_path / "r.json"
    path.write_text(dumps(made.report().to_dict()))  # type: ignore[attr-defined]
    code = (
        "import sys\nfrom rmtaudit.cli import cli\nfrom rmtaudit.cli.errors import run\n"
        "assert run(cli, ['config', 'show', '--origin']) == 0\n"
        f"assert run(cli, ['report', {str(path)!r}]) == 0\n"
        "heavy = {'torch', 'numpy', 'scipy'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_version_and_help() -> None:
    assert call("--version").stdout.startswith("rmtaudit ")
    done = call("--help")
    assert done.returncode == 0
    assert "scan" in done.stdout
    assert done.stderr == ""


def test_a_closed_pipe_is_quiet() -> None:
    # The schema is larger than the pipe can be relied on to hold after its reader has gone.
    shell = (
        f'{sys.executable} -m rmtaudit config schema report | head -c 1 >/dev/null; echo "${{PIPESTATUS[0]}}"'
    )
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "141")
    for args in (["--help"], ["config", "schema", "report"], ["analyzers", "--format", "json"]):
        with subprocess.Popen([*RMTAUDIT, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.wait(timeout=60) == 141
            assert process.stderr.read() == b""


def test_a_table_into_a_closed_pipe_is_quiet_and_a_file_is_still_written(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    path, target = tmp_path / "model.safetensors", tmp_path / "report.json"
    save_file({"a.weight": torch.eye(4)}, path)
    for args, wanted in (([], {141}), (["-o", str(target)], {0, 141})):
        with subprocess.Popen(
            [*RMTAUDIT, "scan", str(path), str(path), "--analyzers", "scale", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.wait(timeout=60) in wanted
            assert process.stderr.read() == b""
    assert len(json.loads(target.read_text())["reports"]) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_without_traceback() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*RMTAUDIT, "config", "schema", "report"],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_output_in_a_terminal_that_cannot_show_it(made: object, tmp_path: Path) -> None:
    from rmtaudit.report.document import dumps

    path = tmp_path / "r.json"
    path.write_text(dumps(made.hostile_report().to_dict()))  # type: ignore[attr-defined]
    done = call("report", str(path), PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


def test_ctrl_c_saves_what_is_finished_and_exits_130(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    path, target = tmp_path / "model.safetensors", tmp_path / "report.json"
    generator = torch.Generator().manual_seed(0)
    tensors = {"small.weight": torch.randn(8, 8, generator=generator)}
    for index in range(60):
        tensors[f"layers.{index}.weight"] = torch.randn(400, 400, generator=generator)
    save_file(tensors, path)
    code = (
        # a run in the background starts with SIGINT ignored, and children inherit it
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from rmtaudit.engine.scan import known as scan\n"
        "original = scan.analyse_layer\n"
        "def slow(*args):\n"
        "    print('layer', file=sys.stderr, flush=True)\n"
        "    time.sleep(0.2)\n"
        "    return original(*args)\n"
        "scan.analyse_layer = slow\n"
        "from rmtaudit.cli import main\n"
        "main()\n"
    )
    args = ["scan", str(path), "--analyzers", "scale", "--threads", "1", "-o", str(target), "-q"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *args], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stdout is not None
    for _ in range(4):
        assert process.stderr.readline() == "layer\n"
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert time.monotonic() - started < 5
    assert "Traceback" not in err
    document = json.loads(target.read_text())
    assert document["complete"] is False
    finished = [row for row in document["layers"] if row["status"] == "ok"]
    assert 2 <= len(finished) < 61
    assert not list(tmp_path.glob(".*.tmp"))
