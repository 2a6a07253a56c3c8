"""Pipelines of several components: what is a part of them, and what is said of the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import rmtaudit
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.engine.inspect.document import inspect_checkpoint
from rmtaudit.errors import ChangedError, CorruptError, InputError, UnsafeError
from rmtaudit.matrices.skips import SkipReason

SBERT = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
    {"idx": 3, "name": "3", "path": "3_Normalize", "type": "sentence_transformers.models.Normalize"},
]
DIFFUSERS = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "safety_checker": [None, None],
    "requires_safety_checker": False,
}


def write(
    folder: Path, name: str = "model.safetensors", tensors: dict[str, torch.Tensor] | None = None
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if name.endswith(".safetensors"):
        save_file(tensors or {"w": torch.ones(2, 2)}, folder / name)
    else:
        torch.save(tensors or {"w": torch.ones(2, 2)}, folder / name)
    return folder


def sbert(root: Path, modules: Any = SBERT) -> Path:
    write(root, tensors={"encoder": torch.full((3, 2), 2.0)})
    write(root / "2_Dense", tensors={"linear.weight": torch.full((2, 3), 5.0)})
    (root / "1_Pooling").mkdir()
    (root / "modules.json").write_text(json.dumps(modules))
    return root


def diffusers(root: Path, index: Any = DIFFUSERS) -> Path:
    write(root / "unet", "diffusion_pytorch_model.safetensors", {"w": torch.zeros(2, 2)})
    write(root / "text_encoder", "pytorch_model.bin", {"w": torch.ones(2, 2)})
    for name in ("scheduler", "tokenizer"):
        (root / name).mkdir()
    (root / "model_index.json").write_text(json.dumps(index))
    return root


def code_of(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        open_checkpoint(path)
    assert str(caught.value).isprintable()
    return caught.value.code


def test_modules_of_sentence_transformers_are_one_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with open_checkpoint(sbert(tmp_path)) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["encoder", "2_Dense.linear.weight"]
        assert checkpoint.read("2_Dense.linear.weight").sum() == 30
        assert checkpoint.read_band("encoder", 1, 2).tolist() == [[2.0, 2.0]]
        assert checkpoint.warnings == ()
        assert checkpoint.path == tmp_path
        assert checkpoint.config["model_type"] == "bert"
        with pytest.raises(KeyError):
            checkpoint.read("linear.weight")


def test_components_of_diffusers_are_one_checkpoint(tmp_path: Path) -> None:
    write(diffusers(tmp_path), "v1-5-pruned.safetensors")
    with open_checkpoint(tmp_path) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["unet.w", "text_encoder.w"]
        assert checkpoint.read("text_encoder.w").sum() == 4
        assert checkpoint.format == "safetensors+torch-zip"
        assert checkpoint.warnings == ("other weights in the folder were ignored: v1-5-pruned.safetensors",)


def test_without_a_list_every_folder_with_weights_is_a_component(tmp_path: Path) -> None:
    with open_checkpoint(diffusers(tmp_path, {})) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["text_encoder.w", "unet.w"]


def test_what_is_absent_is_said(tmp_path: Path) -> None:
    index = {**DIFFUSERS, "vae": ["diffusers", "AutoencoderKL"]}
    write(diffusers(tmp_path, index) / "vae_extra")
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.warnings == (
            "component 'vae' (AutoencoderKL) has no weights in its folder",
            "other weights in the folder were ignored: vae_extra/model.safetensors",
        )


def test_leftovers_of_a_component_are_said(tmp_path: Path) -> None:
    write(diffusers(tmp_path) / "unet", "diffusion_pytorch_model.fp16.safetensors")
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.warnings == (
            "unet: other weights in the folder were ignored: diffusion_pytorch_model.fp16.safetensors",
        )


def test_what_is_of_another_format_is_said(tmp_path: Path) -> None:
    index = {**DIFFUSERS, "vae": ["diffusers", "AutoencoderKL"]}
    (diffusers(tmp_path, index) / "vae").mkdir()
    (tmp_path / "vae" / "model.mnn").write_bytes(b"of another program" * 9)
    with open_checkpoint(tmp_path) as checkpoint:
        assert len(checkpoint.tensors) == 2
        assert len(checkpoint.warnings) == 1
        assert checkpoint.warnings[0].startswith("component 'vae' was not read: No reader recognises")


def test_what_is_of_another_format_lowers_the_coverage(tmp_path: Path) -> None:
    index = {**DIFFUSERS, "vae": ["diffusers", "AutoencoderKL"], "encoder": ["transformers", "CLIPTextModel"]}
    (diffusers(tmp_path, index) / "vae").mkdir()
    (tmp_path / "vae" / "model.mnn").write_bytes(b"of another program" * 900)
    with open_checkpoint(tmp_path) as checkpoint:
        report = rmtaudit.scan(checkpoint, analyzers=["scale"])
        document = inspect_checkpoint(checkpoint)
    stored = sum(spec.parameters for spec in checkpoint.tensors)
    estimate = round(18 * 900 / 4)
    unread = {each.name: each for each in report.coverage.skipped if each.skip is SkipReason.NOT_READ}
    assert list(unread) == ["encoder", "vae/model.mnn"]
    assert "No reader recognises" in unread["vae/model.mnn"].reason
    assert f"about {estimate:,} parameters by its size" in unread["vae/model.mnn"].reason
    assert "has no weights in its folder" in unread["encoder"].reason
    assert report.coverage.parameters == document["coverage"]["parameters"] == stored + estimate
    assert report.coverage.fraction <= stored / (stored + estimate)
    assert report.coverage.tensors == document["subject"]["tensors"] == 2
    assert report.subject["parameters"] == stored
    assert {each["name"] for each in document["tensors"] if each["decision"] == "not_read"} == set(unread)


def test_a_damaged_component_is_refused_with_its_place(tmp_path: Path) -> None:
    path = diffusers(tmp_path) / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptError) as caught:
        open_checkpoint(tmp_path)
    assert (caught.value.code, caught.value.where) == (
        "RA-IN-034",
        "unet/diffusion_pytorch_model.safetensors",
    )
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 46\n")
    assert code_of(tmp_path) == "RA-IN-011"


def test_a_component_that_changes_is_noticed(tmp_path: Path) -> None:
    path = diffusers(tmp_path) / "unet" / "diffusion_pytorch_model.safetensors"
    checkpoint = open_checkpoint(tmp_path)
    checkpoint.check_unchanged()
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ChangedError):
        checkpoint.check_unchanged()
    with pytest.raises(ChangedError):
        checkpoint.close()


def test_names_that_collide_are_refused(tmp_path: Path) -> None:
    write(sbert(tmp_path), tensors={"2_Dense.linear.weight": torch.ones(2, 2)})
    assert code_of(tmp_path) == "RA-IN-082"


@pytest.mark.parametrize("path", ["../other", "/etc", "C:\\x", "a/../../b", "x\0y"])
def test_components_stay_in_the_folder(tmp_path: Path, path: str) -> None:
    root = sbert(tmp_path / "model", [*SBERT, {"idx": 4, "path": path}])
    with pytest.raises(UnsafeError):
        open_checkpoint(root)


@pytest.mark.parametrize("nested", [False, True])
def test_links_of_components_stay_in_the_folder(tmp_path: Path, nested: bool) -> None:
    write(tmp_path / "outside" / "inner")
    write(tmp_path / "outside")
    root = sbert(
        tmp_path / "model",
        [*SBERT, {"idx": 4, "path": "link/inner" if nested else "link", "type": "x.Dense"}],
    )
    (root / "link").symlink_to(tmp_path / "outside")
    assert code_of(root) == "RA-IN-081"


@pytest.mark.parametrize("text", ["{", "[", "\xff", "[" * 100_000, "x" * 1_000_001, "5", '{"unet": '])
@pytest.mark.parametrize("name", ["model_index.json", "modules.json"])
def test_a_damaged_description_is_refused(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path)
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    assert code_of(tmp_path) in {"RA-IN-095", "RA-IN-008"}


def test_a_description_without_end_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    listed = {f"c{i}": ["diffusers", "X"] for i in range(1001)}
    (tmp_path / "model_index.json").write_text(json.dumps(listed))
    assert code_of(tmp_path) == "RA-IN-095"


@pytest.mark.parametrize("modules", [[], [{"path": ""}], [{"path": 5}, 7, {"path": "1_Pooling"}]])
def test_a_model_without_other_components_is_read_as_a_folder(tmp_path: Path, modules: Any) -> None:
    write(tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    with open_checkpoint(tmp_path) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["w"]
        assert checkpoint.path == tmp_path / "model.safetensors"


def test_quantised_components_are_decoded_by_their_own_config(tmp_path: Path) -> None:
    root = diffusers(tmp_path)
    save_file(
        {
            "fc.weight": torch.ones(4, 4).to(torch.float8_e4m3fn),
            "fc.weight_scale": torch.full((1,), 0.5),
        },
        root / "unet" / "diffusion_pytorch_model.safetensors",
    )
    with open_checkpoint(root) as checkpoint:
        (spec,) = [spec for spec in checkpoint.tensors if spec.encoding is not None]
        assert spec.name == "unet.fc.weight"
        assert spec.encoding is not None
        assert spec.encoding.parts == ("unet.fc.weight", "unet.fc.weight_scale")
        assert checkpoint.read("unet.fc.weight")[0, 0] == 0.5
