"""Verdicts: their words, their reasons, and which assumptions a caller has to make."""

from __future__ import annotations

import pytest
import torch

from rmtaudit.kernels.extrapolation import Assumption, Obstacle, Verdict, predict
from rmtaudit.kernels.free.validation import free_block


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("assumptions", "word"),
    [
        ((), "determined"),
        ((Assumption.FREE,), "determined if free"),
        ((Assumption.SMOOTH,), "determined if smooth"),
        ((Assumption.FREE, Assumption.SMOOTH), "determined if free and smooth"),
    ],
)
def test_an_answer_is_granted_with_its_assumptions(assumptions: tuple[Assumption, ...], word: str) -> None:
    found = Verdict(assumptions=assumptions, share=16.0)
    assert found.word == word
    assert not found.refused
    for free in (False, True):
        for smooth in (False, True):
            made = {Assumption.FREE: free, Assumption.SMOOTH: smooth}
            assert found.granted(free=free, smooth=smooth) == all(made[one] for one in assumptions)
    assert ("16 times as large" in found.reason) == (Assumption.SMOOTH in assumptions)


@pytest.mark.parametrize("obstacle", list(Obstacle))
def test_a_refusal_has_a_reason_and_is_never_granted(obstacle: Obstacle) -> None:
    found = Verdict(obstacle=obstacle, measure=0.2, largest_factor=3.0)
    assert found.word == "refused"
    assert found.reason.endswith("a factor of 3 could be predicted")
    assert not found.granted(free=True, smooth=True)


def test_eigenvalues_alone_are_answered_only_if_free() -> None:
    values = free_block(torch.linspace(1, 3, 400, dtype=torch.float64), 200, seeded())
    found = predict(values, 2.0, generator=seeded(), replicas=2)
    assert found.verdict.assumptions == (Assumption.FREE,)
    assert found.law is not None


def test_the_laplacian_of_a_geometric_graph_is_refused() -> None:
    points = torch.rand(160, 2, generator=seeded(), dtype=torch.float64)
    near = ((points[:, None] - points) ** 2).sum(-1) < 0.2**2
    adjacency = (near & ~torch.eye(160, dtype=torch.bool)).double()
    laplacian = torch.diag(adjacency.sum(1)) - adjacency
    values = torch.linalg.eigvalsh(laplacian).clamp(min=0)
    for factor in (4.0, 1e12):
        found = predict(values, factor, generator=seeded(), matrix=laplacian, replicas=0)
        assert found.verdict.refused
        assert found.law is None


def test_nothing_is_determined_at_an_absurd_factor() -> None:
    values = free_block(torch.linspace(1, 3, 400, dtype=torch.float64), 200, seeded())
    assert predict(values, 1e12, generator=seeded(), replicas=0).verdict.refused
