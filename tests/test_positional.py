"""Reads, writes and locks with and without what only Linux or POSIX has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from rmtaudit.positional import lock_file, read_into, write_at

POSIX_ONLY = ("preadv", "pread", "pwrite", "posix_fadvise", "sched_getaffinity", "O_NONBLOCK", "O_CLOEXEC")
TAKEN_AWAY = f"""
import os, sys
for name in {POSIX_ONLY!r}:
    if hasattr(os, name):
        delattr(os, name)
sys.modules["fcntl"] = None
"""


def run(arguments: list[str], *, taken_away: bool) -> str:
    code = f"{TAKEN_AWAY if taken_away else ''}\nfrom rmtaudit.cli import main\nmain()"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("taken_away", [(), ("preadv", "pwrite")])
def test_bytes_come_from_and_go_to_their_place(
    taken_away: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in taken_away:
        monkeypatch.delattr(os, name, raising=False)
    descriptor = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    try:
        assert write_at(descriptor, b"0123456789", 0) == 10
        assert write_at(descriptor, memoryview(b"ab"), 4) == 2
        into = bytearray(5)
        assert read_into(descriptor, memoryview(into), 3) == 5
        assert into == b"3ab67"
        assert read_into(descriptor, memoryview(into), 8) == 2
        assert into == b"89b67"
        assert read_into(descriptor, memoryview(into), 10) == 0
    finally:
        os.close(descriptor)


def test_a_second_descriptor_does_not_get_the_lock(tmp_path: Path) -> None:
    first, second = (os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR) for _ in range(2))
    try:
        lock_file(first)
        with pytest.raises(OSError, match="unavailable"):
            lock_file(second)
    finally:
        os.close(first)
        os.close(second)


def test_a_scan_needs_no_posix(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    tensors = {f"layers.{index}.weight": generator.standard_normal((64, 48)) for index in range(3)}
    save_file(tensors, tmp_path / "model.safetensors")
    arguments = ["scan", str(tmp_path / "model.safetensors"), "--preset", "fast", "--format", "json", "-q"]
    with_posix, without = (json.loads(run(arguments, taken_away=away)) for away in (False, True))
    assert without["layers"] == with_posix["layers"]
    assert without["coverage"]["fraction"] == 1


def test_a_log_determinant_on_disk_needs_no_posix(tmp_path: Path) -> None:
    side = np.random.default_rng(1).standard_normal((1500, 1800))
    np.save(tmp_path / "matrix.npy", side @ side.T)
    arguments = ["logdet", str(tmp_path / "matrix.npy"), "--method", "cholesky", "--memory", "6MB"]
    arguments += ["--scratch", str(tmp_path / "scratch"), "--format", "json", "-q", "--threads", "1"]
    with_posix, without = (json.loads(run(arguments, taken_away=away)) for away in (False, True))
    assert without["plan"]["place"] == "on disk"
    assert without["result"] == with_posix["result"]
    assert without["result"]["logdet"] == pytest.approx(float(np.linalg.slogdet(side @ side.T)[1]), rel=1e-12)
