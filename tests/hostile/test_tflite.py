"""Hostile and broken TensorFlow Lite models."""

from __future__ import annotations

import importlib.util
import struct
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


fuzz = _load("fuzz_tflite")

Write = Callable[..., Path]
GOOD = {"name": "w", "shape": [2, 3], "data": fuzz.floats(6)}
INPUT = {"name": "x", "shape": [1, 3]}


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


def of(*tensors: dict[str, Any], operators: Any = ((9, [0, 1, -1], [0]),), version: int = 3) -> bytes:
    made: bytes = fuzz.model([INPUT, *tensors], operators, version)
    return made


def changed(data: bytes, at: int, value: int) -> bytes:
    out = bytearray(data)
    struct.pack_into("<I", out, at, value)
    return bytes(out)


CODES = {**GOOD, "kind": 9, "data": bytes(6)}

FILES: dict[str, tuple[bytes, str]] = {
    "nothing behind the identifier": (b"\x1c\0\0\0TFL3" + bytes(8), "RA-IN-165"),
    "zeros behind the identifier": (b"\x1c\0\0\0TFL3" + bytes(4096), "RA-IN-165"),
    "a root past the end": (changed(of(GOOD), 0, 1 << 30), "RA-IN-165"),
    "truncated": (of(GOOD)[:-40], "RA-IN-165"),
    "another version": (of(GOOD, version=4), "RA-IN-166"),
    "too few values": (of({**GOOD, "shape": [2, 4]}), "RA-IN-168"),
    "too many values": (of({**GOOD, "shape": [2, 2]}), "RA-IN-168"),
    "a negative side": (of({**GOOD, "shape": [-2, -3]}), "RA-IN-168"),
    "a shape that overflows": (of({**GOOD, "shape": [1 << 30] * 3}), "RA-IN-168"),
    "a shape that wraps to nothing": (of({**GOOD, "shape": [1 << 30, 1 << 30, 16]}), "RA-IN-168"),
    "70 sides": (of({**GOOD, "shape": [1] * 70}), "RA-IN-165"),
    "two scales for three columns": (
        of({**CODES, "quantisation": fuzz.quantisation([1.0, 2.0], [0], 1)}), "RA-IN-168"),
    "scales of a side that is not there": (
        of({**CODES, "quantisation": fuzz.quantisation([1.0, 2.0], [0], 7)}), "RA-IN-168"),
    "zero points of another number": (
        of({**CODES, "quantisation": fuzz.quantisation([1.0, 2.0], [0, 0, 0], 0)}), "RA-IN-168"),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_a_broken_file_is_refused_with_its_code(case: str, write: Write) -> None:
    data, code = FILES[case]
    clock = Clock()
    error = outcome(write(data, "m.tflite"))
    assert error is not None
    assert error.code == code, str(error)
    assert error.where == "m.tflite"
    assert clock.seconds() < 0.3


@pytest.mark.parametrize("value", [1 << 31, (1 << 32) - 4])
def test_any_word_may_lie(value: int, write: Write) -> None:
    """Offsets, lengths and field lists, one after the other: an answer, or a refusal, each at once."""
    data = of({**CODES, "quantisation": fuzz.quantisation([1.0], [0])}, operators=())
    for at in range(0, len(data) - 3, 4):
        outcome(write(changed(data, at, value), "m.tflite"))


def behind_the_tables(offset: int, size: int) -> bytes:
    """Return a model whose one buffer is a range of the file: ``size`` bytes at ``offset``."""
    writer = fuzz.Writer()
    writer.data += fuzz.floats(6) + bytes(24)

    def weight() -> int:
        fields = {0: ("at", lambda: writer.vector("i", [2, 3])), 1: ("i1", 0), 2: ("u4", 1)}
        place: int = writer.table({**fields, 3: ("at", lambda: writer.text("w"))})
        return place

    def graph() -> int:
        place: int = writer.table({0: ("at", lambda: writer.tables([weight]))})
        return place

    def buffers() -> int:
        fields = {1: ("u8", offset), 2: ("u8", size)}
        place: int = writer.tables([lambda: writer.table({}), lambda: writer.table(fields)])
        return place

    root = writer.table({0: ("u4", 3), 2: ("at", lambda: writer.tables([graph])), 4: ("at", buffers)})
    struct.pack_into("<I", writer.data, 0, root)
    return bytes(writer.data)


@pytest.mark.parametrize(
    ("offset", "size", "code"), [(8, 24, None), (1 << 40, 24, "RA-IN-167"), (8, 1 << 40, "RA-IN-167")]
)
def test_buffers_behind_the_tables_lie_in_the_file(
    offset: int, size: int, code: str | None, write: Write
) -> None:
    """Models of more than 2 GB keep their buffers after the tables: position and size, 64 bits each."""
    path = write(behind_the_tables(offset, size), "m.tflite")
    error = outcome(path)
    assert (None if error is None else error.code) == code
    if code is None:
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.read("w").numpy().tobytes() == fuzz.floats(6)


@pytest.mark.parametrize("name", ["", "a\0b", "\x1b[31mred", "\r\n::error::", "[bold]", "x" * 60_000])
def test_names_are_unique_text(name: str, write: Write) -> None:
    data = of({**GOOD, "name": name}, {**GOOD, "name": name})
    with open_checkpoint(write(data, "m.tflite")) as checkpoint:
        first, second = (spec.name for spec in checkpoint.tensors)
    assert first == (name or "tensor 1")
    assert second != first


def test_many_tensors_are_read_in_seconds(write: Write) -> None:
    tensors = [{"name": f"t{index}", "shape": [1], "data": b"\0\0\0\0"} for index in range(2_000)]
    path = write(of(*tensors), "m.tflite")
    clock = Clock()
    with open_checkpoint(path) as checkpoint:
        assert len(checkpoint.tensors) == 2_000
    assert clock.seconds() < 3


@settings(max_examples=40)
@given(seed=st.integers(0, 1), picks=st.lists(st.integers(0, 1 << 16), min_size=3, max_size=12))
def test_mutations_are_read_or_refused(
    seed: int, picks: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    fuzz.target(fuzz.mutate(fuzz.seeds()[seed], picks), tmp_path_factory.getbasetemp())


def test_the_seeds_are_valid(write: Write) -> None:
    for data in fuzz.seeds():
        assert outcome(write(data, "m.tflite")) is None
