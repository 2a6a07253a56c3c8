"""Indices of shards: what they may say, and what the shards must hold."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints import sharded as module
from rmtaudit.errors import ChangedError, CorruptError, InputError, UnsafeError

Sharded = Callable[..., Path]


def code_of(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        open_checkpoint(path)
    assert str(caught.value).isprintable()
    return caught.value.code


@pytest.mark.parametrize("extension", [".safetensors", ".bin"])
def test_an_index_opens_its_shards(sharded: Sharded, extension: str) -> None:
    index = sharded(extension)
    for path in (index, index.parent):
        with open_checkpoint(path) as checkpoint:
            assert [spec.name for spec in checkpoint.tensors] == ["a.weight", "b.weight"]
            assert checkpoint.read("a.weight").sum() == 6
            assert checkpoint.warnings == ()
            assert isinstance(checkpoint, module.ShardedCheckpoint)
            assert checkpoint.home("b.weight") == checkpoint.shards[1]
            with pytest.raises(KeyError):
                checkpoint.read("c")


@pytest.mark.parametrize(
    "shard",
    [
        "../../etc/passwd.safetensors", "/etc/passwd.safetensors", "C:\\x.safetensors", "C:x.safetensors",
        "\\\\host\\share\\x.safetensors", "a/../../x.safetensors", "a\\..\\..\\x.safetensors",
        "\\x.safetensors", "x\0.safetensors",
    ],
)  # fmt: skip
def test_shards_may_not_leave_the_folder(sharded: Sharded, shard: str) -> None:
    assert code_of(sharded(extra=shard)) == "RA-IN-078"


@pytest.mark.parametrize("shard", ["evil.bin", "evil.safetensors.pkl", "evil", "safetensors"])
def test_a_safetensors_index_has_safetensors_shards(sharded: Sharded, shard: str) -> None:
    assert code_of(sharded(extra=shard)) == "RA-IN-079"


def test_a_shard_that_is_a_pickle_in_disguise(sharded: Sharded) -> None:
    index = sharded()
    torch.save({"a.weight": torch.ones(2, 3)}, index.parent / "model-00001-of-00002.safetensors")
    assert code_of(index) == "RA-IN-016"


def test_missing_shards_are_counted(sharded: Sharded) -> None:
    index = sharded(c="model-00009.safetensors", d="n" * 300 + ".safetensors")
    with pytest.raises(CorruptError, match=r"2 of 4 shards are missing: model-00009\.safetensors"):
        open_checkpoint(index)


def test_a_tensor_in_two_shards(sharded: Sharded) -> None:
    index = sharded()
    save_file(
        {"b.weight": torch.zeros(4), "a.weight": torch.ones(1)},
        index.parent / "model-00002-of-00002.safetensors",
    )
    assert code_of(index) == "RA-IN-082"


def test_a_tensor_that_is_not_where_it_should_be(sharded: Sharded) -> None:
    assert code_of(sharded(c="model-00001-of-00002.safetensors")) == "RA-IN-083"
    with pytest.raises(CorruptError, match=r"it is in model-00002-of-00002\.safetensors"):
        open_checkpoint(
            sharded(
                **{"b.weight": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"}
            )
        )


def test_extra_tensors_and_sizes_are_warnings(sharded: Sharded) -> None:
    index = sharded(total=41)
    save_file(
        {"b.weight": torch.zeros(4), "c": torch.ones(1)}, index.parent / "model-00002-of-00002.safetensors"
    )
    with open_checkpoint(index) as checkpoint:
        assert checkpoint.warnings == (
            "1 tensors are not in the index: 'c' …",
            "the index states 41 bytes of tensors, but the files hold 44",
        )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}', "RA-IN-077"),
        ('{"weight_map": ["a"]}', "RA-IN-077"),
        ('{"weight_map": {"a": 1}}', "RA-IN-077"),
        ('{"weight_map": {"a": null}}', "RA-IN-077"),
        ('{"weight_map": {}}', "RA-IN-077"),
        ("{", "RA-IN-077"),
        ("\xff", "RA-IN-077"),
        ("[" * 100_000, "RA-IN-077"),
        ('{"metadata": {}}', "RA-IN-076"),
        ("[]", "RA-IN-076"),
        ('{"weight_map": {"a": ""}}', "RA-IN-078"),
    ],
)
def test_malformed_indices(tmp_path: Path, text: str, code: str) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_bytes(text.encode("latin-1"))
    assert code_of(index) == code


def test_an_index_of_half_a_gigabyte(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    with index.open("wb") as file:
        file.truncate(500_000_000)
    assert code_of(index) == "RA-IN-008"


def test_a_linked_folder_may_not_lead_out_of_the_folder(sharded: Sharded, tmp_path: Path) -> None:
    index = sharded()
    outside = tmp_path / "outside"
    outside.mkdir()
    home = tmp_path / "model"
    home.mkdir()
    (tmp_path / "model-00001-of-00002.safetensors").rename(outside / "s.safetensors")
    (tmp_path / "model-00002-of-00002.safetensors").rename(home / "t.safetensors")
    (home / "sub").symlink_to(outside)
    table = {"weight_map": {"a.weight": "sub/s.safetensors", "b.weight": "t.safetensors"}}
    index = home / index.name
    index.write_text(json.dumps(table))
    assert code_of(index) == "RA-IN-081"
    (home / "sub").unlink()
    (home / "sub").mkdir()
    (outside / "s.safetensors").rename(home / "sub" / "s.safetensors")
    with open_checkpoint(index) as checkpoint:
        assert len(checkpoint.tensors) == 2


def test_links_may_not_leave_the_folder(sharded: Sharded, tmp_path: Path) -> None:
    index = sharded()
    shard = index.parent / "model-00001-of-00002.safetensors"
    inside, outside = tmp_path / "inside", tmp_path.parent / f"{tmp_path.name}-outside.safetensors"
    shutil.copy(shard, outside)
    shutil.move(shard, inside)
    shard.symlink_to(inside)
    open_checkpoint(index).close()
    shard.unlink()
    shard.symlink_to(outside)
    with pytest.raises(UnsafeError, match="outside the checkpoint's folder"):
        open_checkpoint(index)
    outside.unlink()
    assert code_of(index) == "RA-IN-002"
    shard.unlink()
    shard.symlink_to(shard.name)
    assert code_of(index) == "RA-IN-002"


def test_hundreds_of_shards_keep_no_files_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OPEN_CAP", 3)
    mapping: dict[str, Any] = {}
    for i in range(6):
        save_file({f"w{i}": torch.full((2,), float(i))}, tmp_path / f"m{i}.safetensors")
        mapping[f"w{i}"] = f"m{i}.safetensors"
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps({"weight_map": mapping}))
    before = len(list(Path("/proc/self/fd").iterdir()))
    checkpoint = open_checkpoint(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert [checkpoint.read(f"w{i}")[0].item() for i in range(6)] == list(range(6))
    save_file({"w5": torch.zeros(2)}, tmp_path / "other")
    (tmp_path / "other").rename(tmp_path / "m5.safetensors")
    with pytest.raises(ChangedError):
        checkpoint.read("w5")
    with pytest.raises(ChangedError):
        checkpoint.close()
    checkpoint.close()
