from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.engine.resources import memory_size
from rmtaudit.engine.resources.memory_size import format_bytes, format_memory, parse_memory


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (4096, 4096),
        ("4097", 4097),
        ("4GB", 4 * 10**9),
        ("4 gb", 4 * 10**9),
        ("4G", 4 * 10**9),
        ("1.5GiB", 3 * 2**29),
        ("512MiB", 2**29),
        ("7kB", 7000),
        ("2T", 2 * 10**12),
    ],
)
def test_sizes(text: int | str, size: int) -> None:
    assert parse_memory(text) == size


def test_a_share_is_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_size, "free_memory", lambda: 1000)
    assert parse_memory("50%") == 500
    assert parse_memory("12.5 %") == 125
    with pytest.raises(ValueError, match="at most 100%"):
        parse_memory("101%")


@pytest.mark.parametrize(
    "text", ["", "GB", "-1GB", "1e3", "00", "0GB", "0.0000001", "nan", "1 PB", "٣GB", 0, -5]
)
def test_what_is_no_size(text: int | str) -> None:
    with pytest.raises(ValueError, match="a size"):
        parse_memory(text)


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_memory(text) > 0


@pytest.mark.parametrize(
    "typed", ["1 B", "40 MB", "4 GB", "1.5 GB", "7 kB", "512 B", "999 TB", "250 kB", "0.5 MB", "72.9 MB"]
)
def test_a_round_size_is_printed_as_it_was_typed(typed: str) -> None:
    shown = "500 kB" if typed == "0.5 MB" else typed
    assert format_bytes(parse_memory(typed)) == shown
    assert format_memory(parse_memory(typed)) == shown.replace(" ", "")


@pytest.mark.parametrize(
    ("count", "nearest", "up"),
    [
        (0, "0 B", "0 B"),
        (999, "999 B", "999 B"),
        (1001, "1 kB", "1.01 kB"),
        (999_499, "999 kB", "1 MB"),
        (999_500, "1 MB", "1 MB"),
        (2**20, "1.05 MB", "1.05 MB"),
        (241_172_480, "241 MB", "242 MB"),
        (5 * 10**15, "5000 TB", "5000 TB"),
    ],
)
def test_sizes_have_three_digits(count: int, nearest: str, up: str) -> None:
    assert (format_bytes(count), format_bytes(count, round_up=True)) == (nearest, up)


@given(st.integers(1, 10**17))
def test_what_is_needed_is_never_understated(count: int) -> None:
    assert count <= parse_memory(format_bytes(count, round_up=True)) <= 1.01 * count + 1
