"""Rows 44 to 46: files that change while they are read, for every container that a test can write."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.checkpoints import Checkpoint, open_checkpoint
from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.errors import ChangedError

STATE = {"a.weight": torch.randn(60, 70), "b.weight": torch.randn(50, 40)}


def safetensors(folder: Path) -> Path:
    save_file(STATE, folder / "m.safetensors")
    return folder / "m.safetensors"


def sharded(folder: Path) -> Path:
    for name in STATE:
        save_file({name: STATE[name]}, folder / f"{name}.safetensors")
    weight_map = {name: f"{name}.safetensors" for name in STATE}
    (folder / "m.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder / "a.weight.safetensors"


def pipeline(folder: Path) -> Path:
    (folder / "unet").mkdir()
    (folder / "model_index.json").write_text('{"unet": ["diffusers", "UNet"]}')
    return safetensors(folder / "unet")


def torch_zip(folder: Path) -> Path:
    torch.save(STATE, folder / "m.pt")
    return folder / "m.pt"


def torch_legacy(folder: Path) -> Path:
    torch.save(STATE, folder / "m.pt", _use_new_zipfile_serialization=False)
    return folder / "m.pt"


def npz(folder: Path) -> Path:
    np.savez(folder / "m.npz", **{name: value.numpy() for name, value in STATE.items()})  # type: ignore[arg-type]
    return folder / "m.npz"


def zipped(folder: Path) -> Path:
    buffer = io.BytesIO()
    torch.save(STATE, buffer)
    with zipfile.ZipFile(folder / "m.zip", "w") as archive:
        archive.writestr("policy.pth", buffer.getvalue())
    return folder / "m.zip"


def keras(folder: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "m.h5", "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        group = file.create_group("dense")
        group.attrs["weight_names"] = [b"dense/kernel:0"]
        group.create_dataset("dense/kernel:0", data=STATE["a.weight"].numpy())
    return folder / "m.h5"


def gguf(folder: Path) -> Path:
    library = pytest.importorskip("gguf")
    writer = library.GGUFWriter(folder / "m.gguf", "llama")
    for name, value in STATE.items():
        writer.add_tensor(name, value.numpy())
    for step in ("write_header_to_file", "write_kv_data_to_file", "write_tensors_to_file", "close"):
        getattr(writer, step)()
    return folder / "m.gguf"


WRITERS = [safetensors, sharded, pipeline, torch_zip, torch_legacy, npz, zipped, keras, gguf]


def subject(path: Path, folder: Path) -> Path:
    return folder if path.parent != folder or (folder / "m.safetensors.index.json").exists() else path


def read_all(checkpoint: Checkpoint) -> None:
    for spec in checkpoint.tensors:
        checkpoint.read(spec.name)


def read_and_compare(checkpoint: Checkpoint) -> None:
    read_all(checkpoint)
    checkpoint.check_unchanged()


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path, writer: Callable[[Path], Path]) -> None:
    path = writer(tmp_path)
    checkpoint = open_checkpoint(subject(path, tmp_path))
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(ChangedError):
        read_and_compare(checkpoint)
    with pytest.raises(ChangedError):
        checkpoint.close()


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_is_written_in_place(tmp_path: Path, writer: Callable[[Path], Path]) -> None:
    path = writer(tmp_path)
    checkpoint = open_checkpoint(subject(path, tmp_path))
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes(64))
    os.utime(path, ns=(1, 1))
    with pytest.raises(ChangedError):
        read_and_compare(checkpoint)
    with pytest.raises(ChangedError):
        checkpoint.close()


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_is_replaced_is_read_to_the_end(tmp_path: Path, writer: Callable[[Path], Path]) -> None:
    path = writer(tmp_path)
    checkpoint = open_checkpoint(subject(path, tmp_path))
    new = tmp_path.parent / f"{tmp_path.name}-new"
    new.write_bytes(b"something else")
    new.rename(path)
    read_all(checkpoint)
    checkpoint.close()
    assert any("replaced" in warning for warning in checkpoint.warnings)


def test_a_scan_says_that_the_file_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = safetensors(tmp_path)
    from rmtaudit.engine.scan import known as engine

    original: Callable[..., object] = vars(engine)["analyse_layer"]

    def analyse_and_write(*args: object, **keywords: object) -> object:
        os.utime(path, ns=(1, 1))
        return original(*args, **keywords)

    monkeypatch.setattr(engine, "analyse_layer", analyse_and_write)
    assert run(cli, ["scan", str(path), "--analyzers", "scale", "--no-progress"]) == 2
    assert "[RA-IN-007]" in capsys.readouterr().err
