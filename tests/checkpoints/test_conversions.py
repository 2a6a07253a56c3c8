"""Formats that are named and refused, with what converts them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from clock import Clock
from safetensors.torch import save_file

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import InputError, NotACheckpointError

Shared = Callable[..., Path]
LC0 = b"\x0d\xc0\x01\x00\x00\x12\x04test" + bytes(100)
CTRANSLATE2 = b"\x06\x00\x00\x00\x10\x00TransformerSpec\x00" + bytes(100)


def refused(path: Path) -> NotACheckpointError:
    clock = Clock()
    with pytest.raises(NotACheckpointError) as caught:
        open_checkpoint(path)
    assert clock.seconds() < 0.3
    assert str(caught.value).isprintable()
    assert caught.value.code == "RA-IN-195"
    return caught.value


def tar(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 600
            archive.addfile(member, io.BytesIO(bytes(600)))
    return buffer.getvalue()


FILES: dict[str, tuple[str, bytes, str, str]] = {
    "ExecuTorch": ("m.pte", b"\x1c\0\0\0ET12" + bytes(100), "an ExecuTorch program", "torch.export.save"),
    "CTranslate2": ("model.bin", CTRANSLATE2, "a CTranslate2 model", "audit those"),
    "lc0": ("net.pb", LC0, "Leela Chess Zero", "lc0 leela2onnx --input=NETWORK"),
    "lc0, packed": ("net.pb.gz", gzip.compress(LC0), "Leela Chess Zero", "lc0 leela2onnx"),
    "tfjs, description": (
        "model.json",
        b'{"format": "graph-model", "modelTopology": {}, "weightsManifest": []}',
        "the description of a TensorFlow.js model",
        "tf2onnx.convert --tfjs",
    ),
    "tfjs, weights": ("group1-shard1of2.bin", b"\x01\x02" * 50, "weights of a TensorFlow.js model", "--tfjs"),
    "TensorFlow, data": (
        "m.ckpt.data-00000-of-00001",
        b"\x01\x02" * 50,
        "part of a TensorFlow",
        "--checkpoint",
    ),
    "TensorFlow, index": ("m.ckpt.index", b"\0\0\x02" + bytes(60), "part of a TensorFlow", "--checkpoint"),
    "NeMo": (
        "m.nemo",
        tar("./model_config.yaml", "./model_weights.ckpt"),
        "a NeMo archive",
        "tar -xf m.nemo",
    ),
    "NeMo, packed": (
        "p.nemo",
        gzip.compress(tar("model_config.yaml", "model_weights.ckpt")),
        "a NeMo archive",
        "tar -xf p.nemo",
    ),
    "NeMo, by its content": (
        "m.tar",
        tar("model_config.yaml", "model_weights.ckpt"),
        "a NeMo archive",
        "tar -xf",
    ),
}


@pytest.mark.parametrize("row", FILES)
def test_files(tmp_path: Path, row: str) -> None:
    name, data, kind, hint = FILES[row]
    (tmp_path / name).write_bytes(data)
    error = refused(tmp_path / name)
    assert kind in error.message
    assert hint in error.hint


FOLDERS: dict[str, tuple[list[str], str, str]] = {
    "DeepSpeed": (
        ["latest", "zero_to_fp32.py", "global_step10/x"],
        "DeepSpeed",
        "python zero_to_fp32.py . OUTPUT",
    ),
    "DeepSpeed, a step": (
        ["mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt"],
        "DeepSpeed",
        "zero_to_fp32.py",
    ),
    "DeepSpeed, layers": (
        ["layer_00-model_00-model_states.pt", "layer_01-model_00-model_states.pt"],
        "DeepSpeed",
        "zero_to_fp32.py",
    ),
    "Megatron": (
        ["mp_rank_00/model_optim_rng.pt", "mp_rank_01/model_optim_rng.pt"],
        "Megatron",
        "tools/checkpoint/convert.py",
    ),
    "Orbax": (["_METADATA", "_sharding", "d/0"], "an Orbax checkpoint", "PyTreeCheckpointer().restore"),
    "Orbax, OCDBT": (
        ["manifest.ocdbt", "ocdbt.process_0/manifest.ocdbt"],
        "an Orbax checkpoint",
        "numpy.savez",
    ),
    "SavedModel": (
        ["saved_model.pb", "keras_metadata.pb", "variables/variables.index"],
        "a TensorFlow SavedModel",
        "python -m tf2onnx.convert --saved-model",
    ),
    "tfjs": (["model.json", "group1-shard1of1.bin"], "a model of TensorFlow.js", "--tfjs FOLDER/model.json"),
    "TensorFlow": (
        ["checkpoint", "model.ckpt.index", "model.ckpt.data-00000-of-00001", "model.ckpt.meta"],
        "a TensorFlow checkpoint",
        "tf.train.load_checkpoint",
    ),
}


def fill(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\x01\x02" * 50)
    return folder


@pytest.mark.parametrize("row", FOLDERS)
def test_folders(tmp_path: Path, row: str) -> None:
    names, kind, hint = FOLDERS[row]
    error = refused(fill(tmp_path, names))
    assert kind in error.message
    assert hint in error.hint


@pytest.mark.parametrize("row", FOLDERS)
def test_weights_in_such_a_folder_are_read_all_the_same(tmp_path: Path, row: str) -> None:
    fill(tmp_path, FOLDERS[row][0])
    save_file({"w": torch.ones(4, 4)}, tmp_path / "model.safetensors")
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.format == "safetensors"


def test_the_public_folder_of_deepspeed(shared: Shared) -> None:
    folder = shared("cases", "distributed-shards", "ds")
    for path in (folder, folder / "global_step10"):
        assert "DeepSpeed" in refused(path).message


@pytest.mark.parametrize("method", ["exl2", "exl3", "EXL2"])
def test_schemes_that_cannot_be_undone(tmp_path: Path, method: str) -> None:
    save_file({"a.q_weight": torch.ones(4, 4, dtype=torch.int32)}, tmp_path / "model.safetensors")
    config = {"quantization_config": {"quant_method": method}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for path in (tmp_path, tmp_path / "model.safetensors"):
        assert f"quantised by {method.upper()}" in refused(path).message


def test_other_schemes_are_not_refused(tmp_path: Path) -> None:
    save_file({"a.weight": torch.ones(4, 4)}, tmp_path / "model.safetensors")
    for config in ({"quantization_config": {"quant_method": "gptq"}}, {"quantization_config": "x"}, {}):
        (tmp_path / "config.json").write_text(json.dumps(config))
        open_checkpoint(tmp_path).close()


@pytest.mark.parametrize("cut", range(0, 2048, 97))
def test_a_tar_archive_that_is_cut_is_still_one(tmp_path: Path, cut: int) -> None:
    (tmp_path / "m.tar").write_bytes(tar("a", "b")[: 600 + cut])
    with pytest.raises(InputError) as caught:
        open_checkpoint(tmp_path / "m.tar")
    assert caught.value.code == "RA-IN-070"
