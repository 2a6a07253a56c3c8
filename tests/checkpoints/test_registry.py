"""Which reader opens what, and what is said where none does."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from rmtaudit.checkpoints import Checkpoint, Reader, open_checkpoint, registry
from rmtaudit.errors import InputError, NotACheckpointError, UnsafeError, UsageError

PAD = bytes(64)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 4600000000\n"


@pytest.mark.parametrize(
    ("name", "data", "code", "words"),
    [
        ("m.safetensors", b"", "RA-IN-010", "empty"),
        ("m.bin", b"short", "RA-IN-014", "5 bytes"),
        ("m.safetensors", LFS, "RA-IN-011", f"{len(LFS)} bytes but should have 4600000000"),
        ("m.bin", b"\n<!DOCTYPE html><html>404</html>", "RA-IN-012", "HTML"),
        ("m.bin", b'{"error":"Repository not found"}', "RA-IN-013", "JSON error"),
        ("tokenizer.json", b'{"version": "1.0", "x": []}', "RA-IN-013", "JSON file"),
        ("m.safetensors.part", bytes(100), "RA-IN-015", "unfinished"),
        ("m.gguf", b"GGUF" + PAD, "RA-IN-017", "GGUF"),
        ("m.h5", b"\x89HDF\r\n\x1a\n" + PAD, "RA-IN-017", "HDF5"),
        ("m.npy", b"\x93NUMPY\x01\x00" + PAD, "RA-IN-017", "numpy"),
        ("m.tflite", b"\x1c\0\0\0TFL3" + PAD, "RA-IN-017", "TensorFlow Lite"),
        ("m.onnx", b"\x08\x08\x12\x07pytorch" + PAD, "RA-IN-017", "ONNX"),
        ("m.bin.gz", b"\x1f\x8b\x08\0" + PAD, "RA-IN-017", "gzip"),
        ("m.7z", b"7z\xbc\xaf\x27\x1c" + PAD, "RA-IN-017", "7z"),
        ("m.tar", b"name".ljust(257, b"\0") + b"ustar\0" + PAD, "RA-IN-070", "tar"),
        ("m.dat", b"\x01\x02\x03\x04 nothing known", "RA-IN-018", "no reader knows"),
    ],
)
def test_what_is_no_checkpoint_is_named(
    tmp_path: Path, name: str, data: bytes, code: str, words: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(NotACheckpointError) as caught:
        open_checkpoint(tmp_path / name)
    assert caught.value.code == code
    assert words in caught.value.message
    assert caught.value.where == name


@pytest.mark.parametrize("new", [True, False])
def test_a_pickle_may_not_call_itself_safetensors(tmp_path: Path, new: bool) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "m.safetensors", _use_new_zipfile_serialization=new)
    with pytest.raises(UnsafeError, match="the name says safetensors, but the content is torch") as caught:
        open_checkpoint(tmp_path / "m.safetensors")
    assert caught.value.code == "RA-IN-016"


def test_other_disagreements_are_warnings(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(save({"w": torch.ones(2)}))
    with open_checkpoint(tmp_path / "m.bin") as checkpoint:
        assert checkpoint.warnings == ("the name ends in .bin, but the content is safetensors",)
    (tmp_path / "noname").write_bytes(save({"w": torch.ones(2)}))
    with open_checkpoint(tmp_path / "noname") as checkpoint:
        assert checkpoint.warnings == ()


class Toy(Reader):
    name = "toy"
    extensions = (".toy",)

    def recognises(self, head: bytes) -> bool:
        return head.startswith(b"TOY!")

    def open(self, path: Path) -> Checkpoint:
        return ToyCheckpoint(path)


class ToyCheckpoint(Checkpoint):
    format = "toy"
    tensors = ()

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> torch.Tensor:
        raise KeyError(name)


class Broken:
    def __init__(self) -> None:
        raise RuntimeError("no such library")


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that installs readers of another distribution."""
    own = registry.registered(registry.GROUP)

    def install(**targets: type) -> None:
        class Entry:
            dist = None
            value = "elsewhere:Reader"

            def __init__(self, name: str, target: type) -> None:
                self.name, self.target = name, target

            def load(self) -> type:
                return self.target

        entries = [*own, *(Entry(name, target) for name, target in targets.items())]
        monkeypatch.setattr(registry, "registered", lambda _: entries)

    return install


def test_readers_of_others_are_asked_last(tmp_path: Path, plugins: Callable[..., None]) -> None:
    plugins(toy=Toy, broken=Broken)
    (tmp_path / "m.toy").write_bytes(b"TOY! and the rest")
    with open_checkpoint(tmp_path / "m.toy") as checkpoint:
        assert checkpoint.format == "toy"
    (tmp_path / "m.safetensors").write_bytes(save({"w": torch.ones(2)}))
    with open_checkpoint(tmp_path / "m.safetensors") as checkpoint:
        assert checkpoint.warnings == ()


def test_a_broken_plugin_is_an_error_only_where_it_is_needed(
    tmp_path: Path, plugins: Callable[..., None]
) -> None:
    plugins(broken=Broken, toy=Toy)
    (tmp_path / "m.toy").write_bytes(b"TOY! and the rest")
    with open_checkpoint(tmp_path / "m.toy") as checkpoint:
        assert "RuntimeError: no such library" in checkpoint.warnings[0]
    (tmp_path / "m.x").write_bytes(b"unknown to all of them")
    with pytest.raises(UsageError, match="RuntimeError: no such library"):
        open_checkpoint(tmp_path / "m.x")
    (tmp_path / "m.html").write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match="HTML"):
        open_checkpoint(tmp_path / "m.html")


def test_the_list_of_plugins_is_a_limit(
    tmp_path: Path, plugins: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins(toy=Toy, broken=Broken)
    (tmp_path / "m.toy").write_bytes(b"TOY! and the rest")
    monkeypatch.setenv("RMTAUDIT_PLUGINS", "other, more")
    with pytest.raises(NotACheckpointError):
        open_checkpoint(tmp_path / "m.toy")
    monkeypatch.setenv("RMTAUDIT_PLUGINS", "toy")
    with open_checkpoint(tmp_path / "m.toy") as checkpoint:
        assert checkpoint.warnings == ()


def test_what_is_not_a_reader_is_refused(tmp_path: Path, plugins: Callable[..., None]) -> None:
    plugins(odd=dict)
    (tmp_path / "m.x").write_bytes(b"unknown to all of them")
    with pytest.raises(UsageError, match="is not a reader"):
        open_checkpoint(tmp_path / "m.x")


def test_the_entry_points_are_our_three_readers() -> None:
    own = [entry for entry in registry.registered(registry.GROUP) if registry._is_own(entry)]
    assert [entry.name for entry in own] == ["safetensors", "torch-legacy", "torch-zip"]
    assert all(isinstance(entry, EntryPoint) for entry in own)
    assert set(registry.extensions()) == {"safetensors", "torch-legacy", "torch-zip"}
    json.dumps(registry.extensions())
    pickle.dumps(registry.extensions())
