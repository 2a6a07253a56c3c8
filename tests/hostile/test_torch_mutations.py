"""Structured mutations of small files and folders of torch: each is read, or refused."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PICKS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20_000), st.integers(0, 255)), max_size=4)


@functools.cache
def fuzz() -> ModuleType:
    path = Path(__file__).parents[1] / "fuzz" / "fuzz_torch.py"
    spec = importlib.util.spec_from_file_location("fuzz_torch", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@functools.cache
def seeds() -> list[bytes]:
    return fuzz().seeds()


def test_the_seeds_are_valid(tmp_path: Path) -> None:
    from rmtaudit.checkpoints import open_checkpoint

    for seed in seeds()[:8]:
        with open_checkpoint(fuzz()._placed(seed, tmp_path)) as checkpoint:
            assert checkpoint.tensors


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, 10), picks=PICKS)
def test_any_mutation_opens_or_raises_input_error(
    tmp_path: Path, number: int, picks: list[tuple[int, int, int]]
) -> None:
    module = fuzz()
    module.target(module.mutate(seeds()[number], picks), tmp_path)
