"""Which models a zoo has: no file is opened, so that ten thousand are found at once."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from rmtaudit.engine.zoo.subjects import ZooSubject, subjects_among
from rmtaudit.errors import UsageError
from rmtaudit.report.zoo import Quality


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def names_in(*paths: Path | str) -> list[str]:
    return [subject.name for subject in subjects_among([str(path) for path in paths])]


def test_the_models_of_a_folder(tmp_path: Path) -> None:
    folder = touched(
        tmp_path,
        "a.safetensors",
        "notes.txt",
        "tokenizer.bin",
        "deep/er/b.pt",
        "pair/c.pt",
        "pair/d.pt",
        "hf/config.json",
        "hf/model-00001-of-00002.safetensors",
        "hf/model-00002-of-00002.safetensors",
        "pipeline/model_index.json",
        "pipeline/unet/diffusion_pytorch_model.safetensors",
        "vino/net.xml",
        "vino/net.bin",
        "vino/other.xml",
        ".hidden/e.pt",
        "empty/README.md",
    )
    assert names_in(folder) == [
        "a.safetensors",
        "deep/er",
        "hf",
        "pair/c.pt",
        "pair/d.pt",
        "pipeline",
        "vino",
    ]
    assert names_in(folder / "hf") == ["hf"]


def test_the_cache_of_the_hub(tmp_path: Path) -> None:
    folder = touched(
        tmp_path,
        "models--org--net/snapshots/abc/model.safetensors",
        "models--org--net/blobs/0123",
        "models--gpt2/snapshots/def/model.safetensors",
    )
    assert names_in(folder) == ["gpt2", "org/net"]


def test_patterns_files_and_names_that_occur_twice(tmp_path: Path) -> None:
    folder = touched(tmp_path, "one/a.pt", "one/b.pt", "two/a.pt", "two/b.pt")
    assert names_in(folder / "one", folder / "two") == ["one/a.pt", "one/b.pt", "two/a.pt", "two/b.pt"]
    assert names_in(folder / "*" / "a.pt") == [str(folder / "one/a.pt"), str(folder / "two/a.pt")]
    assert len(names_in(folder / "one", folder / "one" / "a.pt")) == 2  # each path once
    (folder / "other").mkdir()
    touched(folder / "other" / "one", "a.pt", "c.pt")
    assert names_in(folder / "one", folder / "other" / "one")[2:] == ["one/a.pt (2)", "one/c.pt"]
    with pytest.raises(UsageError, match="RA-ZO-006"):
        names_in(folder / "*.onnx")
    (folder / "nothing").mkdir()
    with pytest.raises(UsageError, match="RA-ZO-006"):
        names_in(folder / "nothing")


def test_a_manifest_names_models_relative_to_itself(tmp_path: Path) -> None:
    touched(tmp_path, "nets/a.pt")
    manifest = tmp_path / "zoo.yaml"
    manifest.write_text(
        "models:\n"
        "  - path: nets/a.pt\n"
        "    name: A\n"
        "    family: nets\n"
        "    quality: {top1: {value: 90, higher_is_better: true}}\n"
        "  - path: hf://org/net\n"
        "  - report: only.json\n"
    )
    assert subjects_among([str(manifest)]) == (
        ZooSubject(
            name="A",
            path=str(tmp_path / "nets/a.pt"),
            family="nets",
            quality={"top1": Quality(value=90, higher_is_better=True)},
        ),
        ZooSubject(name="hf://org/net", path="hf://org/net"),
    )


def test_the_models_of_an_archive_are_apart_and_known_ones_are_not_looked_for(tmp_path: Path) -> None:
    folder = tmp_path / "zips"
    folder.mkdir()
    archive = folder / "two.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in ("a.safetensors", "b.safetensors"):
            opened.writestr(name, save({"weight": torch.ones(3, 3)}))
    assert names_in(folder) == ["two.zip/a.safetensors", "two.zip/b.safetensors"]
    members = {str(archive): [f"{archive}/known"]}
    assert [each.path for each in subjects_among([str(folder)], members)] == [f"{archive}/known"]
