"""Rows 41-46 of the hostile corpus: paths that are no files, and files that change."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
from clock import Clock
from safetensors.torch import save_file

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.files import FileSource
from rmtaudit.errors import ChangedError, CorruptError, InputError


def refused(path: Path | str) -> InputError:
    clock = Clock()
    with pytest.raises(InputError) as caught:
        open_checkpoint(path)
    assert clock.seconds() < 1
    assert str(caught.value).isprintable()
    return caught.value


def test_a_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.safetensors")
    error = refused(tmp_path / "m.safetensors")
    assert (error.code, error.message) == (
        "RA-IN-003",
        "The path is a FIFO (named pipe), not a regular file.",
    )


def test_a_socket_and_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket may have a hundred bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("m.bin")
        assert refused("m.bin").code == "RA-IN-003"
    assert refused("/dev/zero").message == "The path is a character device, not a regular file."


def test_paths_that_are_not_there(tmp_path: Path) -> None:
    assert refused(tmp_path / "absent.pt").code == "RA-IN-001"
    assert refused("").code == "RA-IN-001"
    assert refused(tmp_path / "nul\0.pt").code == "RA-IN-001"
    assert refused(tmp_path / ("n" * 5000)).code == "RA-IN-001"
    (tmp_path / "file").write_bytes(b"x")
    assert refused(tmp_path / "file" / "inside.pt").code == "RA-IN-001"
    (tmp_path / "dangling.pt").symlink_to("now\x1bhere")
    error = refused(tmp_path / "dangling.pt")
    assert error.code == "RA-IN-002"
    assert r"now\x1bhere" in error.message
    (tmp_path / "circle.pt").symlink_to("circle.pt")
    assert refused(tmp_path / "circle.pt").code == "RA-IN-002"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission_denied(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(b"x")
    path.chmod(0)
    assert refused(path).code == "RA-IN-004"


@pytest.mark.parametrize(
    "name", [b"two words.safetensors", b"line\nend.safetensors", b"not-\xff-utf8.safetensors"]
)
def test_odd_file_names(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(b"12345678{}")
    assert refused(path).where.isprintable()
    save_file({"w": torch.ones(2)}, tmp_path / "m")
    (tmp_path / "m").rename(path)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.read("w").sum() == 2


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_file({"w": torch.ones(1000), "v": torch.ones(1000)}, tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def test_a_file_that_shrinks(saved: Path) -> None:
    checkpoint = open_checkpoint(saved)
    os.truncate(saved, 4000)
    with pytest.raises(ChangedError, match="changed while it was being read") as caught:
        checkpoint.read("w" if checkpoint.tensors[0].name == "v" else "v")
    assert caught.value.code == "RA-IN-007"
    with pytest.raises(ChangedError):
        checkpoint.close()
    checkpoint.close()


def test_a_file_that_is_written_in_place(saved: Path) -> None:
    checkpoint = open_checkpoint(saved)
    checkpoint.read("w")
    with saved.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\0\0")
    os.utime(saved, ns=(1, 1))
    with pytest.raises(ChangedError):
        checkpoint.read("w")
    with pytest.raises(ChangedError):
        checkpoint.close()


@pytest.mark.parametrize("how", ["replaced", "removed"])
def test_a_file_that_is_replaced_or_removed_is_read_to_the_end(saved: Path, how: str) -> None:
    checkpoint = open_checkpoint(saved)
    if how == "replaced":
        (saved.parent / "new").write_bytes(b"something else")
        (saved.parent / "new").rename(saved)
    else:
        saved.unlink()
    assert checkpoint.read("w").sum() == 1000
    checkpoint.close()
    assert len(checkpoint.warnings) == 1
    assert how in checkpoint.warnings[0]
    with pytest.raises(InputError, match="closed"):
        checkpoint.read("w")


def test_leaving_the_block_closes_and_compares(saved: Path) -> None:
    with pytest.raises(ChangedError), open_checkpoint(saved):
        os.truncate(saved, 0)


def raise_after_truncating(path: Path) -> None:
    os.truncate(path, 0)
    raise KeyError


def test_an_error_on_the_way_is_not_hidden_by_closing(saved: Path) -> None:
    with pytest.raises(KeyError), open_checkpoint(saved):
        raise_after_truncating(saved)


def test_ranges_outside_the_file(saved: Path) -> None:
    source = FileSource(saved)
    for offset, length in ((-1, 4), (0, -4), (0, source.size + 1), (source.size, 1)):
        with pytest.raises(CorruptError):
            source.pread(offset, length)
    assert bytes(source.pread(source.size, 0)) == b""
    assert source.close() == ""
    assert source.close() == ""


def test_no_descriptor_is_left_behind(tmp_path: Path, saved: Path) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(saved.read_bytes()[:-1])
    (tmp_path / "bad.pt").write_bytes(b"PK\x03\x04 no archive")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        open_checkpoint(saved).close()
        refused(bad)
        refused(tmp_path / "bad.pt")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
