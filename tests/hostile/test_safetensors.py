"""Rows 1-37 of the hostile corpus: files that call themselves safetensors."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clock import Clock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmtaudit.checkpoints import header as parsing
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.header import Header, parse_header
from rmtaudit.errors import CorruptError, InputError

Bytes = Callable[..., bytes]
Write = Callable[..., Path]

GOOD = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
DATA = bytes(range(16))


def entry(**changes: Any) -> dict[str, Any]:
    return {"w": {**GOOD, **changes}}


def two(first: list[int], second: list[int]) -> dict[str, Any]:
    return {
        "a": {"dtype": "U8", "shape": [first[1] - first[0]], "data_offsets": first},
        "b": {"dtype": "U8", "shape": [second[1] - second[0]], "data_offsets": second},
    }


def twice(**second: Any) -> bytes:
    one, other = json.dumps(GOOD), json.dumps({**GOOD, **second})
    return f'{{"w":{one},"w":{other}}}'.encode()


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


HEADERS: dict[str, tuple[Any, bytes, str]] = {
    "not JSON": (b"{not json at all}", b"", "RA-IN-028"),
    "not UTF-8": (b'{"\xff\xfe": 1}', b"", "RA-IN-026"),
    "array": (b"[1, 2, 3]", b"", "RA-IN-024"),
    "string": (b'"header"', b"", "RA-IN-024"),
    "leading space": (b" {}", b"", "RA-IN-024"),
    "deep lists": (b'{"a":' + b"[" * 200_000, b"", "RA-IN-028"),
    "deep objects": (b'{"a":' * 200_000, b"", "RA-IN-028"),
    "key twice, other range": (twice(data_offsets=[16, 32]), DATA * 2, "RA-IN-027"),
    "key twice, same range": (twice(), DATA, "RA-IN-027"),
    "field twice": (
        b'{"w":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        b"1234",
        "RA-IN-027",
    ),
    "overlap": (two([0, 8], [4, 12]), bytes(12), "RA-IN-033"),
    "same range": (two([0, 8], [0, 8]), bytes(8), "RA-IN-033"),
    "hole": (two([0, 8], [12, 16]), bytes(16), "RA-IN-033"),
    "hole at the start": (entry(data_offsets=[4, 20]), bytes(20), "RA-IN-033"),
    "trailing bytes": (entry(), DATA + b"PK\x03\x04", "RA-IN-035"),
    "truncated data": (entry(), DATA[:7], "RA-IN-034"),
    "negative shape": (entry(shape=[-2, 2]), DATA, "RA-IN-030"),
    "negative offset": (entry(data_offsets=[-16, 0]), DATA, "RA-IN-030"),
    "end before begin": (entry(data_offsets=[16, 0]), DATA, "RA-IN-030"),
    "overflow": (entry(shape=[2**40, 2**40]), DATA, "RA-IN-030"),
    "wraps to zero": (entry(shape=[2**32, 2**32], data_offsets=[0, 0]), b"", "RA-IN-030"),
    "overflow beside zero": (entry(shape=[0, 2**62, 2**62], data_offsets=[0, 0]), b"", "RA-IN-030"),
    "float size": (entry(shape=[2.0, 2]), DATA, "RA-IN-030"),
    "string size": (entry(shape=["2", 2]), DATA, "RA-IN-030"),
    "bool size": (entry(shape=[True, 4]), DATA, "RA-IN-030"),
    "NaN size": (b'{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,16]}}', DATA, "RA-IN-027"),
    "shape no list": (entry(shape=4), DATA, "RA-IN-030"),
    "float offset": (entry(data_offsets=[0.0, 16]), DATA, "RA-IN-030"),
    "bool offset": (entry(data_offsets=[False, 16]), DATA, "RA-IN-030"),
    "three offsets": (entry(data_offsets=[0, 8, 16]), DATA, "RA-IN-030"),
    "offsets no list": (entry(data_offsets={"0": 16}), DATA, "RA-IN-030"),
    "huge offset": (entry(data_offsets=[0, 10**26]), DATA, "RA-IN-030"),
    "far offset": (entry(data_offsets=[2**60, 2**60 + 16]), DATA, "RA-IN-033"),
    "unknown dtype": (entry(dtype="F128"), DATA, "RA-IN-031"),
    "dtype no string": (entry(dtype=32), DATA, "RA-IN-030"),
    "dtype size": (entry(dtype="F64"), DATA, "RA-IN-032"),
    "missing field": ({"w": {"dtype": "F32", "shape": [4]}}, DATA, "RA-IN-030"),
    "entry no object": ({"w": [1, 2]}, b"", "RA-IN-030"),
    "metadata no strings": ({"__metadata__": {"n": 1}, **entry()}, DATA, "RA-IN-029"),
    "metadata list": ({"__metadata__": ["n"], **entry()}, DATA, "RA-IN-029"),
    "lone surrogate": (b'{"\\ud800":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', DATA, "RA-IN-036"),
    "sub-byte, odd": (entry(dtype="F4", shape=[3], data_offsets=[0, 2]), b"12", "RA-IN-032"),
    "million digits": (
        b'{"w":{"dtype":"F32","shape":[' + b"9" * 10**6 + b'],"data_offsets":[0,16]}}',
        DATA,
        "RA-IN-028",
    ),
    "millions of lists": (b'{"w":[' + b"[]," * 4_100_000 + b"1]}", b"", "RA-IN-025"),
}


@pytest.mark.parametrize("row", HEADERS)
def test_a_broken_header_is_refused_by_its_own_rule(safetensors_bytes: Bytes, write: Write, row: str) -> None:
    header, data, code = HEADERS[row]
    path = write(safetensors_bytes(header, data))
    with pytest.raises(InputError) as caught:
        open_checkpoint(path)
    assert caught.value.code == code
    assert caught.value.where == "model.safetensors"
    assert caught.value.message.endswith(".")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "RA-IN-010"),
        (b"1234567", "RA-IN-014"),
        ((1000).to_bytes(8, "little") + b"{}", "RA-IN-022"),
        ((10**8 + 1).to_bytes(8, "little") + b"{}", "RA-IN-021"),
        (b"\xff" * 8 + b"{}", "RA-IN-021"),
        (bytes(8) + b"{}", "RA-IN-023"),
        (bytes(8), "RA-IN-023"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "RA-IN-021"),
    ],
)
def test_a_broken_length_is_refused(write: Write, data: bytes, code: str) -> None:
    with pytest.raises(InputError) as caught:
        open_checkpoint(write(data))
    assert caught.value.code == code


def test_the_header_of_two_exabytes_takes_no_memory(write: Write) -> None:
    path = write((2**62).to_bytes(8, "little") + b"{}")
    tracemalloc.start()
    with pytest.raises(CorruptError):
        open_checkpoint(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_truncation_says_how_much_is_there(safetensors_bytes: Bytes, write: Write) -> None:
    name = "h.3.\x1b[31mattn"
    whole = safetensors_bytes(
        {name: {"dtype": "U8", "shape": [10_000], "data_offsets": [0, 10_000]}}, bytes(10_000)
    )
    path = write(whole[: len(whole) // 2])
    with pytest.raises(CorruptError) as caught:
        open_checkpoint(path)
    error = caught.value
    assert r"Tensor 'h.3.\x1b[31mattn': data_offsets end 10000 is past the data buffer" in error.message
    assert f"{path.stat().st_size} of {len(whole)} bytes" in error.message
    assert "the file looks truncated (50% present)" in error.message or "(49% present)" in error.message
    assert error.hint == "Download it again."


def test_an_unknown_field_is_a_warning(safetensors_bytes: Bytes, write: Write) -> None:
    with open_checkpoint(write(safetensors_bytes(entry(colour="red"), DATA))) as checkpoint:
        assert any("'colour'" in warning for warning in checkpoint.warnings)
        assert checkpoint.read("w").shape == (2, 2)


def test_null_metadata_is_a_warning(safetensors_bytes: Bytes, write: Write) -> None:
    with open_checkpoint(write(safetensors_bytes({"__metadata__": None, **entry()}, DATA))) as checkpoint:
        assert any("null" in warning for warning in checkpoint.warnings)


@pytest.mark.parametrize("header", [b"{}", b'{"__metadata__":{"format":"pt"}}', b"{}      "])
def test_a_file_without_tensors_opens(safetensors_bytes: Bytes, write: Write, header: bytes) -> None:
    with open_checkpoint(write(safetensors_bytes(header))) as checkpoint:
        assert checkpoint.tensors == ()


@pytest.mark.parametrize(
    "name", ["", "\0", "a" * 1_000_000, "\x1b[2J", "a\r\n::error::b", "[bold]x[/]", "<b>|"]
)
def test_odd_names_open_and_are_kept(safetensors_bytes: Bytes, write: Write, name: str) -> None:
    with open_checkpoint(write(safetensors_bytes({name: GOOD}, DATA))) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == [name]
        assert checkpoint.read(name).shape == (2, 2)
        assert all(warning.isprintable() for warning in checkpoint.warnings)


def test_zero_sizes_and_no_sizes(safetensors_bytes: Bytes, write: Write) -> None:
    header = {
        "none": {"dtype": "F32", "shape": [0, 3], "data_offsets": [0, 0]},
        "one": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
    }
    with open_checkpoint(write(safetensors_bytes(header, bytes(4)))) as checkpoint:
        assert checkpoint.read("none").shape == (0, 3)
        assert checkpoint.read("one").shape == ()


def test_more_dimensions_than_torch_has(safetensors_bytes: Bytes, write: Write) -> None:
    with open_checkpoint(write(safetensors_bytes(entry(shape=[1] * 65 + [4]), DATA))) as checkpoint:
        (spec,) = checkpoint.tensors
        assert spec.unreadable is not None
        assert "66 dimensions" in spec.unreadable
        with pytest.raises(InputError, match="66 dimensions"):
            checkpoint.read("w")


@pytest.mark.parametrize(("dtype", "count", "nbytes"), [("F4", 4, 2), ("F6_E2M3", 4, 3), ("F6_E3M2", 8, 6)])
def test_sub_byte_dtypes_are_listed_as_unreadable(
    safetensors_bytes: Bytes, write: Write, dtype: str, count: int, nbytes: int
) -> None:
    header = entry(dtype=dtype, shape=[count], data_offsets=[0, nbytes])
    with open_checkpoint(write(safetensors_bytes(header, bytes(nbytes)))) as checkpoint:
        assert checkpoint.tensors[0].unreadable == f"sub-byte dtype {dtype}"


def test_three_hundred_thousand_tensors(safetensors_bytes: Bytes, write: Write) -> None:
    count = 300_000
    header = {f"layers.{i}.w": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(count)}
    path = write(safetensors_bytes(header))
    clock = Clock()
    with open_checkpoint(path) as checkpoint:
        assert len(checkpoint.tensors) == count
    assert clock.seconds() < 10  # the corpus's limit; about 2 s on a free core


def test_more_than_a_million_tensors_are_refused(write: Write) -> None:
    body = b",".join(b'"%d":{}' % i for i in range(1_000_003))
    header = b"{" + body + b"}"
    with pytest.raises(CorruptError, match="more than 1000000 tensors"):
        open_checkpoint(write(len(header).to_bytes(8, "little") + header))


BASE = {
    "__metadata__": {"format": "pt"},
    "a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_mutation_opens_or_raises_input_error(safetensors_bytes: Bytes, write: Write, data: Any) -> None:
    whole = bytearray(safetensors_bytes(BASE, bytes(32)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(whole) - 1, 0)))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "digit"]))
        if kind == "flip" and whole:
            whole[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del whole[at : at + data.draw(st.integers(1, 20))]
        elif kind == "insert":
            whole[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        else:
            digits = [i for i, byte in enumerate(whole) if 0x30 <= byte <= 0x39]
            if digits:
                whole[data.draw(st.sampled_from(digits))] = data.draw(st.sampled_from(b"0123456789-"))
    error = outcome(write(bytes(whole)))
    assert error is None or str(error).isprintable()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=st.sampled_from(["dtype", "shape", "data_offsets"]), value=json_values)
def test_any_value_of_a_field_opens_or_raises_input_error(
    safetensors_bytes: Bytes, write: Write, field: str, value: Any
) -> None:
    path = write(safetensors_bytes(entry(**{field: value}), DATA))
    error = outcome(path)
    assert error is None or str(error).isprintable()


PIECES = st.sampled_from(
    [b"", b",", b"{", b"}", b'"w":', b'"a":', b'"__metadata__":{"k":"v"},', b'"shape":[1],', b"1", b"1.0",
     b"-1", b"true", b"null", b'"dtype"', b"\\", b'\\"', b"\\u0041", b" ", b"\n", b"\xc3\xa9", b"\xff", b"[",
     b"]", b"0", b'"x":{"dtype":"U8","shape":[4],"data_offsets":[24,28]},', b'"more":1,',
     b"9223372036854775808"]
)  # fmt: skip
NOTED = b'{"__metadata__":{"note":"a \\"b\\" {c}"},"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},'
REGULAR = (
    NOTED + b'"v":{"dtype":"U8","shape":[8],"data_offsets":[16,24]}}   ',
    b'{"__metadata__":{}}',
    b'{"a.0":{"dtype":"F16","shape":[],"data_offsets":[0,2]},"b":{"shape":[0],"data_offsets":[2,2],"dtype":"I8"}}',
)


def careful(header: bytes) -> Header | CorruptError:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsing, "_parse_regular", lambda _header: None)
        try:
            return parse_header(header, "m")
        except CorruptError as error:
            return error


def test_regular_headers_take_the_fast_way() -> None:
    for header in REGULAR[::2]:
        assert parsing._parse_regular(header) == careful(header)
    assert parse_header(REGULAR[0], "m").metadata == {"note": 'a "b" {c}'}


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    header=st.sampled_from(REGULAR),
    cuts=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3), PIECES), max_size=3),
)
def test_the_fast_way_says_what_the_careful_one_does(
    header: bytes, cuts: list[tuple[int, int, bytes]]
) -> None:
    for at, length, piece in cuts:
        header = header[:at] + piece + header[at + length :]
    fast = parsing._parse_regular(header) if header.startswith(b"{") else None
    if fast is not None:
        assert fast == careful(header)
