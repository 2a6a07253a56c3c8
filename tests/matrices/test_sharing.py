"""Views of one storage: every element is counted once, whatever the strides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from clock import Clock
from hypothesis import given, settings
from hypothesis import strategies as st

import rmtaudit
from rmtaudit.checkpoints.memory import StateDictCheckpoint
from rmtaudit.engine.inspect.document import inspect_checkpoint
from rmtaudit.matrices import sharing
from rmtaudit.matrices.plan import LayerPlan, plan_layers
from rmtaudit.matrices.sharing import shared_elements
from rmtaudit.matrices.skips import SkipReason


def planned(state: dict[str, torch.Tensor]) -> LayerPlan:
    return plan_layers(StateDictCheckpoint(state).tensors)


def counted(state: dict[str, torch.Tensor]) -> int:
    plan = planned(state)
    specs = StateDictCheckpoint(state).tensors
    uncounted = sum(plan.counted(each.spec) for each in plan.skipped if not each.counted)
    return sum(map(plan.counted, specs)) - uncounted


B = torch.randn(64, 48)
STATES: dict[str, tuple[dict[str, torch.Tensor], int, list[str]]] = {
    "slices and a transpose": ({"a": B[:16], "b": B[16:32], "c": B.t()}, 64 * 48, ["a", "b", "c"]),
    "transposed tie": ({"embed": B, "head": B.t()}, 64 * 48, ["embed"]),
    "the same twice": ({"embed": B, "head": B}, 64 * 48, ["embed"]),
    "parts before the fused": ({"q": B[:32], "k": B[32:], "qk": B}, 64 * 48, ["q", "k"]),
    "the fused before its parts": ({"qk": B, "q": B[:32], "k": B[32:]}, 64 * 48, ["q", "k"]),
    "columns": ({"l": B[:, :20], "r": B[:, 20:], "all": B}, 64 * 48, ["l", "r"]),
    "every other row": ({"even": B[::2], "odd": B[1::2]}, 64 * 48, ["even", "odd"]),
    "windows": ({"a": B[:40], "b": B[30:]}, 64 * 48, ["b", "a"]),
    "flat buffer first": (
        {"flat": B.view(-1), "w": B.view(-1)[:1024].view(32, 32), "v": B.view(-1)[1024:1034]},
        64 * 48,
        ["w"],
    ),
    "flat buffer of two sides": ({"flat": B, "w": B.view(-1)[5:1029].view(32, 32)}, 64 * 48, ["flat", "w"]),
    "apart": ({"a": B[:32], "b": B[32:]}, 64 * 48, ["a", "b"]),
}


@pytest.mark.parametrize("case", STATES)
@pytest.mark.parametrize("saved", [False, True], ids=["state", "file"])
def test_every_element_is_counted_once(case: str, saved: bool, tmp_path: Path) -> None:
    state, elements, layers = STATES[case]
    if saved:
        torch.save(state, tmp_path / "model.pt")
        with rmtaudit.open_checkpoint(tmp_path / "model.pt") as checkpoint:
            coverage = inspect_checkpoint(checkpoint)["coverage"]
            plan = plan_layers(checkpoint.tensors)
        assert coverage["parameters"] == elements
        assert coverage["fraction"] <= 1
    else:
        plan = planned(state)
        assert counted(state) == elements
    assert sorted(layer.name for layer in plan.layers) == sorted(layers)
    assert sum(layer.parameters for layer in plan.layers) <= elements


def test_a_transposed_tie_is_no_damage() -> None:
    weight = torch.randn(80, 60)
    report = rmtaudit.scan({"embed.weight": weight, "lm_head.weight": weight.t()})
    assert [row.name for row in report.layers if row.status == "ok"] == ["embed.weight"]
    assert not [finding for finding in report.findings if finding.severity != "info"]
    (left,) = report.coverage.skipped
    assert (left.skip, left.reason) == (
        SkipReason.TIED,
        "tied: the same storage as 'embed.weight', counted once",
    )
    assert (report.coverage.parameters, report.coverage.fraction) == (4800, 1.0)


def test_the_public_case(shared: Callable[..., Path]) -> None:
    path = shared("cases", "ok-views-tied-channels-last", "views.pt")
    report = rmtaudit.scan(path, analyzers=["scale"])
    assert report.coverage.parameters == report.coverage.parameters_analyzed == 256 * 48
    assert [row.status for row in report.layers] == ["ok"] * 3


def test_too_many_runs_are_counted_as_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "RUNS_CAP", 10)
    assert shared_elements(StateDictCheckpoint({"a": B, "b": B[:, ::3]}).tensors) == {}


def _has_no_element_twice(view: tuple[int, list[tuple[int, int]]]) -> bool:
    places = [0]
    for size, step in view[1]:
        places = [place + step * index for place in places for index in range(size)]
    return len(set(places)) == len(places)


views = st.tuples(
    st.integers(0, 20), st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9)), min_size=1, max_size=3)
).filter(_has_no_element_twice)


@settings(max_examples=60)
@given(st.lists(views, min_size=2, max_size=5))
def test_the_elements_are_those_of_the_sets(
    drawn: list[tuple[int, list[tuple[int, int]]]],
) -> None:
    storage = torch.arange(200)
    state = {
        f"t{index}": torch.as_strided(
            storage, [size for size, _ in sides], [step for _, step in sides], offset
        )
        for index, (offset, sides) in enumerate(drawn)
    }
    specs = StateDictCheckpoint(state).tensors
    shared = shared_elements(specs)
    union = {int(value) for values in state.values() for value in values.reshape(-1)}
    own = sum(spec.parameters - (shared[spec.name].elements if spec.name in shared else 0) for spec in specs)
    assert own == len(union)


def test_thousands_of_slices_of_one_buffer_take_no_time() -> None:
    buffer = torch.zeros(5_000 * 16)
    state = {f"t{index}": buffer[16 * index : 16 * index + 16].view(4, 4) for index in range(5_000)}
    specs = StateDictCheckpoint({**state, "flat": buffer}).tensors
    clock = Clock()
    shared = shared_elements(specs)
    assert set(shared) == {"flat"}
    assert clock.seconds() < 1
