"""Merges of checkpoints on disk, explained from base and parents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.engine.merging import MergeAnswer, explain_merge
from rmtaudit.errors import NothingAuditableError, UsageError
from rmtaudit.kernels.merges.verdict import MergeKind

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, State]]:
    folder = tmp_path_factory.mktemp("models")
    generator = torch.Generator().manual_seed(21)
    base = {f"layers.{i}.fc.weight": 0.05 * torch.randn(96, 64, generator=generator) for i in range(3)}
    models = {"base": base}
    for name in ("math", "code", "chat"):
        models[name] = {k: W + 0.01 * torch.randn(W.shape, generator=generator) for k, W in base.items()}
    for name, state in models.items():
        save_file(state, folder / f"{name}.safetensors")
    return folder, models


def _explained(folder: Path, target: State, parents: tuple[str, ...]) -> MergeAnswer:
    save_file(target, folder / "target.safetensors")
    opened = [open_checkpoint(folder / f"{name}.safetensors") for name in ("target", "base", *parents)]
    try:
        return explain_merge(opened[0], opened[1], opened[2:])
    finally:
        for checkpoint in opened:
            checkpoint.close()


def _merged(models: dict[str, State], **weights: float) -> State:
    base = models["base"]
    return {k: W + sum(c * (models[n][k] - W) for n, c in weights.items()) for k, W in base.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_weighted_sum(models: tuple[Path, dict[str, State]], dtype: torch.dtype) -> None:
    folder, states = models
    target = {k: W.to(dtype) for k, W in _merged(states, math=0.25, code=0.75).items()}
    answer = _explained(folder, target, ("math", "code", "chat"))
    assert answer.verdict is not None
    assert answer.regression is not None
    assert answer.verdict.kind is MergeKind.LINEAR
    values = [c.value for c in answer.regression.coefficients]
    assert values == pytest.approx([0.25, 0.75, 0], abs=2e-3)
    assert "chat" not in answer.sentence
    json.dumps(answer.document(), allow_nan=False)


def test_a_missing_parent(models: tuple[Path, dict[str, State]]) -> None:
    folder, states = models
    answer = _explained(folder, _merged(states, math=0.3, code=0.4, chat=0.3), ("math", "code"))
    assert answer.verdict is not None
    assert answer.verdict.kind is MergeKind.MISSING_PARENT
    assert "the coefficients leave 0.30 for a missing parent" in answer.sentence


def test_the_base_itself_and_equal_parents(models: tuple[Path, dict[str, State]]) -> None:
    folder, states = models
    answer = _explained(folder, states["base"], ("math",))
    assert answer.verdict is not None
    assert answer.verdict.kind is MergeKind.UNCHANGED
    assert _explained(folder, states["code"], ("math", "math")).verdict is None


def test_refusals(models: tuple[Path, dict[str, State]]) -> None:
    folder, states = models
    with pytest.raises(UsageError, match="RA-US-811"):
        _explained(folder, states["code"], ())
    with pytest.raises(NothingAuditableError, match="RA-NA-008"):
        _explained(folder, {"other": torch.ones(5, 7)}, ("math",))
