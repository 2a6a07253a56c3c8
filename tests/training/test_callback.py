"""The callback for the Trainer of transformers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from rmtaudit.errors import UsageError


class Regression(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.dense = nn.Linear(96, 64)
        self.out = nn.Linear(64, 1)
        for weight in (self.dense.weight, self.out.weight):
            nn.init.normal_(weight, std=0.1, generator=generator)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        prediction = self.out(torch.relu(self.dense(x))).squeeze(-1)
        return {"loss": nn.functional.mse_loss(prediction, labels), "logits": prediction}


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_training_imports_no_transformers() -> None:
    code = (
        "import sys; from rmtaudit.training import TrainingMonitor, SpectralRegulariser, MonitorSettings; "
        "assert 'transformers' not in sys.modules; import rmtaudit.training as t; "
        "assert 'RmtauditCallback' in dir(t)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_without_transformers_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from rmtaudit.training import callback

    monkeypatch.setitem(sys.modules, "transformers", None)
    callback.callback_class.cache_clear()
    with pytest.raises(UsageError, match="needs transformers") as raised:
        from rmtaudit.training import RmtauditCallback  # noqa: F401
    assert raised.value.code == "RA-TR-004"
    assert "rmtaudit[networks]" in raised.value.hint


def test_events_in_the_order_of_a_trainer(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from transformers import TrainerCallback

    from rmtaudit.training import RmtauditCallback

    given: list[dict[str, float]] = []
    control = SimpleNamespace(should_log=True)

    def log(values: dict[str, float]) -> None:
        given.append(values)
        control.should_log = False  # as Trainer.log does

    model = Regression()
    path = tmp_path / "log.jsonl"
    callback: Any = RmtauditCallback(path, log=log, share=1.0)
    assert issubclass(RmtauditCallback, TrainerCallback)
    state = SimpleNamespace(is_world_process_zero=True, global_step=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    callback.on_train_begin(None, state, control, model=model)
    x, labels = torch.ones(8, 96), torch.ones(8)
    for _ in range(400):
        model(x, labels)["loss"].backward()
        optimizer.step()
        callback.on_optimizer_step(None, state, control, model=model)
        optimizer.zero_grad()
        state.global_step += 1
        control.should_log = True
        callback.on_step_end(None, state, control, model=model)
        assert control.should_log
        if given:
            break
    callback.on_train_end(None, state, control, model=model)
    records = read(path)
    assert records[-1]["kind"] == "end"
    assert records[-1]["step"] == state.global_step
    made = [record for record in records if record["kind"] == "matrix"]
    assert len(made) == len(given) == 1
    assert given[0]["rmtaudit/dense.weight/kappa_full"] == made[0]["metrics"]["kappa_full"]["value"]
    norms = [record for record in records if record["kind"] == "gradients"]
    assert norms[0]["step"] == 1
    resumed: Any = RmtauditCallback(path)
    resumed.on_train_begin(None, state, control, model=model)
    resumed.on_train_end(None, state, control, model=model)
    assert read(path)[-1]["step"] == state.global_step


def test_other_processes_than_the_first_do_not_watch(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from rmtaudit.training import RmtauditCallback

    path = tmp_path / "log.jsonl"
    callback: Any = RmtauditCallback(path)
    state = SimpleNamespace(is_world_process_zero=False, global_step=0)
    for event in ("on_train_begin", "on_optimizer_step", "on_step_end", "on_train_end"):
        getattr(callback, event)(None, state, SimpleNamespace(should_log=False), model=Regression())
    assert callback.monitor is None
    assert not path.exists()


@pytest.mark.filterwarnings("default")  # those of transformers are its own
def test_a_real_trainer(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainingArguments

    from rmtaudit.training import RmtauditCallback

    generator = torch.Generator().manual_seed(1)
    data = [
        {"x": torch.randn(96, generator=generator), "labels": torch.randn((), generator=generator)}
        for _ in range(64)
    ]
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "out"),
        max_steps=12,
        per_device_train_batch_size=8,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(model=Regression(), args=arguments, train_dataset=data)
    path = tmp_path / "log.jsonl"
    callback: Any = RmtauditCallback(path, log=trainer.log, share=1.0, at_ends=True)
    trainer.add_callback(callback)
    trainer.train()
    records = read(path)
    assert records[0]["parameters"] == ["dense.weight", "dense.bias", "out.weight", "out.bias"]
    steps = [record["step"] for record in records if record["kind"] == "matrix"]
    assert (steps[0], steps[-1]) == (0, 12)
    norms = [record for record in records if record["kind"] == "gradients"]
    assert norms
    assert all(norm > 0 for record in norms for norm in record["norms"])
    losses = [entry["step"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses == list(range(1, 13))
