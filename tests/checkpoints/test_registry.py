"""Which reader opens what, and what is said where none does."""

from __future__ import annotations

import json
import pickle
import tomllib
import zipfile
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from rmtaudit.checkpoints import Checkpoint, Contents, Reader, open_checkpoint, registry
from rmtaudit.entry_points import is_own, registered
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
        ("m.safetensors.part", bytes(100), "RA-IN-015", "incomplete"),
        ("m.ggml", b"tjgg" + PAD, "RA-IN-017", "GGML file, the format before GGUF"),
        ("m.ort", b"\x1c\0\0\0ORTM" + PAD, "RA-IN-017", "ONNX Runtime"),
        ("m.bin.gz", b"\x1f\x8b\x08\0" + PAD, "RA-IN-017", "gzip"),
        ("m.7z", b"7z\xbc\xaf\x27\x1c" + PAD, "RA-IN-017", "7z"),
        ("m.tar", b"name".ljust(257, b"\0") + b"ustar\0" + PAD, "RA-IN-070", "tar"),
        ("m.dat", b"\x01\x02\x03\x04 nothing known", "RA-IN-018", "No reader recognises"),
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
    with pytest.raises(
        UnsafeError, match="The file name indicates safetensors, but the content is torch"
    ) as caught:
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

    def recognises(self, contents: Contents) -> bool:
        return contents.head.startswith(b"TOY!")

    def open(self, path: Path) -> Checkpoint:
        return ToyCheckpoint(path)


class ToyCheckpoint(Checkpoint):
    format = "toy"
    tensors = ()

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> torch.Tensor:
        raise KeyError(name)


class ToyZip(Toy):
    """Knows a zip archive by what is in it, a JSON file by its first bytes, and a folder by its names."""

    name = "toy-zip"
    extensions = (".tzip",)

    def recognises(self, contents: Contents) -> bool:
        listed = "toy.txt" in contents.names
        return listed or (not contents.folder and contents.head.startswith(b'{"toy"'))


class Claims(Toy):
    """A hostile plugin: it claims to know everything."""

    name = "claims"

    def recognises(self, _: Contents) -> bool:
        return True


class Broken:
    def __init__(self) -> None:
        raise RuntimeError("no such library")


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that installs readers of another distribution."""
    own = registered(registry.GROUP)

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


def test_readers_of_others_are_asked(tmp_path: Path, plugins: Callable[..., None]) -> None:
    plugins(toy=Toy, broken=Broken)
    (tmp_path / "m.toy").write_bytes(b"TOY! and the rest")
    with open_checkpoint(tmp_path / "m.toy") as checkpoint:
        assert checkpoint.format == "toy"
    (tmp_path / "m.safetensors").write_bytes(save({"w": torch.ones(2)}))
    with open_checkpoint(tmp_path / "m.safetensors") as checkpoint:
        assert checkpoint.warnings == ()


def test_a_plugin_knows_an_archive_by_what_is_in_it(tmp_path: Path, plugins: Callable[..., None]) -> None:
    plugins(toy=ToyZip)
    for name, entry in (("m.tzip", "toy.txt"), ("m.zip", "other.txt")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(entry, "text")
    with open_checkpoint(tmp_path / "m.tzip") as checkpoint:
        assert checkpoint.format == "toy"
    with pytest.raises(NotACheckpointError) as caught:
        open_checkpoint(tmp_path / "m.zip")
    assert caught.value.code == "RA-IN-063"  # our own reader says what is wrong with it
    (tmp_path / "m.json").write_bytes(b'{"toy": 1}')
    with open_checkpoint(tmp_path / "m.json") as checkpoint:
        assert checkpoint.format == "toy"


def test_a_plugin_takes_nothing_that_ours_are_sure_of(tmp_path: Path, plugins: Callable[..., None]) -> None:
    plugins(claims=Claims)
    (tmp_path / "m.safetensors").write_bytes(save({"w": torch.ones(2)}))
    for zipped in (True, False):
        torch.save({"w": torch.ones(2)}, tmp_path / f"{zipped}.pt", _use_new_zipfile_serialization=zipped)
    for name, format_ in (
        ("m.safetensors", "safetensors"),
        ("True.pt", "torch-zip"),
        ("False.pt", "torch-legacy"),
    ):
        with open_checkpoint(tmp_path / name) as checkpoint:
            assert checkpoint.format == format_
    (tmp_path / "lone.pkl").write_bytes(pickle.dumps({"w": [1.0]}))  # a pickle of anything may be theirs
    with open_checkpoint(tmp_path / "lone.pkl") as checkpoint:
        assert checkpoint.format == "toy"


def test_a_plugin_opens_its_files_in_a_folder(tmp_path: Path, plugins: Callable[..., None]) -> None:
    plugins(toy=Toy)
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(NotACheckpointError, match="holds no checkpoint"):
        open_checkpoint(tmp_path)
    (tmp_path / "model.toy").write_bytes(b"TOY! and the rest")
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.path == tmp_path / "model.toy"
    (tmp_path / "model.safetensors").write_bytes(save({"w": torch.ones(2)}))
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.format == "safetensors"


def test_a_plugin_opens_a_folder_as_a_whole(tmp_path: Path, plugins: Callable[..., None]) -> None:
    plugins(toy=ToyZip)
    (tmp_path / "toy.txt").write_text("this folder is a checkpoint")
    with open_checkpoint(tmp_path) as checkpoint:
        assert (checkpoint.format, checkpoint.path) == ("toy", tmp_path)


def test_shards_of_a_plugins_format_have_an_index(tmp_path: Path, plugins: Callable[..., None]) -> None:
    index = tmp_path / "model.toy.index.json"
    index.write_text(json.dumps({"weight_map": {"w": "a.toy"}}))
    with pytest.raises(NotACheckpointError, match="JSON file"):
        open_checkpoint(index)
    plugins(toy=Toy)
    with pytest.raises(InputError, match="1 of 1 shards are missing"):
        open_checkpoint(index)


def test_families_of_formats_come_from_the_readers() -> None:
    assert registry.families(registry.own_readers()) == [
        (".safetensors",),
        (".xml",),
        (".bin", ".pt", ".pth", ".th", ".ckpt"),
        (".pt2",),
        (".gguf",),
        (".keras",),
        (".h5", ".hdf5"),
        (".msgpack",),
        (".npz",),
        (".onnx",),
        (".tflite",),
        (".pb",),
    ]
    assert registry.families([ToyZip(), *registry.own_readers()])[-1] == (".tzip",)


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


class Raises(Toy):
    name = "raises"

    def recognises(self, contents: Contents) -> bool:
        return bool(contents.head[10_000])


class RaisesOnOpening(Toy):
    def open(self, path: Path) -> Checkpoint:
        raise ZeroDivisionError(f"in {path.name}")


def test_a_plugin_that_fails_is_named_and_stops_no_other(
    tmp_path: Path, plugins: Callable[..., None]
) -> None:
    (tmp_path / "m.toy").write_bytes(b"TOY! and the rest")
    (tmp_path / "m.x").write_bytes(b"unknown to all of them")
    plugins(a=Raises, toy=Toy)
    with open_checkpoint(tmp_path / "m.toy") as checkpoint:
        assert checkpoint.format == "toy"
        assert "The reader 'raises' failed: IndexError" in checkpoint.warnings[0]
    with pytest.raises(UsageError, match="some readers could not be tried: The reader 'raises' failed"):
        open_checkpoint(tmp_path / "m.x")
    plugins(a=RaisesOnOpening)
    with pytest.raises(InputError, match=r"The reader 'toy' failed: ZeroDivisionError: in m\.toy"):
        open_checkpoint(tmp_path / "m.toy")


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


def test_the_entry_points_are_our_readers() -> None:
    own = [entry for entry in registered(registry.GROUP) if is_own(entry)]
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
    declared = project["entry-points"][registry.GROUP]
    assert [entry.name for entry in own] == sorted(declared)
    assert {"gguf", "keras", "npy", "npz", "onnx", "safetensors", "tensorflow-graph", "tflite"} <= set(
        declared
    )
    assert all(isinstance(entry, EntryPoint) for entry in own)
    assert set(registry.extensions()) == set(declared)
    json.dumps(registry.extensions())
    pickle.dumps(registry.extensions())
