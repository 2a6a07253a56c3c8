"""The monitor of a training: it changes nothing, keeps its share, and records what a scan would say."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rmtaudit
from rmtaudit.errors import OutputError, UsageError
from rmtaudit.training import TrainingMonitor
from rmtaudit.training.monitor import numbers
from rmtaudit.training.observation import LEVELS, METRICS

SIZES = (96, 64, 10)


class Ticks:
    """A clock that is read as often as it is asked: observations take as long as they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now


def network(seed: int = 0, sizes: tuple[int, ...] = SIZES) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        linear = nn.Linear(inputs, outputs)
        nn.init.xavier_normal_(linear.weight, generator=generator)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def train(
    model: nn.Module, monitor: TrainingMonitor | None, steps: int, *, clock: Ticks | None = None
) -> Iterator[list[dict[str, Any]]]:
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = torch.randn(64, SIZES[0], generator=generator)
    labels = torch.randint(0, 10, (64,), generator=generator)
    for _ in range(steps):
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        if clock is not None:
            clock.now += 1.0
        if monitor is not None:
            yield monitor.step()
        optimizer.zero_grad()


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def of_kind(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record for record in records if record["kind"] == kind]


def test_a_training_is_not_changed(tmp_path: Path) -> None:
    alone, watched = network(), network()
    state = torch.get_rng_state()
    list(train(alone, None, 30))
    with TrainingMonitor(watched, tmp_path / "log.jsonl", share=1.0) as monitor:
        records = [each for made in train(watched, monitor, 30) for each in made]
        assert monitor.observe()
    assert torch.equal(state, torch.get_rng_state())
    started = network().get_parameter("0.weight")
    assert not torch.equal(started, alone.get_parameter("0.weight"))
    for first, second in zip(alone.parameters(), watched.parameters(), strict=True):
        assert torch.equal(first, second)
    assert all(record["kind"] == "matrix" for record in records)


def test_the_log_says_what_a_scan_says(tmp_path: Path) -> None:
    model = network(sizes=(160, 130, 10))
    path = tmp_path / "log.jsonl"
    with TrainingMonitor(model, path, seed=5) as monitor:
        (record,) = monitor.observe()
    file = tmp_path / "model.safetensors"
    from safetensors.torch import save_file

    save_file(model.state_dict(), file)
    report = rmtaudit.scan(
        file,
        analyzers=["powerlaw", "htmp", "phase"],
        options={"htmp": {"compare": False}},
        solver="gram",
        precision="float64",
        seed=5,
    )
    scanned = report["0.weight"].metrics
    assert record["name"] == "0.weight"
    for name in METRICS:
        ours, theirs = record["metrics"][name], scanned[name]
        assert ours["value"] == theirs.value, name
        assert ours.get("reason", "") == theirs.reason, name
    start = read(path)[0]
    assert [each["name"] for each in start["matrices"]] == ["0.weight"]
    assert start["not_watched"] == [
        {"name": "2.weight", "reason": "a smaller side of 10, below the 32 of least_side"}
    ]


def test_gradient_norms_are_those_of_the_gradients(tmp_path: Path) -> None:
    model = network()
    path = tmp_path / "log.jsonl"
    clock = Ticks()
    expected = []
    with TrainingMonitor(model, path, clock=clock) as monitor:
        for _ in train(model, monitor, 12, clock=clock):
            gradients = [parameter.grad for parameter in model.parameters()]
            expected.append([float(gradient.norm()) for gradient in gradients if gradient is not None])
    records = read(path)
    norms = of_kind(records, "gradients")
    assert records[0]["parameters"] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    cost = records[-1]
    assert cost["kind"] == "end"
    assert cost["gradients"]["measured"] == len(norms) > 5
    assert cost["gradients"]["measured"] + cost["gradients"]["over_budget"] == 12
    for record in norms:
        assert record["norms"] == pytest.approx(expected[record["step"] - 1], rel=1e-5)
    document = rmtaudit.tails(path, side="upper", parameter="0.*", window=(7, None), min_tail=3)
    assert document["subject"]["gradients"]["steps"] == [7, 12]
    assert document["subject"]["values"] == 6
    assert document["subject"]["greatest"] == pytest.approx(
        max(math.hypot(*norms[:2]) for norms in expected[6:]), rel=1e-5
    )


def test_the_share_is_kept_and_what_is_left_out_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rmtaudit.training import monitor as module
    from rmtaudit.training import observation

    model = network(sizes=(96, 64, 48, 10))
    path = tmp_path / "log.jsonl"
    clock = Ticks()
    observed = observation.observe_weight

    def slow(*given: Any, **keywords: Any) -> dict[str, Any]:
        clock.now += 0.3
        return observed(*given, **keywords)

    with TrainingMonitor(model, path, share=0.02, clock=clock) as monitor:
        monkeypatch.setattr(module, "observe_weight", slow)
        made = [record for each in train(model, monitor, 260, clock=clock) for record in each]
        cost = monitor.cost()
    assert cost["own_seconds"] <= 0.02 * cost["step_seconds"]
    assert cost["own_seconds"] > 0.012 * cost["step_seconds"]
    assert cost["allowed"] == 0.02
    assert cost["observations"] == len(made) > 10
    assert {record["name"] for record in made} == {"0.weight", "2.weight"}
    assert cost["never_observed"] == []
    updates = [record["update"] for record in made]
    assert all(update["status"] == "ok" for update in updates)
    steps = {name: [r["step"] for r in made if r["name"] == name] for name in ("0.weight", "2.weight")}
    for name, own in steps.items():
        assert [r["update"]["since"] for r in made if r["name"] == name] == [0, *own[:-1]]


def test_a_budget_that_allows_nothing_says_so(tmp_path: Path) -> None:
    model = network()
    clock = Ticks()
    path = tmp_path / "log.jsonl"
    with TrainingMonitor(model, path, share=1e-7, clock=clock) as monitor:
        assert [each for made in train(model, monitor, 20, clock=clock) for each in made] == []
    end = read(path)[-1]
    assert end["never_observed"] == ["0.weight"]
    assert end["observations"] == 0
    assert end["gradients"]["over_budget"] > 0


def test_the_update_is_the_difference_since_the_last_look() -> None:
    model = network()
    weight = model.get_parameter("0.weight")
    with TrainingMonitor(model, None) as monitor:
        for _ in range(3):
            monitor.step()
        left = torch.randn(64, 2, generator=torch.Generator().manual_seed(2))
        right = torch.randn(2, 96, generator=torch.Generator().manual_seed(3))
        before = weight.detach().double().clone()
        with torch.no_grad():
            weight.add_(0.01 * left @ right)
        (record,) = monitor.observe()
        (again,) = monitor.observe()
        monitor.step()
        (unchanged,) = monitor.observe()
    update = record["update"]
    change = weight.detach().double() - before
    sigma = torch.linalg.svdvals(change)
    assert (update["since"], update["steps"]) == (0, 3)
    assert update["spectral_norm"] == pytest.approx(float(sigma[0]), rel=1e-9)
    assert update["frobenius_norm"] == pytest.approx(float(change.norm()), rel=1e-9)
    assert update["relative"] == pytest.approx(
        float(change.norm() / weight.detach().double().norm()), rel=1e-6
    )
    assert update["stable_rank"] == pytest.approx(float(change.norm() / sigma[0]) ** 2, rel=1e-9)
    assert update["resolved"] == 2  # the rest is the rounding of float32
    assert len(update["quantiles"]) == len(LEVELS)
    assert update["quantiles"][-1] == pytest.approx(float(sigma[0]))
    assert "update" not in again
    assert unchanged["update"]["reason"] == "the weight has not changed"


def test_weights_and_gradients_that_are_not_finite_are_recorded(tmp_path: Path) -> None:
    model = network()
    path = tmp_path / "log.jsonl"
    clock = Ticks()
    with TrainingMonitor(model, path, clock=clock) as monitor:
        clock.now += 1
        with torch.no_grad():
            model.get_parameter("0.weight")[0, 0] = math.nan
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, math.inf)
        monitor.step()
        (record,) = monitor.observe()
    assert record["status"] == "failed"
    assert "1 NaN" in record["reason"]
    assert "not finite" in record["update"]["reason"]
    (gradients,) = of_kind(read(path), "gradients")
    assert gradients["norms"] == [None] * 4
    assert gradients["nonfinite"] == [0, 1, 2, 3]


def test_a_rising_alpha_alone_is_no_reason_to_warn(tmp_path: Path) -> None:
    """From a heavy tail back to noise: alpha rises at every look, and nothing but numbers is recorded."""
    model = network(sizes=(160, 128, 10))
    weight = model.get_parameter("0.weight")
    noise = weight.detach().clone()
    spikes = torch.linalg.svd(noise, full_matrices=False)
    path = tmp_path / "log.jsonl"
    alphas = []
    with warnings.catch_warnings(), TrainingMonitor(model, path) as monitor:
        warnings.simplefilter("error")
        for exponent in (2.0, 1.0, 0.5, 0.0):
            with torch.no_grad():
                weight.copy_(spikes.U @ torch.diag(spikes.S ** (1 + exponent)) @ spikes.Vh)
            monitor.step()
            (record,) = monitor.observe()
            alphas.append(record["metrics"]["alpha"]["value"])
    assert alphas == sorted(alphas)
    assert alphas[-1] > 2 * alphas[0]
    assert {record["kind"] for record in read(path)} == {"start", "matrix", "cost", "end"}
    words = path.read_text().lower()
    assert "warning" not in words
    assert "finding" not in words


def test_the_logger_gets_numbers_alone() -> None:
    given: list[dict[str, float]] = []
    model = network(sizes=(160, 128, 10))
    with TrainingMonitor(model, None, log=given.append) as monitor:
        (record,) = monitor.observe()
    assert given == [numbers(record)]
    assert all(type(value) is float and math.isfinite(value) for value in given[0].values())
    assert given[0]["rmtaudit/0.weight/phase"] == 0.0  # random-like
    assert given[0]["rmtaudit/0.weight/alpha"] == record["metrics"]["alpha"]["value"]
    undecided = {**record, "metrics": {**record["metrics"], "phase": {"value": "undecided"}}}
    assert "rmtaudit/0.weight/phase" not in numbers(undecided)


def test_layers_are_those_of_a_scan_and_frozen_ones_are_left_out() -> None:
    model = nn.ModuleDict(
        {
            "conv": nn.Conv2d(40, 48, 3),
            "attention": nn.MultiheadAttention(64, 4),
            "embedding": nn.Embedding(70, 40),
            "frozen": nn.Linear(64, 64),
            "tied": nn.Linear(40, 70, bias=False),
        }
    )
    model["tied"].weight = model["embedding"].weight
    model["frozen"].weight.requires_grad_(False)
    monitor = TrainingMonitor(torch.nn.DataParallel(model), None, exclude=["embedding*"])
    records = monitor.observe()
    assert [record["name"] for record in records] == [
        "conv.weight",
        "attention.in_proj_weight#q",
        "attention.in_proj_weight#k",
        "attention.in_proj_weight#v",
        "attention.out_proj.weight",
    ]
    assert records[0]["metrics"]["kappa_full"]["value"] > 0


def test_half_precision_and_absent_gradients(tmp_path: Path) -> None:
    model = network().to(torch.bfloat16)
    path = tmp_path / "log.jsonl"
    clock = Ticks()
    with TrainingMonitor(model, path, clock=clock) as monitor:
        monitor.step()
        model.get_parameter("0.weight").grad = torch.full((64, 96), 3.0, dtype=torch.bfloat16)
        for _ in range(20):
            clock.now += 1
            monitor.step()
        assert monitor.observe()[0]["status"] == "ok"
        assert monitor.cost()["gradients"]["absent"] == 1
    gradients = of_kind(read(path), "gradients")
    assert gradients[0]["norms"] == [pytest.approx(3 * math.sqrt(64 * 96)), None, None, None]


def test_ends_are_looked_at_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    model = network()
    with TrainingMonitor(model, path, at_ends=True, share=1e-7) as monitor:
        list(train(model, monitor, 3))
    monitor.close()
    records = read(path)
    assert [record["step"] for record in of_kind(records, "matrix")] == [0, 3]
    assert len(of_kind(records, "end")) == 1
    assert records[-1]["requested_seconds"] > 0


def test_a_log_is_neither_overwritten_nor_mixed_up(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    TrainingMonitor(network(), path).close()
    with pytest.raises(OutputError) as raised:
        TrainingMonitor(network(), path)
    assert raised.value.code == "RA-TR-001"
    TrainingMonitor(network(), path, append=True).close()
    assert len(of_kind(read(path), "start")) == 2
    with pytest.raises(OutputError) as raised:
        TrainingMonitor(network(), tmp_path / "no folder" / "log.jsonl")
    assert raised.value.code == "RA-TR-002"


def test_a_full_disk_ends_the_log_and_not_the_training() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    model = network()
    with pytest.warns(UserWarning, match="the training log /dev/full ends here"):
        monitor = TrainingMonitor(model, "/dev/full", append=True)
    assert len(list(train(model, monitor, 5))) == 5
    monitor.close()


def test_settings_that_make_no_sense() -> None:
    for keywords in ({"share": 0}, {"share": 2}, {"least_side": 1}, {"include": "0.*"}):
        with pytest.raises(UsageError) as raised:
            TrainingMonitor(network(), None, **keywords)
        assert raised.value.code == "RA-TR-003"
    with pytest.raises(UsageError, match="Did you mean 'share'") as raised:
        TrainingMonitor(network(), None, shar=0.1)  # type: ignore[call-arg]
    assert raised.value.code == "RA-US-701"
    with pytest.raises(UsageError, match="No layer matches"):
        TrainingMonitor(network(), None, include=["other"])
