"""Hostile and broken frozen TensorFlow graphs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clock import Clock
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import InputError


def _load(name: str) -> Any:
    path = Path(__file__).parents[1] / "fuzz" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fuzz = _load("fuzz_tensorflow")
chunk, number, node, constant, tensor = fuzz.chunk, fuzz.number, fuzz.node, fuzz.constant, fuzz.tensor

Write = Callable[..., Path]
FLOATS = fuzz.floats(6)
GOOD = constant("w", tensor([2, 3], content=FLOATS))


def outcome(path: Path) -> InputError | None:
    """Open a file and read all of it; return the refusal, and let any other exception out."""
    try:
        with open_checkpoint(path) as checkpoint:
            for spec in checkpoint.tensors:
                if spec.unreadable is None:
                    assert tuple(checkpoint.read(spec.name).shape) == spec.shape
    except InputError as error:
        return error
    return None


FILES: dict[str, tuple[bytes, str]] = {
    "truncated": (GOOD[:-9], "RA-IN-175"),
    "zeros behind": (GOOD + bytes(16), "RA-IN-175"),
    "a group": (GOOD + b"\x0b", "RA-IN-175"),
    "too few values": (constant("w", tensor([2, 4], content=FLOATS)), "RA-IN-176"),
    "too many values": (constant("w", tensor([2, 2], content=FLOATS)), "RA-IN-176"),
    "more numbers than elements": (constant("w", tensor([2, 2], rest=chunk(5, FLOATS))), "RA-IN-176"),
    "numbers that are cut": (constant("w", tensor([2, 3], rest=chunk(5, FLOATS[:-1]))), "RA-IN-176"),
    "numbers of another type": (constant("w", tensor([2, 3], rest=chunk(10, b"\1"))), "RA-IN-176"),
    "numbers of two types": (
        constant("w", tensor([2, 3], rest=chunk(5, FLOATS[:4]) + chunk(10, b"\1"))), "RA-IN-176"),
    "a negative side": (constant("w", tensor([-2, 3], content=FLOATS)), "RA-IN-176"),
    "a shape that overflows": (constant("w", tensor([1 << 40, 1 << 40])), "RA-IN-176"),
    "a shape that wraps to nothing": (constant("w", tensor([1 << 32, 1 << 32])), "RA-IN-176"),
    "65 sides": (constant("w", tensor([1] * 65, content=FLOATS[:4])), "RA-IN-176"),
    "a name twice": (GOOD + GOOD, "RA-IN-177"),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_a_broken_file_is_refused_with_its_code(case: str, write: Write) -> None:
    data, code = FILES[case]
    clock = Clock()
    error = outcome(write(data, "m.pb"))
    assert error is not None
    assert error.code == code, str(error)
    assert error.where == "m.pb"
    assert clock.seconds() < 0.3


def test_a_small_file_is_no_large_tensor(write: Write) -> None:
    """One value may stand for a vector of ones, not for a terabyte."""
    data = constant("w", tensor([1 << 20, 1 << 18], rest=chunk(5, FLOATS[:4])))
    with open_checkpoint(write(data, "m.pb")) as checkpoint:
        (spec,) = checkpoint.tensors
        assert spec.unreadable == f"one value stands for {1 << 38} elements"
        with pytest.raises(InputError, match="cannot be read"):
            checkpoint.read("w")


def test_circles_and_long_chains_come_to_an_end(write: Write) -> None:
    circle = node("a", "Identity", ["b"]) + node("b", "Identity", ["a"]) + node("m", "MatMul", ["x", "a"])
    chain = b"".join(node(f"n{i + 1}", "Identity", [f"n{i}"]) for i in range(3000))
    data = GOOD + circle + node("n0", "Identity", ["w"]) + chain + node("y", "MatMul", ["x", "n3000"])
    assert outcome(write(data, "m.pb")) is None


@pytest.mark.parametrize("name", ["a\0b", "\x1b[31mred", "\r\n::error::", "[bold]", "x" * 60_000])
def test_names_are_text_to_be_printed_with_care(name: str, write: Write) -> None:
    data = GOOD + constant(name, tensor([2, 3], content=FLOATS))
    with open_checkpoint(write(data, "m.pb")) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["w", name]


@settings(max_examples=40)
@given(seed=st.integers(0, 1), picks=st.lists(st.integers(0, 1 << 16), min_size=3, max_size=12))
def test_mutations_are_read_or_refused(
    seed: int, picks: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    fuzz.target(fuzz.mutate(fuzz.seeds()[seed], picks), tmp_path_factory.getbasetemp())


def test_the_seeds_are_valid(write: Write) -> None:
    for data in fuzz.seeds():
        assert outcome(write(data, "m.pb")) is None
