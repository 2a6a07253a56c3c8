"""The commands ``whatif`` and ``extract-lora``, from the command line to what they write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.engine.claims import Answer, check_claim


@pytest.fixture
def base(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(31)
    state = {
        f"model.layers.{i}.mlp.up_proj.weight": torch.randn(64, 48, generator=generator) for i in range(3)
    }
    state["model.norm.weight"] = torch.ones(48)
    save_file(state, tmp_path / "base.safetensors")
    return tmp_path / "base.safetensors"


@pytest.fixture
def tuned(base: Path) -> Path:
    state = load_file(base)
    generator = torch.Generator().manual_seed(32)
    for index, rank in ((0, 2), (2, 5)):
        factors = torch.randn(64, rank, generator=generator), torch.randn(rank, 48, generator=generator)
        state[f"model.layers.{index}.mlp.up_proj.weight"] += 0.05 * factors[0] @ factors[1]
    state["model.norm.weight"] = 2 * state["model.norm.weight"]
    save_file(state, base.with_name("tuned.safetensors"))
    return base.with_name("tuned.safetensors")


@pytest.mark.parametrize(
    "edit", [["--quantise", "int4"], ["--truncate", "8"], ["--truncate", ".9"], ["--prune", ".5"]]
)
def test_whatif_sorts_by_distortion(base: Path, edit: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, ["whatif", str(base), *edit, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    errors = [layer["relative_error"] for layer in document["layers"]]
    assert len(errors) == 3
    assert errors == sorted(errors, reverse=True)
    assert all(0 < error < 1 for error in errors)
    assert run(cli, ["whatif", str(base), *edit, "--top", "2"]) == 0
    out = capsys.readouterr().out
    assert "Distortion is not harm" in " ".join(out.split())
    assert "1 more" in out


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        ([], "RA-US-815"),
        (["--prune", ".5", "--truncate", "3"], "RA-US-815"),
        (["--truncate", "3.5"], "RA-US-815"),
        (["--truncate", "0"], "RA-US-814"),
        (["--prune", "1"], "RA-US-814"),
        (["--quantise", "int5"], "RA-US-814"),
    ],
)
def test_whatif_refuses(base: Path, flags: list[str], code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, ["whatif", str(base), *flags]) == 2
    assert code in capsys.readouterr().err


def test_an_extracted_adapter_restores_the_fine_tune(
    base: Path, tuned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = base.with_name("adapter")
    command = ["extract-lora", str(base), str(tuned), "--out", str(folder), "--format", "json"]
    assert run(cli, command) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(each["rank"], each["resolved"]) for each in document["updates"]] == [(2, 2), (5, 5)]
    assert max(each["relative_error"] for each in document["updates"]) < 1e-4
    assert document["unchanged"] == 1
    assert document["left_out"] == ["model.norm.weight"]
    config = json.loads((folder / "adapter_config.json").read_text())
    factors = load_file(folder / "adapter_model.safetensors")
    ranks = dict.fromkeys(config["target_modules"], config["r"])
    ranks |= {key.strip("^$").replace("\\", ""): rank for key, rank in config["rank_pattern"].items()}
    assert config["alpha_pattern"] == config["rank_pattern"]
    before, after = load_file(base), load_file(tuned)
    for module, rank in ranks.items():
        stem = f"base_model.model.{module}"
        down, up = factors[f"{stem}.lora_A.weight"], factors[f"{stem}.lora_B.weight"]
        assert down.shape[0] == up.shape[1] == rank
        torch.testing.assert_close(before[f"{module}.weight"] + up @ down, after[f"{module}.weight"])
    with open_checkpoint(base) as one, open_checkpoint(tuned) as other:
        answer = check_claim(one, other, f"lora:{folder}")
    assert answer.word == "applied"
    assert [t.name for t in answer.tensors if t.answer is Answer.INCONSISTENT] == ["model.norm.weight"]


def test_an_adapter_is_not_replaced(base: Path, tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = base.with_name("adapter")
    command = ["extract-lora", str(base), str(tuned), "--out", str(folder)]
    assert run(cli, [*command, "--rank", "1"]) == 0
    stored = (folder / "adapter_model.safetensors").read_bytes()
    assert run(cli, command) == 2
    assert "RA-OU-005" in capsys.readouterr().err
    assert (folder / "adapter_model.safetensors").read_bytes() == stored
    assert run(cli, [*command, "--force"]) == 0
    assert (folder / "adapter_model.safetensors").read_bytes() != stored
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_extraction_refuses(base: Path, tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(base.with_name("adapter"))
    assert run(cli, ["extract-lora", str(base), str(tuned), "--out", folder, "--rank", "0"]) == 2
    assert "RA-US-816" in capsys.readouterr().err
    assert run(cli, ["extract-lora", str(base), str(base), "--out", folder]) == 3
    assert "RA-NA-010" in capsys.readouterr().err
    assert not Path(folder).exists()


def test_claims_have_exit_codes(base: Path, tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, ["compare", str(base), str(base), "--claim", "fp32 of BASE"]) == 0
    assert "Consistent with the claim" in capsys.readouterr().out
    assert run(cli, ["compare", str(base), str(tuned), "--claim", "fp32 of BASE", "--format", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["answer"] == "inconsistent"
    assert run(cli, ["compare", str(base), str(tuned), "--claim", "Q9 of BASE"]) == 2
    assert "RA-US-812" in capsys.readouterr().err
    assert run(cli, ["compare", str(base), str(tuned), "--claim", "fp32", "--format", "markdown"]) == 1
    text = capsys.readouterr().out
    assert "Inconsistent with the claim" in text
    assert r"| model.layers.0.mlp.up\_proj.weight | inconsistent |" in text


def test_a_claim_takes_a_memory_budget_and_threads(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["compare", str(base), str(base), "--claim", "fp32 of BASE", "--format", "json"]
    assert run(cli, asked) == 0
    usual = json.loads(capsys.readouterr().out)
    assert run(cli, [*asked, "--threads", "3"]) == 0
    assert json.loads(capsys.readouterr().out) == usual
    assert run(cli, [*asked, "--memory", "1000"]) == 3
    tensors = json.loads(capsys.readouterr().out)["tensors"]
    assert "beyond memory" in {tensor["ground"] for tensor in tensors}


def test_a_merge_is_explained(base: Path, tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    states = [load_file(path) for path in (base, tuned)]
    merged = base.with_name("merged.safetensors")
    save_file({name: 0.4 * states[0][name] + 0.6 * states[1][name] for name in states[0]}, merged)
    command = ["lineage", str(merged), "--base", str(base), "--parents", str(tuned)]
    assert run(cli, [*command, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "linear"
    assert document["parents"][0]["coefficient"]["value"] == pytest.approx(0.6, abs=1e-4)
    assert run(cli, command) == 0
    assert "95 %" in capsys.readouterr().out
    assert run(cli, [*command, "--memory", "1000"]) == 3
    assert "memory budget" in capsys.readouterr().err
    assert run(cli, ["lineage", str(merged), "--base", str(base)]) == 2
    assert "RA-US-818" in capsys.readouterr().err
