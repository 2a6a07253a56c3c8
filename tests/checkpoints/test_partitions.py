"""Parts of a model are refused as parts; copies, series and models of one kind are not."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import NotACheckpointError, UsageError

Shared = Callable[..., Path]


def model(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = {f"layers.{i}.weight": torch.randn(32, 24, generator=generator) for i in range(6)}
    return {**state, "norm.weight": torch.randn(24, generator=generator)}


def parts(count: int, *, norm: bool = True) -> list[dict[str, torch.Tensor]]:
    """Return a model split over processes: rows of every matrix, all of the norm."""
    whole = model(0)
    size = 32 // count
    return [
        {
            name: values[i * size : i * size + size].clone()
            if values.ndim == 2
            else (values.clone() if norm else torch.ones(24))
            for name, values in whole.items()
        }
        for i in range(count)
    ]


def write(folder: Path, names: list[str], states: list[dict[str, torch.Tensor]]) -> list[Path]:
    for name, state in zip(names, states, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".safetensors"):
            save_file(state, folder / name)
        else:
            torch.save(state, folder / name)
    return [folder / name for name in names]


@pytest.mark.parametrize(
    "names",
    [
        ["consolidated.00.pth", "consolidated.01.pth"],
        ["consolidated.00.safetensors", "consolidated.01.safetensors"],
        ["mp_rank_00_model_states.pt", "mp_rank_01_model_states.pt"],
        ["model.tp_0.pt", "model.tp_1.pt"],
        ["checkpoint_last-model_part-0.pt", "checkpoint_last-model_part-1.pt"],
        ["checkpoint_last.pt-model_part-0", "checkpoint_last.pt-model_part-1"],
        ["checkpoint-shard0.pt", "checkpoint-shard1.pt"],
        ["model-00001-of-00002.pt", "model-00002-of-00002.pt"],
        ["model_1of2.pt", "model_2of2.pt"],
        ["rank_0.pt", "rank_1.pt"],
        ["mp_rank_00/model_optim_rng.pt", "mp_rank_01/model_optim_rng.pt"],
        ["tp_rank_00_pp_rank_000/model_weights.ckpt", "tp_rank_01_pp_rank_000/model_weights.ckpt"],
        ["mp_rank_00_000/model_rng.pt", "mp_rank_01_000/model_rng.pt"],
    ],
)
def test_parts_are_refused_whichever_is_given(tmp_path: Path, names: list[str]) -> None:
    for path in write(tmp_path, names, parts(2, norm=False)):
        with pytest.raises(NotACheckpointError) as caught:
            open_checkpoint(path)
        assert caught.value.code == "RA-IN-194"
        assert caught.value.message.startswith("The file is one of 2 parts of a model")
        assert caught.value.hint
    alone = write(tmp_path / "alone", names[:1], parts(2)[:1])  # nothing beside it says what it is
    open_checkpoint(alone[0]).close()


def test_the_public_case(shared: Shared) -> None:
    folder = shared("cases", "model-parallel-parts", "meta")
    for path in (folder, *sorted(folder.glob("*.pth"))):
        with pytest.raises(NotACheckpointError, match="one of 2 parts") as caught:
            open_checkpoint(path)
        assert "convert_llama_weights_to_hf" in caught.value.hint


@pytest.mark.parametrize(
    ("rows", "params", "refused"),
    [
        (24, {"dim": 48, "n_heads": 4}, True),
        (48, {"dim": 48, "n_heads": 4}, False),
        (32, {"dim": 48, "n_heads": 4, "head_dim": 8}, False),
        (16, {"dim": 48, "n_heads": 4, "head_dim": 8}, True),
        (24, {"dim": 48}, False),
        (24, {"dim": "48", "n_heads": 0}, False),
        (24, [], False),
    ],
)
def test_a_part_of_llama_that_lies_alone(tmp_path: Path, rows: int, params: Any, refused: bool) -> None:
    torch.save({"layers.0.attention.wq.weight": torch.ones(rows, 48)}, tmp_path / "consolidated.00.pth")
    (tmp_path / "params.json").write_text(json.dumps(params))
    for path in (tmp_path, tmp_path / "consolidated.00.pth"):
        if refused:
            with pytest.raises(
                NotACheckpointError, match="one of 2 parts of a model, and the others are missing"
            ):
                open_checkpoint(path)
        else:
            open_checkpoint(path).close()


def test_a_folder_of_parts_is_no_choice(tmp_path: Path) -> None:
    names = [f"model.tp_{i}.pt" for i in range(4)]
    write(tmp_path, names, parts(4))
    with pytest.raises(NotACheckpointError, match="one of 4 parts") as caught:
        open_checkpoint(tmp_path)
    assert caught.value.code == "RA-IN-194"


@pytest.mark.parametrize("names", [["model_0.pt", "model_1.pt"], ["weights1.pth", "weights2.pth"]])
def test_numbers_that_say_nothing_are_judged_by_what_the_files_hold(tmp_path: Path, names: list[str]) -> None:
    for path in write(tmp_path / "parts", names, parts(2)):
        with pytest.raises(NotACheckpointError, match="one of 2 parts"):
            open_checkpoint(path)
    for path in write(tmp_path / "models", names, [model(1), model(2)]):
        with open_checkpoint(path) as checkpoint:
            assert "1 numbered files in the same folder hold the same tensors" in checkpoint.warnings[0]
    with pytest.raises(UsageError, match="several checkpoints"):
        open_checkpoint(tmp_path / "models")


def test_a_frozen_backbone_is_no_part(tmp_path: Path) -> None:
    """Two fine-tuned models share most matrices and their norms."""
    first, second = model(1), model(1)
    second["layers.5.weight"] = torch.randn(32, 24)
    for path in write(tmp_path, ["model_0.pt", "model_1.pt"], [first, second]):
        open_checkpoint(path).close()


@pytest.mark.parametrize(
    "names",
    [
        ["epoch_1.pt", "epoch_2.pt"],
        ["checkpoint-500.pt", "checkpoint-1000.pt"],
        ["model_step_1.ckpt", "model_step_2.ckpt"],
        ["fold_1_of_5.pt", "fold_2_of_5.pt"],
        ["seed0.pth", "seed1.pth"],
        ["lora_rank_8.pt", "lora_rank_16.pt"],
        ["resnet18.pth", "resnet34.pth"],
        ["model-1024.pt", "model-2048.pt"],
    ],
)
def test_series_of_checkpoints_are_not_parts(tmp_path: Path, names: list[str]) -> None:
    for path in write(tmp_path, names, [model(1), model(2)]):
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.warnings == ()


def test_every_process_may_save_the_whole_model(tmp_path: Path) -> None:
    for path in write(tmp_path, ["rank0.pt", "rank1.pt"], [model(1), model(1)]):
        open_checkpoint(path).close()


def test_files_of_an_index_hold_other_tensors(tmp_path: Path) -> None:
    whole = model(0)
    halves = [dict(list(whole.items())[:3]), dict(list(whole.items())[3:])]
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for path in (*write(tmp_path, names, halves), tmp_path):
        open_checkpoint(path).close()


def test_a_broken_sibling_is_nobodys_evidence(tmp_path: Path) -> None:
    first = write(tmp_path, ["model_0.pt"], [model(0)])[0]
    (tmp_path / "model_1.pt").write_bytes(b"broken, whatever it was")
    open_checkpoint(first).close()


EMPTY = torch.empty(0)


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize(
    "state",
    [
        {"module": {"a.weight": EMPTY, "b.weight": EMPTY}, "param_shapes": [OrderedDict()]},
        {"module": {"a.weight": EMPTY}, "param_shapes": [OrderedDict()], "ds_version": "0.12"},
        {"a.weight": EMPTY, "b.weight": EMPTY, "b.bias": EMPTY},
        {
            "optimizer_state_dict": {
                "zero_stage": 3,
                "partition_count": 2,
                "fp32_flat_groups": [torch.ones(9)],
            }
        },
        {"optimizer_state_dict": {"zero_stage": 1, "single_partition_of_fp32_groups": [torch.ones(9)]}},
    ],
)
def test_what_zero_leaves_behind(tmp_path: Path, state: dict[str, Any], new: bool) -> None:
    torch.save(state, tmp_path / "m.pt", _use_new_zipfile_serialization=new)
    with pytest.raises(NotACheckpointError, match="DeepSpeed ZeRO") as caught:
        open_checkpoint(tmp_path / "m.pt")
    assert caught.value.code == "RA-IN-196"
    assert "zero_to_fp32.py" in caught.value.hint


def test_weights_of_deepspeed_that_are_there_are_read(tmp_path: Path) -> None:
    state = {"module": model(0), "ds_version": "0.12", "optimizer": None, "param_shapes": None}
    torch.save(state, tmp_path / "mp_rank_00_model_states.pt")
    with open_checkpoint(tmp_path / "mp_rank_00_model_states.pt") as checkpoint:
        assert len(checkpoint.tensors) == 7
    torch.save({"w": torch.ones(4, 4), "empty": EMPTY}, tmp_path / "m.pt")
    open_checkpoint(tmp_path / "m.pt").close()


def test_the_public_case_of_zero(shared: Shared) -> None:
    with pytest.raises(NotACheckpointError) as caught:
        open_checkpoint(shared("cases", "distributed-shards", "zero3.pt"))
    assert caught.value.code == "RA-IN-196"
