"""The share of the step time is kept, whatever steps and observations take."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.training.budget import Budget
from rmtaudit.training.schedule import Schedule


@settings(max_examples=60, deadline=None)
@given(
    share=st.floats(0.001, 0.5),
    typical=st.floats(1e-4, 10),
    factors=st.lists(st.floats(0.5, 2), min_size=50, max_size=200),
    cost=st.floats(1e-5, 5),
    surprise=st.floats(0.5, 4),
)
def test_what_is_spent_exceeds_the_share_by_at_most_what_the_last_cost_surprised(
    share: float, typical: float, factors: list[float], cost: float, surprise: float
) -> None:
    budget = Budget(share)
    for factor in factors:
        budget.step(typical * factor)
        if budget.affords(cost):
            budget.spend(cost * surprise)
        assert budget.spent <= share * budget.step_seconds + cost * max(0.0, surprise - 1) + 1e-9
    assert budget.steps == len(factors)
    assert budget.step_seconds == pytest.approx(typical * sum(factors))


def test_the_first_steps_and_pauses_earn_nothing_much() -> None:
    budget = Budget(0.1)
    for _ in range(5):
        budget.step(100.0)  # a compilation
    assert budget.earned == 0
    for _ in range(50):
        budget.step(1.0)
    assert budget.earned == pytest.approx(5.0)
    budget.step(1000.0)  # an evaluation
    assert budget.earned == pytest.approx(5.3)
    assert budget.step_seconds == pytest.approx(1550.0)


def test_a_share_that_makes_no_sense() -> None:
    for share in (0.0, -1.0, 1.5):
        with pytest.raises(ValueError, match="share"):
            Budget(share)


def test_equal_matrices_take_turns_and_a_large_one_holds_up_no_other() -> None:
    schedule = Schedule([(100, 100)] * 3, updates=True)
    order = []
    for _ in range(9):
        assert schedule.upcoming is not None
        order.append(schedule.upcoming)
        schedule.observed(schedule.upcoming, 0.01)
    assert sorted(order[:3]) == sorted(order[3:6]) == sorted(order[6:]) == [0, 1, 2]
    costs = [0.01, 0.01, 1.0]
    schedule = Schedule([(100, 100), (100, 100), (464, 464)], updates=False)
    seen = [0, 0, 0]
    for _ in range(400):
        assert schedule.upcoming is not None
        seen[schedule.upcoming] += 1
        schedule.observed(schedule.upcoming, costs[schedule.upcoming])
    spent = [count * cost for count, cost in zip(seen, costs, strict=True)]
    assert seen[2] >= 1
    assert seen[0] == pytest.approx(seen[1], abs=2)
    assert spent[2] <= spent[0] + 2 * costs[2]
    assert schedule.never == ()
    assert Schedule([], updates=True).upcoming is None


def test_what_was_measured_replaces_what_was_guessed() -> None:
    schedule = Schedule([(200, 100), (400, 200)], updates=False)
    assert schedule.upcoming == 0
    guessed = schedule.seconds
    schedule.observed(0, 10 * guessed)
    while schedule.upcoming == 0:
        schedule.observed(0, 10 * guessed)
    assert schedule.seconds > 10 * guessed  # the other is larger, and the machine slow
    schedule.observed(1, 1e-4)
    assert schedule.never == ()
    assert schedule.upcoming == 1
    assert schedule.seconds == pytest.approx(1.5e-4)
