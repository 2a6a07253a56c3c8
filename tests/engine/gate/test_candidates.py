"""Candidates that are not what they should be fail, with a sentence that names a layer and says why."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

import rmtaudit
from rmtaudit.engine.gate.init import BASELINE, POLICY, write_gate
from rmtaudit.report.gate import Check, GateDocument

State = dict[str, torch.Tensor]
INJURED_MODELS = Path(__file__).parents[2] / "golden" / "test_injured_models.py"


SHAPES = {"fc1": (96, 64), "fc2": (128, 96), "fc3": (112, 128), "fc4": (72, 112)}


def trained(seed: int) -> State:
    """Return layers with a power law in their spectra and hidden units that can be relabelled."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, (rows, columns) in SHAPES.items():
        side = min(rows, columns)
        left, right = (torch.linalg.qr(torch.randn(n, side, generator=generator))[0] for n in (rows, columns))
        values = torch.arange(1, side + 1, dtype=torch.float32) ** -0.4
        state[f"{name}.weight"] = (left * values @ right.T).contiguous()
    return state


def save(path: Path, state: State) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("base") / "base.safetensors", trained(0))


def failed(document: GateDocument) -> dict[str, Check]:
    (subject,) = document.subjects
    return {check.rule: check for check in subject.checks_of("failed")}


def test_a_small_update_passes(base: Path, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(5)
    tuned = {
        name: weight + 0.02 * weight.std() * torch.randn(weight.shape, generator=generator)
        for name, weight in trained(0).items()
    }
    document = rmtaudit.gate(save(tmp_path / "tuned.safetensors", tuned), baseline=base, threads=1)
    assert document.exit_code == 0, [check.message for check in document.subjects[0].checks]
    assert {check.rule for check in document.subjects[0].checks} == {
        "no-damage", "analysed", "no-new-warnings", "signal-kept", "related",
    }  # fmt: skip


def test_another_model_is_no_version_of_the_base(base: Path, tmp_path: Path) -> None:
    other = save(tmp_path / "other.safetensors", trained(1))
    document = rmtaudit.gate(other, baseline=base, threads=1)
    assert document.exit_code == 1
    check = failed(document)["related"]
    assert "The model is independent of the baseline" in check.message
    assert "; 'fc" in check.message
    assert [each.metric for each in check.evidence[:2]] == ["relation", "diagnosis"]


def eight_bits(state: State) -> State:
    stored: State = {}
    for name, weight in state.items():
        scale = weight.abs().amax(1, keepdim=True) / 127
        stored[name] = (weight / scale).round().to(torch.int8)
        stored[f"{name}_scale"] = scale
    return stored


def test_quantisations(base: Path, tmp_path: Path) -> None:
    right = save(tmp_path / "right.safetensors", eight_bits(trained(0)))
    claim = "int8 of BASE"
    assert rmtaudit.gate(right, baseline=base, claim=claim, threads=1).exit_code == 0
    wrong = eight_bits(trained(0))
    wrong["fc2.weight"] = eight_bits(trained(1))["fc2.weight"]
    candidate = save(tmp_path / "wrong.safetensors", wrong)
    document = rmtaudit.gate(candidate, baseline=base, claim=claim, threads=1)
    assert document.exit_code == 1
    assert "'fc2.weight'" in failed(document)["claim"].message
    assert document.policy.sources[-1] == "--claim"
    other = rmtaudit.gate(right, baseline=base, claim="fp8 of BASE", threads=1)
    assert other.exit_code == 1
    assert "int8" in failed(other)["claim"].message


def test_an_adapter_that_was_not_applied(base: Path, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(13)
    factors: dict[str, torch.Tensor] = {}
    merged = trained(0)
    for name, weight in trained(0).items():
        down = 0.05 * torch.randn((4, weight.shape[1]), generator=generator)
        up = 0.05 * torch.randn((weight.shape[0], 4), generator=generator)
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        factors |= {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up}
        merged[name] = weight + 2 * up @ down
    (tmp_path / "adapter").mkdir()
    save(tmp_path / "adapter" / "adapter_model.safetensors", factors)
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["fc1", "fc2", "fc3", "fc4"]}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    claim = f"lora:{tmp_path / 'adapter'}"
    applied = save(tmp_path / "applied.safetensors", merged)
    assert failed(rmtaudit.gate(applied, baseline=base, claim=claim, threads=1)) == {}
    document = rmtaudit.gate(base, baseline=base, claim=claim, threads=1)
    assert document.exit_code == 1
    message = failed(document)["claim"].message
    assert "not applied" in message
    assert "'fc" in message


def test_a_policy_of_init_holds_for_other_seeds_threads_and_containers(base: Path, tmp_path: Path) -> None:
    write_gate(base, tmp_path / "gate", threads=1)
    torch.save(trained(0), tmp_path / "again.pt")
    for seed, threads, path in ((1, 1, base), (2, 2, tmp_path / "again.pt"), (3, 4, base)):
        report = rmtaudit.scan(path, seed=seed, threads=threads)
        chosen = tmp_path / "gate" / POLICY
        document = rmtaudit.gate(report, policy=chosen, baseline=tmp_path / "gate" / BASELINE)
        assert document.exit_code == 0, [check.message for check in document.subjects[0].checks]


@pytest.fixture(scope="module")
def injured() -> ModuleType:
    spec = importlib.util.spec_from_file_location("injured_models", INJURED_MODELS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_each_of_ten_injuries_fails(shared: Callable[..., Path], injured: ModuleType) -> None:
    with rmtaudit.open_checkpoint(shared("models", "rxnfp", "bert_ft.bin")) as checkpoint:
        blocks = tuple(f"encoder.layer.{number}." for number in range(5))
        names = [spec.name for spec in checkpoint.tensors if spec.name.startswith(blocks)]
        healthy = {name: checkpoint.read(name) for name in names}
    whole = injured.injure(healthy)
    baseline = rmtaudit.scan(healthy)
    assert rmtaudit.gate(baseline, baseline=baseline).exit_code == 0
    for name in injured.INJURED:
        document = rmtaudit.gate(rmtaudit.scan({**healthy, name: whole[name]}), baseline=baseline)
        assert document.exit_code == 1, name
        messages = [check.message for check in failed(document).values()]
        original = injured.ORIGINAL if name == injured.COPIED else name
        assert any(name in message or original in message for message in messages), name


@pytest.mark.slow
def test_a_fine_tune_passes_with_its_base(shared: Callable[..., Path]) -> None:
    tuned, base = (shared("models", "rxnfp", f"bert_{name}.bin") for name in ("ft", "pretrained"))
    document = rmtaudit.gate(tuned, baseline=base)
    assert (document.outcome, len(document.subjects[0].checks)) == ("passed", 5)
