"""What a path stands for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import CorruptError, InputError, UsageError

W = {"w": torch.ones(2, 2)}


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if name.endswith(".safetensors"):
            save_file({name: torch.ones(2, 2)}, folder / name)
        else:
            torch.save({name: torch.ones(2, 2)}, folder / name)
    return folder


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["model.safetensors"], "model.safetensors"),
        (["model.safetensors", "model.fp16.safetensors"], "model.safetensors"),
        (["diffusion_pytorch_model.safetensors", "x.safetensors"], "diffusion_pytorch_model.safetensors"),
        (["adapter_model.safetensors", "optimizer.pt", "scheduler.pt"], "adapter_model.safetensors"),
        (["consolidated.safetensors", "model.safetensors"], "model.safetensors"),
        (["anything.safetensors"], "anything.safetensors"),
        (["model.safetensors", "pytorch_model.bin"], "model.safetensors"),
        (["pytorch_model.bin", "training_args.bin", "rng_state_0.pth"], "pytorch_model.bin"),
        (["checkpoint.pt"], "checkpoint.pt"),
        (["model.ckpt"], "model.ckpt"),
    ],
)
def test_the_weights_of_a_folder(tmp_path: Path, names: list[str], chosen: str) -> None:
    with open_checkpoint(fill(tmp_path / "m", *names)) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == [chosen]
        assert checkpoint.path == tmp_path / "m" / chosen


def test_copies_and_leftovers_are_mentioned(tmp_path: Path) -> None:
    folder = fill(tmp_path, "model.safetensors", "model.fp16.safetensors", "pytorch_model.bin")
    with open_checkpoint(folder) as checkpoint:
        assert checkpoint.warnings == (
            "safetensors was read; the copies in other formats were ignored: pytorch_model.bin",
            "other weights in the folder were ignored: model.fp16.safetensors",
        )


def test_several_candidates_are_listed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"several checkpoints: a\.safetensors, b\.safetensors"):
        open_checkpoint(fill(tmp_path, "a.safetensors", "b.safetensors"))


def test_numbered_shards_without_an_index(tmp_path: Path) -> None:
    names = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    with open_checkpoint(fill(tmp_path, *names)) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == names
        assert checkpoint.warnings == ("3 numbered shards without an index",)
    (tmp_path / names[1]).unlink()
    with pytest.raises(CorruptError, match="1 of 3 shards are missing"):
        open_checkpoint(tmp_path)


def test_an_empty_folder_and_one_of_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="The folder holds no checkpoint"):
        open_checkpoint(tmp_path)
    fill(tmp_path / "unet", "diffusion_pytorch_model.safetensors")
    with pytest.raises(InputError, match="The folder holds no checkpoint") as caught:
        open_checkpoint(tmp_path)
    assert caught.value.hint == "Give one of its folders: unet."


def hub(root: Path, name: str = "models--org--name", revision: str = "a" * 40) -> Path:
    model = root / name
    blobs, snapshot = model / "blobs", model / "snapshots" / revision
    blobs.mkdir(parents=True, exist_ok=True)
    snapshot.mkdir(parents=True)
    (model / "refs").mkdir(exist_ok=True)
    (model / "refs" / "main").write_text(revision)
    save_file({revision: torch.ones(2, 2)}, blobs / revision)
    (snapshot / "model.safetensors").symlink_to(Path("..", "..", "blobs", revision))
    return model


def test_a_hub_cache_is_followed_through_its_links(tmp_path: Path) -> None:
    model = hub(tmp_path)
    for path in (tmp_path, model, model / "snapshots" / ("a" * 40)):
        with open_checkpoint(path) as checkpoint:
            assert [spec.name for spec in checkpoint.tensors] == ["a" * 40]
            assert checkpoint.warnings == ()


def test_main_decides_between_snapshots_and_several_are_listed(tmp_path: Path) -> None:
    model = hub(tmp_path)
    hub(tmp_path, revision="b" * 40)
    with open_checkpoint(model) as checkpoint:
        assert checkpoint.tensors[0].name == "b" * 40
    (model / "refs" / "main").unlink()
    with pytest.raises(UsageError, match="several snapshots"):
        open_checkpoint(model)
    hub(tmp_path, name="models--org--other")
    with pytest.raises(UsageError, match="several models: models--org--name, models--org--other"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("revision", ["c" * 40, "../../..", "/etc", "\x1b[31m"])
def test_main_names_a_snapshot_and_nothing_else(tmp_path: Path, revision: str) -> None:
    model = hub(tmp_path)
    (model / "refs" / "main").write_text(revision)
    with pytest.raises(InputError, match="which does not exist") as caught:
        open_checkpoint(model)
    assert str(caught.value).isprintable()


def test_links_out_of_the_cache_or_folder(tmp_path: Path) -> None:
    save_file(W, tmp_path / "outside.safetensors")
    model = hub(tmp_path / "cache")
    link = model / "snapshots" / ("a" * 40) / "model.safetensors"
    link.unlink()
    link.symlink_to(tmp_path / "outside.safetensors")
    with pytest.raises(InputError) as caught:
        open_checkpoint(model)
    assert caught.value.code == "RA-IN-081"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to(tmp_path / "outside.safetensors")
    with pytest.raises(InputError) as caught:
        open_checkpoint(folder)
    assert caught.value.code == "RA-IN-081"
    open_checkpoint(folder / "model.safetensors").close()  # named by the user


def test_config_is_kept_as_facts(tmp_path: Path) -> None:
    folder = fill(tmp_path, "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "x", "auto_map": {"AutoModel": "evil.py"}}))
    for path in (folder, folder / "model.safetensors"):
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.config["model_type"] == "x"
            assert checkpoint.warnings == (
                "config.json refers to code of its own (auto_map), which was not run",
            )
            with pytest.raises(TypeError):
                checkpoint.config["model_type"] = "y"  # type: ignore[index]


@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"x" * 10_000_001])
def test_a_config_that_cannot_be_used_is_a_warning(tmp_path: Path, text: bytes) -> None:
    folder = fill(tmp_path, "model.safetensors")
    (folder / "config.json").write_bytes(text)
    with open_checkpoint(folder) as checkpoint:
        assert dict(checkpoint.config) == {}
        assert [w for w in checkpoint.warnings if w.startswith("config.json was not read: ")]


def test_a_config_that_is_a_fifo_or_a_dangling_link(tmp_path: Path) -> None:
    folder = fill(tmp_path, "model.safetensors")
    os.mkfifo(folder / "config.json")
    with open_checkpoint(folder) as checkpoint:
        assert "FIFO" in checkpoint.warnings[0]
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("nowhere")
    with open_checkpoint(folder) as checkpoint:
        assert "which does not exist" in checkpoint.warnings[0]


def test_weights_of_other_formats_and_one_level_down_are_named(tmp_path: Path) -> None:
    folder = fill(tmp_path / "m", "model.safetensors")
    fill(folder / "checkpoint-500", "model.safetensors", "optimizer.pt")
    fill(folder / ".cache", "model.safetensors")
    (folder / "onnx").mkdir()
    for name in ("m.gguf", "onnx/model.onnx", "notes.txt", "tokenizer.h5", "saved_model.pb"):
        (folder / name).write_bytes(bytes(64))
    with open_checkpoint(folder) as checkpoint:
        named = [each for each in checkpoint.warnings if "were ignored" in each]
        text = " ".join(named)
        for name in ("m.gguf", "onnx/model.onnx", "saved_model.pb", "checkpoint-500/model.safetensors"):
            assert name in text
        for name in ("optimizer", "tokenizer", "notes", ".cache"):
            assert name not in text


def test_a_long_list_of_other_weights_is_cut(tmp_path: Path) -> None:
    folder = fill(tmp_path, "model.safetensors")
    for i in range(30):
        (folder / f"m{i}.ot").write_bytes(bytes(64))
    with open_checkpoint(folder) as checkpoint:
        assert checkpoint.warnings[-1].endswith(", … (30)")


def test_a_folder_with_one_file_of_another_format_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "model.ort").write_bytes(b"\x1c\0\0\0unknown to all" + bytes(64))
    with pytest.raises(InputError) as caught:
        open_checkpoint(tmp_path)
    assert (caught.value.code, caught.value.where) == ("RA-IN-018", "model.ort")
    (tmp_path / "model.mnn").write_bytes(bytes(64))
    with pytest.raises(InputError, match=r"Files that look like weights: model\.mnn, model\.ort") as caught:
        open_checkpoint(tmp_path)
    assert caught.value.code == "RA-IN-091"


def stale(folder: Path, *tensors: str, extension: str = ".safetensors") -> Path:
    weight_map = {name: f"model-0000{i}-of-00004{extension}" for i, name in enumerate(tensors, 1)}
    (folder / f"model{extension}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ["model.safetensors"],
        ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        ["pytorch_model.bin"],
        ["only.safetensors"],
    ],
)
def test_a_complete_set_beside_a_stale_index_is_taken(tmp_path: Path, names: list[str]) -> None:
    folder = stale(fill(tmp_path, *names), *names)
    with open_checkpoint(folder) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == names
        said = checkpoint.warnings[0]
        assert said.startswith(f"model.safetensors.index.json names {len(names)} shards that are missing")
        assert all(name in said for name in names)
    with pytest.raises(CorruptError, match="shards are missing"):
        open_checkpoint(folder / "model.safetensors.index.json")


def test_the_shards_of_another_index_are_a_complete_set(tmp_path: Path) -> None:
    names = [f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2)]
    folder = stale(fill(tmp_path, *names), *names)
    weight_map = {name: name for name in names}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with open_checkpoint(folder) as checkpoint:
        assert checkpoint.format == "torch-zip"
        assert len(checkpoint.tensors) == 2


def test_a_set_that_lacks_a_tensor_of_the_index_is_named_and_not_taken(tmp_path: Path) -> None:
    folder = stale(fill(tmp_path, "model.safetensors", "pytorch_model.bin"), "model.safetensors", "another")
    with pytest.raises(CorruptError, match="2 of 2 shards are missing") as caught:
        open_checkpoint(folder)
    assert caught.value.code == "RA-IN-080"
    assert "The folder also holds model.safetensors, pytorch_model.bin" in caught.value.hint


def test_a_damaged_set_beside_a_stale_index_is_not_taken(tmp_path: Path) -> None:
    folder = stale(fill(tmp_path, "model.safetensors"), "model.safetensors")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptError, match="shards are missing"):
        open_checkpoint(folder)


@pytest.mark.parametrize("given", ["s3://bucket/model.bin", "gs://bucket/model.bin", "ftp://host/m.bin"])
def test_a_url_that_is_not_read_is_named_as_it_was_given(given: str) -> None:
    for path in (given, Path(given)):
        with pytest.raises(InputError, match="hf://, https:// and http://") as caught:
            open_checkpoint(path)
        assert (caught.value.code, caught.value.where) == ("RA-IN-094", given)
        assert caught.value.hint == "Download it first."


def test_the_name_of_a_model_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    for name in ("bert-base-uncased", "openai-community/gpt2"):
        with pytest.raises(InputError) as caught:
            open_checkpoint(name)
        assert caught.value.code == "RA-IN-001"
        assert caught.value.hint.startswith("Check the path.")
    model = hub(tmp_path / "cache", "models--openai-community--gpt2")
    for given in ("openai-community/gpt2", "hf://openai-community/gpt2@main"):
        with open_checkpoint(given) as checkpoint:
            assert model in Path(checkpoint.path).parents
    for path in ("absent.safetensors", "model.pt", "a/b/c"):
        with pytest.raises(InputError) as caught:
            open_checkpoint(path)
        assert "Hub" not in str(caught.value)
